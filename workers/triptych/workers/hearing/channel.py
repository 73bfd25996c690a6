"""One row of a recording's samples on its way into windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from triptych.workers.hearing.windows import Packer, Piece, Stretch
from triptych.workers.media.sound import Sound


class Cutter(Protocol):
    """Makes sounds of at most 30 s of samples that come piece by piece."""

    reached: int
    """Place up to which everything is searched: no more sounds begin before it."""

    def add(self, samples: npt.NDArray[np.int16]) -> Iterator[Sound]:
        """Takes the next samples, shape (samples,); yields the sounds that are settled."""

    def rest(self) -> Iterator[Sound]:
        """Yields the others: there is no more to come."""


class Channel:
    """A channel, or the mixture of all, from the beginning of a clip to its end.

    Attributes:
        speech: What was found.

    Args:
        cutter: Finds what goes into windows.
        packer: Fills them.
    """

    def __init__(self, cutter: Cutter, packer: Packer) -> None:
        self.speech: list[Stretch] = []
        self._cutter = cutter
        self._packer = packer

    @property
    def searched(self) -> int:
        """Place up to which everything is searched."""
        return self._cutter.reached

    @property
    def reached(self) -> int:
        """Place before which no more windows begin."""
        return self._cutter.reached if self._packer.begun is None else self._packer.begun

    def add(self, samples: npt.NDArray[np.int16]) -> Iterator[Piece]:
        """Takes the next samples, shape (samples,); yields the windows that are full."""
        yield from self._packed(self._cutter.add(samples))

    def rest(self) -> Iterator[Piece]:
        """Yields the others: there is no more to come."""
        yield from self._packed(self._cutter.rest())
        if (last := self._packer.rest()) is not None:
            yield last

    def _packed(self, sounds: Iterator[Sound]) -> Iterator[Piece]:
        for sound in sounds:
            self.speech.append(Stretch(start=sound.start, end=sound.end))
            if (piece := self._packer.add(sound)) is not None:
                yield piece
