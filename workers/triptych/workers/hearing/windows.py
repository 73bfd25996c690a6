"""Fills the windows of at most 30 s that a speech engine reads, and leads times back to the audio."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.speech import WINDOW_S
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.sound import Sound, as_float

WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the audio, in samples from its beginning."""

    start: int
    end: int
    """Exclusive."""

    @property
    def start_ms(self) -> int:
        """Start in milliseconds."""
        return self.start * 1000 // SAMPLE_RATE_HZ

    @property
    def end_ms(self) -> int:
        """End in milliseconds, exclusive."""
        return self.end * 1000 // SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Stretches of one channel that are read as one, with the silence between them left out."""

    stretches: tuple[Stretch, ...]
    """In order, at most 30 s together."""
    channel: int | None = None
    """From 0; None: all channels, mixed."""

    @property
    def start(self) -> int:
        """Where it begins, in samples."""
        return self.stretches[0].start

    @property
    def name(self) -> str:
        """Tells it from the other windows of its audio, by its milliseconds."""
        channel = "" if self.channel is None else f"{self.channel}:"
        return f"window:{channel}{self.stretches[0].start_ms}-{self.stretches[-1].end_ms}"

    def source_ms(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Leads a word's time in the window back to the audio, into the stretch that holds its middle."""
        ends = list(accumulate(stretch.end - stretch.start for stretch in self.stretches))
        middle = (start_ms + end_ms) * SAMPLE_RATE_HZ // 2000
        index = min(bisect_right(ends, middle), len(ends) - 1)
        stretch = self.stretches[index]
        shift_ms = round((stretch.end - ends[index]) * 1000 / SAMPLE_RATE_HZ)
        start, end = (min(max(time_ms + shift_ms, stretch.start_ms), stretch.end_ms) for time_ms in (start_ms, end_ms))
        return start, end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A window with what is heard in it."""

    window: Window
    samples: npt.NDArray[np.float32]
    """Shape (samples,), 16 kHz, in [-1, 1): its stretches, joined."""


class Packer:
    """Fills windows with the sounds of one channel, in order, each window as full as 30 s allow.

    Args:
        channel: See `Window`.
        max_span: Samples of audio that a window may extend over, however little of it is speech; None: any number.
    """

    def __init__(self, channel: int | None = None, max_span: int | None = None) -> None:
        self._channel = channel
        self._max_span = max_span
        self._held: list[Sound] = []

    @property
    def begun(self) -> int | None:
        """Where the window begins that is not full yet; None: there is none."""
        return self._held[0].start if self._held else None

    def add(self, sound: Sound) -> Piece | None:
        """Takes the next sound; gives the window before it, if this does not fit in any more."""
        full = None
        if self._held:
            length = sum(len(held.samples) for held in self._held) + len(sound.samples)
            span = sound.end - self._held[0].start
            if length > WINDOW_SAMPLES or (self._max_span is not None and span > self._max_span):
                full = self.rest()
        self._held.append(sound)
        return full

    def rest(self) -> Piece | None:
        """Gives the window that is not full; None: there is none."""
        held, self._held = self._held, []
        if not held:
            return None
        stretches = tuple(Stretch(start=sound.start, end=sound.end) for sound in held)
        samples = as_float(np.concatenate([sound.samples for sound in held]))
        return Piece(window=Window(stretches=stretches, channel=self._channel), samples=samples)
