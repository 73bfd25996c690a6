"""A part of the audio with its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sound:
    """A part of one channel; places are numbers of samples from the beginning of the audio."""

    start: int
    samples: npt.NDArray[np.int16]
    """Shape (samples,), 16 kHz."""

    @property
    def end(self) -> int:
        """Place behind the last sample."""
        return self.start + len(self.samples)


def as_float(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Gives samples in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768)


def is_silent(samples: npt.NDArray[np.int16]) -> bool:
    """Whether this is digital silence (never over -66 dBFS), in which Whisper likes to hear "you"."""
    # Two comparisons, as the absolute value of -32768 does not fit 16 bits.
    return bool(samples.max(initial=0) <= 16 and samples.min(initial=0) >= -16)
