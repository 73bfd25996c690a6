"""Cuts audio that comes piece by piece at quiet moments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.speech import WINDOW_S
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.sound import Sound, as_float, is_silent

_WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ
# A cut is at the quietest moment of the last seconds.
_TAIL_SAMPLES = 5 * SAMPLE_RATE_HZ
_FRAME_SAMPLES = SAMPLE_RATE_HZ // 50


class QuietCutter:
    """Cuts everything into pieces of at most 30 s; only digital silence is left out.

    Attributes:
        reached: Place up to which everything is cut.

    Args:
        start: Place of the first sample that will come.
    """

    def __init__(self, start: int) -> None:
        self.reached = start
        self._waiting = np.empty(0, np.int16)

    def add(self, samples: npt.NDArray[np.int16]) -> Iterator[Sound]:
        """Takes the next samples, shape (samples,); yields what is cut, in order."""
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) > _WINDOW_SAMPLES:
            yield from self._cut(_quietest(self._waiting))

    def rest(self) -> Iterator[Sound]:
        """Yields what is left: there is no more to come."""
        yield from self._cut(len(self._waiting))

    def _cut(self, size: int) -> Iterator[Sound]:
        sound = Sound(start=self.reached, samples=self._waiting[:size])
        self._waiting, self.reached = self._waiting[size:].copy(), sound.end
        if not is_silent(sound.samples):
            yield sound


def _quietest(samples: npt.NDArray[np.int16]) -> int:
    tail = as_float(samples[_WINDOW_SAMPLES - _TAIL_SAMPLES : _WINDOW_SAMPLES]).reshape(-1, _FRAME_SAMPLES)
    quietest = int(np.square(tail).sum(axis=1).argmin())
    return _WINDOW_SAMPLES - _TAIL_SAMPLES + quietest * _FRAME_SAMPLES + _FRAME_SAMPLES // 2
