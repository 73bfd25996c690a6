"""Batches of real, tiny speech models of transformers with random weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_speech
from workers.recordings import RATE

from triptych.core.errors import FeatureDisabled, FieldInvalid, JobCancelled, LanguageUnsupported, ModelNotFound
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.speech import Decoding
from triptych.workers.engines.torch_speech import dtype_of
from triptych.workers.engines.transformers_speech import TransformersSpeechEngine

GREEDY = Decoding(beam_size=1, temperature=0.0)


def opened(folder, **options):
    engine = TransformersSpeechEngine(
        folder, ModelRef(model="tiny"), **{"device": "cpu", "threads": 1, "compute_type": "float32", **options}
    )
    engine.load()
    engine.warm_up()
    return engine


@pytest.fixture(scope="module", params=["speech2text", "moonshine"])
def engine(request, tmp_path_factory):
    return opened(getattr(tiny_speech, request.param)(tmp_path_factory.mktemp(request.param)))


def window(engine, seconds, *, seed=0, decoding=GREEDY, **options):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) / 20
    return engine.window(samples, **{"language": None, **options}, decoding=decoding)


def alone(engine, item):
    [result] = engine.run_batch([item])
    return result


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(beam_size=3, temperature=0.0), Decoding(beam_size=1)],
                         ids=["greedy", "beam", "ladder"])  # fmt: skip
def test_a_batch_of_windows_of_many_lengths_reads_as_each_window_alone(engine, decoding):
    windows = [window(engine, seconds, seed=at, decoding=decoding) for at, seconds in enumerate((1.1, 3.3, 0.7, 2.2))]
    assert len({engine.batch_key(one) for one in windows}) == 1
    results = engine.run_batch(windows)
    # To the last bit: confidence too.
    assert results == [alone(engine, one) for one in windows]
    assert len({result.text for result in results}) > 1


def test_a_result_has_a_text_a_confidence_and_the_length_of_its_window(engine):
    result = alone(engine, window(engine, 2))
    [segment] = result.segments
    assert result.text == segment.text != ""
    assert 0 < segment.confidence < 1
    assert segment.end_ms == pytest.approx(2000, abs=1)
    assert segment.compression_ratio > 0
    assert not segment.words
    assert not segment.HasField("no_speech_probability"), "such a model does not say"


def test_windows_that_may_take_texts_of_other_lengths_have_batches_of_their_own(engine):
    short, long = window(engine, 4), window(engine, 7)
    assert engine.batch_key(short) != engine.batch_key(long)
    assert engine.cost(short) == pytest.approx(4, abs=0.1)


def test_a_language_is_what_the_catalogue_says_what_the_caller_says_or_unknown(engine, monkeypatch):
    assert alone(engine, window(engine, 1)).language_code == "und"
    assert engine.language("und") == "und"
    assert alone(engine, window(engine, 1, language=engine.language("de-AT"))).language_code == "de"
    monkeypatch.setattr(engine, "_languages", ("en",))
    assert alone(engine, window(engine, 1)).language_code == "en"
    with pytest.raises(LanguageUnsupported):
        engine.language("de")


def test_what_such_a_model_cannot_do_is_refused(engine):
    with pytest.raises(FieldInvalid, match=r"config\.task"):
        window(engine, 1, decoding=Decoding(translate=True))
    with pytest.raises(FieldInvalid, match=r"config\.initial_prompt"):
        engine.prompt("once upon a time", [])
    with pytest.raises(FieldInvalid, match=r"config\.hotwords"):
        engine.prompt("", ["Triptych"])
    assert engine.prompt(" ", []) == ()


def test_digital_silence_and_a_click_are_read(engine):
    for samples in (np.zeros(RATE, np.float32), np.ones(1, np.float32)):
        result = alone(engine, engine.window(samples, language=None, decoding=GREEDY))
        assert result.language_code == "und"


def test_a_stopped_row_is_left_and_its_neighbour_reads_the_same(engine):
    steps = []
    hook = engine._network.get_decoder().register_forward_pre_hook(lambda *_: steps.append(1))
    stops = replace(window(engine, 1), stopped=lambda: len(steps) >= 3)
    try:
        stopped, stays = engine.run_batch([stops, window(engine, 1, seed=1)])
        assert isinstance(stopped, JobCancelled)
        steps.clear()
        # With nobody else in it the batch is left at once.
        [stopped] = engine.run_batch([stops])
    finally:
        hook.remove()
    assert isinstance(stopped, JobCancelled)
    assert len(steps) == 3
    assert stays == alone(engine, window(engine, 1, seed=1))


def test_a_row_stopped_before_it_begins_costs_nothing(engine, monkeypatch):
    monkeypatch.setattr(engine._network, "generate", None)
    assert isinstance(alone(engine, replace(window(engine, 1), stopped=lambda: True)), JobCancelled)


def test_memory_is_that_of_the_weights(engine):
    network = engine._network
    assert engine.memory_bytes() == 4 * sum(one.numel() for one in (*network.parameters(), *network.buffers()))


def test_a_folder_without_a_speech_model_is_refused(tmp_path):
    folder = tiny_models.qwen2(tmp_path / "words")
    with pytest.raises(ModelNotFound, match="has no feature extractor"):
        opened(folder)


def test_number_formats_are_those_that_torch_has_on_the_device():
    assert str(dtype_of("bfloat16", "cpu")) == "torch.bfloat16"
    assert str(dtype_of("auto", "cuda")) == "torch.float16"
    for name in ("int8", "float16"):
        with pytest.raises(FieldInvalid, match="speech_compute_type"):
            dtype_of(name, "cpu")


def test_a_model_that_is_no_encoder_decoder_is_refused(tmp_path):
    engine = TransformersSpeechEngine(tiny_speech.speech2text(tmp_path), ModelRef(model="tiny"), threads=1)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "is_encoder_decoder": False}))
    with pytest.raises(FeatureDisabled, match="no encoder-decoder"):
        engine.load()
