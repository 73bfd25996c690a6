"""What a speaker engine is: moments of speech in, one vector per moment out, near those of the same speaker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.base import Engine

Embeddings = npt.NDArray[np.float32]
"""Shape (moments, size), each of length 1: the cosine of two is their dot product."""

VOICE_S = 1.5
"""Length of a moment, in seconds: long enough to tell a voice, short enough to find where another one begins."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voices:
    """Some moments of speech, ready for the network."""

    features: npt.NDArray[np.float32]
    """Log-mel spectrograms, shape (moments, frames, mels); frames and mels are the engine's own."""
    stopped: Callable[[], bool] = lambda: False
    """Whether nobody wants them any more; asked between steps."""


class SpeakerEngine(Engine[Voices, Embeddings]):
    """Gives voices as vectors. Only speech should come: whatever sounds has a vector."""

    same_speaker: float
    """Mean cosine between two groups of moments from which on they count as one speaker's."""

    @abstractmethod
    def voices(
        self, moments: Sequence[npt.NDArray[np.float32]], *, stopped: Callable[[], bool] = lambda: False
    ) -> Voices:
        """Makes an item of moments, each of shape (samples,), 16 kHz, -1 to 1. Any thread may call it.

        Args:
            moments: At least one, each at most 1.5 s; a shorter one is repeated until it is as long.
            stopped: See `Voices`.

        Raises:
            ValueError: There is none, or one without samples or too long.
        """

    def cost(self, item: Voices) -> float:
        """Seconds that the network hears."""
        return VOICE_S * len(item.features)
