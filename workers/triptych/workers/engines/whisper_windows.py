"""Cuts audio into the windows of at most 30 s that Whisper reads, and leads times back to the audio."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from triptych.workers.media.audio import SAMPLE_RATE_HZ, Audio

WINDOW_S = 30
_WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ
# Voice-activity detection copies what it is given several times, so hours are given in parts.
_BLOCK_SAMPLES = 120 * SAMPLE_RATE_HZ
_MIN_SILENCE_MS = 160
# Where speech is not looked for, a window ends at the quietest moment of its last seconds.
_CUT_SAMPLES = 5 * SAMPLE_RATE_HZ
_CUT_FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
# 16-bit samples that never exceed this are digital silence (-66 dBFS), in which Whisper likes to hear "you".
_SILENT_PEAK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the audio, in samples from its beginning."""

    start: int
    end: int
    """Exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Stretches of one audio that are read as one, with the silence between them left out."""

    stretches: tuple[Stretch, ...]
    """In order, at most 30 s together."""

    @property
    def samples_count(self) -> int:
        """Length in samples."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return round(self.samples_count * 1000 / SAMPLE_RATE_HZ)

    @property
    def name(self) -> str:
        """Tells it from the other windows of its audio."""
        return f"{self.stretches[0].start}-{self.stretches[-1].end}"

    def samples(self, audio: Audio) -> npt.NDArray[np.float32]:
        """Gives what Whisper reads, float32 of shape (samples,)."""
        return np.concatenate([audio.between(stretch.start, stretch.end) for stretch in self.stretches])

    def source_ms(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Leads a word's time in the window back to the audio, into the stretch that holds its middle."""
        ends = list(accumulate(stretch.end - stretch.start for stretch in self.stretches))
        middle = (start_ms + end_ms) * SAMPLE_RATE_HZ // 2000
        index = min(bisect_right(ends, middle), len(ends) - 1)
        stretch = self.stretches[index]
        shift = stretch.end - ends[index]
        first_ms, last_ms = stretch.start * 1000 // SAMPLE_RATE_HZ, stretch.end * 1000 // SAMPLE_RATE_HZ
        shift_ms = round(shift * 1000 / SAMPLE_RATE_HZ)
        start, end = (min(max(time_ms + shift_ms, first_ms), last_ms) for time_ms in (start_ms, end_ms))
        return start, end


def speech_stretches(audio: Audio, start: int, end: int, heed: Callable[[], None] = lambda: None) -> Iterator[Stretch]:
    """Finds the speech between two samples with Silero VAD (https://github.com/snakers4/silero-vad).

    Args:
        audio: The whole audio.
        start: First sample looked at.
        end: End, exclusive.
        heed: Called now and then; what it raises ends the search.

    Yields:
        Stretches of at most 30 s, in order.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(max_speech_duration_s=WINDOW_S, min_silence_duration_ms=_MIN_SILENCE_MS)
    while start < end:
        heed()
        stop = min(start + _BLOCK_SAMPLES, end)
        found = get_speech_timestamps(audio.between(start, stop), options, SAMPLE_RATE_HZ)
        next_start = stop
        if stop < end and len(found) > 1 and found[-1]["end"] == stop - start:
            # The block's end cuts through this stretch: the next block begins with it.
            next_start = start + found.pop()["start"]
        for stretch in found:
            yield Stretch(start=start + stretch["start"], end=start + stretch["end"])
        start = next_start


def whole_stretches(audio: Audio, start: int, end: int) -> Iterator[Stretch]:
    """Cuts everything between two samples into stretches of at most 30 s, at quiet moments.

    Only digital silence is left out.
    """
    for stretch in _cut(audio, start, end):
        samples = audio.samples[stretch.start : stretch.end]
        # Two comparisons, as the absolute value of -32768 does not fit 16 bits.
        if samples.max() > _SILENT_PEAK or samples.min() < -_SILENT_PEAK:
            yield stretch


def _cut(audio: Audio, start: int, end: int) -> Iterator[Stretch]:
    while end - start > _WINDOW_SAMPLES:
        tail_start = start + _WINDOW_SAMPLES - _CUT_SAMPLES
        tail = audio.between(tail_start, start + _WINDOW_SAMPLES).reshape(-1, _CUT_FRAME_SAMPLES)
        quietest = int(np.square(tail).sum(axis=1).argmin())
        cut = tail_start + quietest * _CUT_FRAME_SAMPLES + _CUT_FRAME_SAMPLES // 2
        yield Stretch(start=start, end=cut)
        start = cut
    if end > start:
        yield Stretch(start=start, end=end)


def pack(stretches: Iterable[Stretch]) -> Iterator[Window]:
    """Fills windows with stretches, in order, each window as full as 30 s allow."""
    held: list[Stretch] = []
    length = 0
    for stretch in stretches:
        size = stretch.end - stretch.start
        if held and length + size > _WINDOW_SAMPLES:
            yield Window(stretches=tuple(held))
            held, length = [], 0
        held.append(stretch)
        length += size
    if held:
        yield Window(stretches=tuple(held))
