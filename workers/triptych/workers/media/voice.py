"""Finds the speech in audio that comes piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.heeding import heeding
from triptych.workers.engines.onnx_heeding import HeedingVoiceSession
from triptych.workers.engines.speech import WINDOW_S
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.sound import Sound, as_float, is_silent

# Voice-activity detection copies what it is given several times, and what it says of a block must not depend on how
# much of the audio is here already.
_BLOCK_SAMPLES = 120 * SAMPLE_RATE_HZ
_MIN_SILENCE_MS = 160


@cache
def load_voice_detector() -> None:
    """Loads the model that finds speech, and lets what it is given be left."""
    from faster_whisper.vad import get_vad_model

    detector = get_vad_model()
    detector.session = HeedingVoiceSession(detector.session)


class VoiceFinder:
    """Finds speech with Silero VAD (https://github.com/snakers4/silero-vad), in blocks of two minutes.

    Attributes:
        reached: Place up to which everything is searched.

    Args:
        start: Place of the first sample that will come.
        heed: Called now and then; what it raises ends the search.
    """

    def __init__(self, start: int, heed: Callable[[], None] = lambda: None) -> None:
        self.reached = start
        self._heed = heed
        self._waiting = np.empty(0, np.int16)

    def add(self, samples: npt.NDArray[np.int16]) -> Iterator[Sound]:
        """Takes the next samples, shape (samples,); yields speech of at most 30 s a piece, in order."""
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) > _BLOCK_SAMPLES:
            yield from self._search(_BLOCK_SAMPLES, last=False)

    def rest(self) -> Iterator[Sound]:
        """Yields the speech in what is left: there is no more to come."""
        if len(self._waiting):
            yield from self._search(len(self._waiting), last=True)

    def _search(self, size: int, *, last: bool) -> Iterator[Sound]:
        start, block = self.reached, self._waiting[:size]
        found = self._found(block)
        if not last and found and found[-1].end == start + size and found[-1].start > start:
            # The block's end cuts through this stretch: the next block begins with it.
            size = found.pop().start - start
        self._waiting, self.reached = self._waiting[size:].copy(), start + size
        yield from found

    def _found(self, block: npt.NDArray[np.int16]) -> list[Sound]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        self._heed()
        if is_silent(block):
            return []
        load_voice_detector()
        options = VadOptions(max_speech_duration_s=WINDOW_S, min_silence_duration_ms=_MIN_SILENCE_MS)
        with heeding(self._heed):
            found = get_speech_timestamps(as_float(block), options, SAMPLE_RATE_HZ)
        return [Sound(start=self.reached + one["start"], samples=block[one["start"] : one["end"]]) for one in found]
