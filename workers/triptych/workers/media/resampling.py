"""Brings decoded frames of any rate, format and layout to 16 kHz samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
# Frames are resampled in lots of about this length: one call a frame of 20 ms would cost more than the decoder.
_LOT_S = 10
# Full scale is 1; a float file may exceed it a little, and only nonsense exceeds it by this.
_LOUDEST = 8.0


class Resampling:
    """Takes frames one after the other, even if their shape changes within the stream; gives lots of samples.

    Attributes:
        finite: Whether any sample was a finite number so far.

    Args:
        separate: Whether channels stay apart; else they are mixed into one: as their layout wants it (a film's
            dialogue is in the centre), or evenly where the file names none (microphones in a WAV file).
    """

    def __init__(self, *, separate: bool) -> None:
        self.finite = False
        self._separate = separate
        self._shape: tuple[str, str, int] | None = None
        self._fifo: Any = None
        self._resampler: Any = None

    def add(self, frame: Any) -> Iterator[npt.NDArray[np.int16]]:
        """Takes one frame; yields what is ready, shape (channels, samples)."""
        import av

        frame.pts = None  # gaps in the clock must not become silence
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self.rest()
            self._shape, self._fifo = shape, av.AudioFifo()
            # Packed, as PyAV reads past the end of a frame with eight planes. Float, so that nonsense is still seen.
            mono = None if self._separate or frame.layout.name.endswith("channels") else "mono"
            self._resampler = av.AudioResampler(format="flt", layout=mono, rate=SAMPLE_RATE_HZ)
        self._fifo.write(frame)
        if self._fifo.samples >= _LOT_S * frame.sample_rate:
            yield from self._resampled(self._fifo.read())

    def rest(self) -> Iterator[npt.NDArray[np.int16]]:
        """Yields what is still inside."""
        if self._fifo is None:
            return
        if self._fifo.samples:
            yield from self._resampled(self._fifo.read())
        yield from self._resampled(None)
        self._fifo = self._shape = None

    def _resampled(self, frame: Any) -> Iterator[npt.NDArray[np.int16]]:
        for resampled in self._resampler.resample(frame):
            if not resampled.samples:
                continue
            samples = resampled.to_ndarray().reshape(resampled.samples, -1).T
            with np.errstate(all="ignore"):
                if not np.abs(samples).max(initial=0) <= _LOUDEST:  # so is NaN
                    self.finite |= bool(np.isfinite(samples).any())
                    samples = np.clip(np.nan_to_num(samples, nan=0, posinf=0, neginf=0), -1, 1)
                else:
                    self.finite = True
            if not self._separate:
                samples = samples.mean(axis=0, keepdims=True)
            yield np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
