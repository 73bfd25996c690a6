"""The speaker engine on its real weights."""

import numpy as np
import pytest
from workers.recordings import ENGLISH, GERMAN, SPANISH, speaker_engine, speech

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.campplus import CampPlusEngine
from triptych.workers.engines.campplus_network import CampPlus

pytestmark = pytest.mark.weights
SAMPLES = 24_000


@pytest.fixture(scope="module")
def engine(models_dir):
    return speaker_engine(models_dir)


def moments(data):
    samples = speech(data)
    return [samples[start : start + SAMPLES] for start in range(0, len(samples) - SAMPLES, SAMPLES)]


def embeddings(engine, pieces):
    [found] = engine.run_batch([engine.voices(pieces)])
    return found


def test_moments_of_a_voice_are_nearer_to_each_other_than_to_another_voice(engine):
    groups = [embeddings(engine, moments(data)) for data in (ENGLISH, GERMAN, SPANISH)]
    for one, group in enumerate(groups):
        assert np.linalg.norm(group, axis=1) == pytest.approx(1, abs=1e-5)
        for two, other in enumerate(groups):
            cosines = group @ other.T
            if one == two:
                others = cosines[~np.eye(len(group), dtype=bool)]
                assert others.mean() > engine.same_speaker + 0.1
            else:
                assert cosines.mean() < engine.same_speaker - 0.1


def test_a_batch_changes_no_embedding(engine):
    clips = [moments(data) for data in (ENGLISH, GERMAN, SPANISH)] * 2
    alone = [embeddings(engine, clip) for clip in clips]
    together = engine.run_batch([engine.voices(clip) for clip in clips])
    assert sum(map(len, clips)) > 16  # more than one pass of the network, and none ends with a clip
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() < 1e-4


def test_a_short_moment_is_repeated_and_still_tells_its_voice(engine):
    kennedy = moments(ENGLISH)
    [short] = embeddings(engine, [kennedy[0][:12_000]])
    assert float(short @ embeddings(engine, kennedy[:1])[0]) > engine.same_speaker
    assert float(short @ embeddings(engine, moments(GERMAN)[:1])[0]) < engine.same_speaker


@pytest.mark.parametrize("count", [0, SAMPLES + 1])
def test_a_moment_has_a_length(engine, count):
    with pytest.raises(ValueError, match="1 to 24000 samples"):
        engine.voices([np.zeros(SAMPLES, np.float32), np.zeros(count, np.float32)])


def test_silence_gives_a_number_for_every_dimension(engine):
    assert np.isfinite(embeddings(engine, [np.zeros(SAMPLES, np.float32), np.zeros(1, np.float32)])).all()


def test_stopped_moments_are_left_out_and_the_others_are_not(engine):
    german, kennedy = moments(GERMAN), moments(ENGLISH)
    first, stopped, last = engine.run_batch(
        [engine.voices(german), engine.voices(kennedy, stopped=lambda: True), engine.voices(german)]
    )
    assert isinstance(stopped, JobCancelled)
    assert np.allclose(first, last, atol=1e-5)


def test_what_is_stopped_amid_a_batch_ends_with_the_pass(engine):
    asked = []

    def stopped():
        asked.append(None)
        return len(asked) > 16

    [left] = engine.run_batch([engine.voices(moments(ENGLISH) * 10, stopped=stopped)])
    assert isinstance(left, JobCancelled)


def test_a_checkpoint_that_holds_more_than_tensors_is_not_run(tmp_path):
    import torch

    torch.save({"head": CampPlus()}, tmp_path / "model.pt")
    engine = CampPlusEngine(tmp_path, ModelRef(model="bad"), device="cpu", threads=1)
    with pytest.raises(Exception, match="Weights only load failed"):
        engine.load()
