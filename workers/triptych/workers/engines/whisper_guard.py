"""Judges what Whisper decoded: keep it, take it for silence, or try again less greedily."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.workers.engines.speech import Guard

# Whisper's own (Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 4.5).
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Half of -1, the log-probability; and 0.44 for 0.6, the probability of no speech (1 stays 1). In decision 17 is what
# these were on speech, on noise and on tones.
_DOUBTED, _EXHAUSTED = 0.5, 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One decoding of one window."""

    guard: Guard
    """What the window is held to."""
    temperature: float
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
        """Whether the model itself doubts that there was speech, and what it wrote.

        Whisper's own rule wants the log-probability to be below the threshold. What it writes into noise ("you", "...")
        often stays just above; speech, even under loud noise, hardly ever counts as silence.
        """
        doubted = self.no_speech_probability > self.guard.max_no_speech_probability
        return doubted and self.avg_logprob < _DOUBTED * self.guard.min_avg_logprob

    @property
    def looping(self) -> bool:
        """Whether the text repeats itself."""
        return self.compression_ratio > self.guard.max_compression_ratio

    @property
    def good_enough(self) -> bool:
        """Whether a hotter try is not needed."""
        return self.silent or not (self.looping or self.badly_heard)

    @property
    def confidence(self) -> float:
        """exp(avg_logprob), in [0, 1]."""
        return min(1.0, math.exp(self.avg_logprob))

    @property
    def badly_heard(self) -> bool:
        """Whether the tokens are unlikely."""
        return self.avg_logprob < self.guard.min_avg_logprob


def best(tried: Sequence[Hypothesis]) -> Hypothesis | None:
    """Gives the last try if it is good enough, else the likeliest that does not loop, else the likeliest.

    Returns:
        None: There is no speech. That is also what a window counts as that came out badly at every temperature although
        less speaks for silence than `Hypothesis.silent` wants, and one in which signs were heard but no word.
    """
    found = tried[-1]
    if not found.good_enough:
        found = max([one for one in tried if not one.looping] or tried, key=lambda one: one.avg_logprob)
        doubted = 1 - found.no_speech_probability < _EXHAUSTED * (1 - found.guard.max_no_speech_probability)
        if found.badly_heard and doubted:
            return None
    return None if found.silent or not any(map(str.isalnum, found.text)) else found


def max_new_tokens(speech_s: float) -> int:
    """Gives how many tokens so much speech can need, so that one looping row does not hold its batch for long.

    The fastest speech in the languages with the longest tokens stays under 16 a second. There are only two bounds: rows
    with one bound are decoded together, as a row must not be cut off later because of its neighbours.
    """
    return 128 if 32 + 16 * speech_s <= 128 else 224
