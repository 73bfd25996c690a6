"""Computations that are left in the middle, and ones that are not."""

import numpy as np
import pytest
import torch
from faster_whisper.vad import get_vad_model
from torch.nn import Linear, Sequential

from triptych.workers.engines.heeding import Unwanted, heed, left_when
from triptych.workers.engines.onnx_heeding import HeedingSession, HeedingVoiceSession
from triptych.workers.engines.torch_heeding import make_heeding
from triptych.workers.media.voice import load_voice_detector


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return Sequential(*(Linear(4, 4) for _ in range(5)))


def run(layers, unwanted):
    """Runs a row through the layers; gives what comes out, and how many were run."""
    ran = []
    make_heeding(layers)
    hooks = [layer.register_forward_hook(lambda *_: ran.append(1)) for layer in layers]
    try:
        with torch.inference_mode(), left_when(lambda: unwanted(len(ran))):
            return layers(torch.ones(1, 4)), len(ran)
    except Unwanted:
        return None, len(ran)
    finally:
        for hook in hooks:
            hook.remove()


def test_a_torch_model_is_left_before_its_next_matrix_multiplication(layers):
    assert run(layers, lambda ran: ran >= 2) == (None, 2)
    assert run(layers, lambda _: True) == (None, 0)


def test_what_is_wanted_comes_out_the_same_to_the_last_bit(layers):
    with torch.inference_mode():
        expected = layers(torch.ones(1, 4))
    found, _ = run(layers, lambda _: False)
    assert torch.equal(found, expected)


def test_nobody_is_asked_outside(layers):
    asked = []
    run(layers, lambda ran: asked.append(ran) or True)
    before = len(asked)
    heed()
    layers(torch.ones(1, 4))
    assert len(asked) == before > 0


class Endless:
    """A session that runs until it is told to end."""

    def __init__(self):
        self.options = None

    def run(self, names, feeds, options):
        self.options = options
        while not options.terminate:
            pass
        raise RuntimeError("Exiting due to terminate flag being set to true.")


def test_a_run_of_onnx_is_left_amid_it():
    endless = Endless()
    with pytest.raises(Unwanted), left_when(lambda: endless.options is not None):
        HeedingSession(endless).run([], {})
    assert endless.options.terminate


def test_the_voice_detector_hears_the_same_in_parts_and_asks_between_them():
    load_voice_detector()
    detector = get_vad_model()
    assert isinstance(detector.session, HeedingVoiceSession)
    rng, asked = np.random.default_rng(0), []
    inputs = {"input": rng.standard_normal((1200, 576)).astype(np.float32) / 10}
    inputs |= {name: np.zeros((1, 1, 128), np.float32) for name in "hc"}
    whole = detector.session._session.run(None, inputs)
    with left_when(lambda: bool(asked.append(1))):
        parts = detector.session.run(None, inputs)
    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))
    assert len(asked) == 1 + 3
    answers = iter([False, False])
    with pytest.raises(Unwanted), left_when(lambda: next(answers, True)):
        detector.session.run(None, inputs)
