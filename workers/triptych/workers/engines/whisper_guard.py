"""Judges what Whisper decoded: keep it, take it for silence, or try again less greedily."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

# Whisper's own thresholds and ladder (Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 4.5).
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_MAX_COMPRESSION_RATIO = 2.4
_MIN_AVG_LOGPROB = -1.0
_MAX_NO_SPEECH_PROBABILITY = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One decoding of one window."""

    tokens: tuple[int, ...]
    """Text tokens, without prompt and end."""
    text: str
    avg_logprob: float
    """Mean log-probability of the tokens, the end token counted in."""
    no_speech_probability: float

    @property
    def compression_ratio(self) -> float:
        """Bytes of the text over its bytes when compressed: high where it repeats itself."""
        encoded = self.text.encode()
        return len(encoded) / len(zlib.compress(encoded))

    @property
    def silent(self) -> bool:
        """Whether the model itself doubts that there was speech, and what it wrote."""
        return self.no_speech_probability > _MAX_NO_SPEECH_PROBABILITY and self.avg_logprob < _MIN_AVG_LOGPROB

    @property
    def looping(self) -> bool:
        """Whether the text repeats itself."""
        return self.compression_ratio > _MAX_COMPRESSION_RATIO

    @property
    def good_enough(self) -> bool:
        """Whether a hotter try is not needed."""
        return self.silent or not (self.looping or self.avg_logprob < _MIN_AVG_LOGPROB)

    @property
    def confidence(self) -> float:
        """exp(avg_logprob), in [0, 1]."""
        return min(1.0, math.exp(self.avg_logprob))


def best(tried: Sequence[Hypothesis]) -> Hypothesis:
    """Gives the last try if it is good enough, else the likeliest that does not loop, else the likeliest."""
    if tried[-1].good_enough:
        return tried[-1]
    return max([one for one in tried if not one.looping] or tried, key=lambda one: one.avg_logprob)


def max_new_tokens(speech_s: float) -> int:
    """Gives how many tokens so much speech can need, so that one looping row does not hold its batch for long.

    The fastest speech in the languages with the longest tokens stays under 16 a second.
    """
    return min(224, 32 + math.ceil(16 * speech_s))
