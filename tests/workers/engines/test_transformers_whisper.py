"""Whisper on transformers: whisper-base as a fine-tuned checkpoint would come, not converted."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import whisper_checkpoints
from workers.recordings import ENGLISH, GERMAN, RATE, speech

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.speech import Decoding
from triptych.workers.engines.transformers_whisper import TransformersWhisperEngine
from triptych.workers.engines.whisper_alignment import shortest_way

SAID = "and so my fellow americans, ask not what your country can do for you, ask what you can do for your country."


@pytest.fixture(scope="module")
def engine(models_dir, tmp_path_factory):
    folder = whisper_checkpoints.as_transformers(models_dir / "whisper-base", tmp_path_factory.mktemp("whisper"))
    engine = TransformersWhisperEngine(folder, ModelRef(model="whisper-base"), device="cpu", threads=2)
    engine.load()
    return engine


def window(engine, samples, language=None, stopped=lambda: False, **decoding):
    decoding = Decoding(**{"beam_size": 1, **decoding})
    return engine.window(samples, language=language, decoding=decoding, stopped=stopped)


@pytest.mark.weights
def test_a_batch_of_two_languages_reads_as_each_window_alone(engine):
    windows = [window(engine, speech(clip)) for clip in (ENGLISH, GERMAN)]
    english, german = engine.run_batch(windows)
    assert english.text.lower() == SAID
    assert "Portal" in german.text or "portal" in german.text
    assert [one.language_code for one in (english, german)] == ["en", "de"]
    assert 0.5 < english.segments[0].confidence <= 1
    alone = [engine.run_batch([one])[0] for one in windows]
    assert [one.text for one in alone] == [english.text, german.text]
    words = english.segments[0].words
    assert [word.text for word in words] == english.text.split()
    times = [time for word in words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    # Two pauses of the speaker, by ear.
    ask = [word.start_ms for word in words if word.text == "ask"]
    assert ask[0] == pytest.approx(2900, abs=700)
    assert ask[1] == pytest.approx(7600, abs=900)


@pytest.mark.weights
def test_windows_are_encoded_as_the_network_does_it_and_may_be_short(engine):
    weights = engine._whisper.model
    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    encoder = weights._network.model.encoder
    with torch.inference_mode():
        theirs = encoder(torch.from_numpy(features).to(encoder.dtype)).last_hidden_state.float().numpy()
    np.testing.assert_array_equal(weights.encode(features), theirs)
    assert weights.encode(features[:, :, :1000]).shape == (1, 500, theirs.shape[2])


@pytest.mark.weights
def test_prompts_tasks_and_beams_reach_the_decoder(engine):
    heard = speech(GERMAN)
    prompt = engine.prompt("", ["Leichenhalle", "Portal"])
    [helped] = engine.run_batch([window(engine, heard, "de", prompt=prompt, beam_size=2, temperature=0.0)])
    assert "Leichenhalle" in helped.text
    [english] = engine.run_batch([window(engine, heard, "de", translate=True, temperature=0.0)])
    assert "portal" in english.text.lower()
    assert "wurde" not in english.text


@pytest.mark.weights
def test_what_is_sampled_depends_on_its_own_window_only(engine):
    clips = [speech(GERMAN)[: 2 * RATE], speech(ENGLISH)[: 2 * RATE]]
    windows = [window(engine, clip, "de", temperature=1.0) for clip in clips]
    together = engine.run_batch(windows)
    assert [one.text for one in together] == [engine.run_batch([one])[0].text for one in windows]


@pytest.mark.weights
def test_a_window_that_nobody_wants_is_left_amid_its_encoding(engine):
    layers = []
    encoder = engine._whisper.model._network.model.encoder
    hooks = [layer.register_forward_hook(lambda *_: layers.append(1)) for layer in encoder.layers]
    try:
        [stopped] = engine.run_batch(
            [window(engine, np.zeros(RATE, np.float32), "en", stopped=lambda: len(layers) > 1)]
        )
    finally:
        for hook in hooks:
            hook.remove()
    assert isinstance(stopped, JobCancelled)
    assert len(layers) == 2, "of six layers"


def cheapest(costs):
    """The cost of the cheapest way, by trying cell after cell."""
    totals = np.full(np.add(costs.shape, 1), np.inf)
    totals[0, 0] = 0
    for token, moment in np.ndindex(costs.shape):
        before = min(totals[token, moment], totals[token, moment + 1], totals[token + 1, moment])
        totals[token + 1, moment + 1] = costs[token, moment] + before
    return totals[-1, -1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 12), (12, 5), (20, 60)])
def test_the_shortest_way_is_monotonic_whole_and_the_cheapest(shape):
    costs = np.random.default_rng(0).standard_normal(shape)
    way = shortest_way(costs)
    assert (way[0], way[-1]) == ((0, 0), (shape[0] - 1, shape[1] - 1))
    steps = {(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(way)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert sum(costs[at] for at in way) == pytest.approx(cheapest(costs))
