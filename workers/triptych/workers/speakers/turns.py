"""Who speaks when: the turns of a recording, out of the voices of its moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.workers.engines.speaker import Embeddings
from triptych.workers.speakers.clustering import cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of speech, in milliseconds from the beginning of the audio."""

    start_ms: int
    end_ms: int
    stretch: int
    """Number of the stretch of speech that it is of; between stretches there is silence."""

    @property
    def middle_ms(self) -> int:
        """Its middle."""
        return (self.start_ms + self.end_ms) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A time in which one speaker speaks, in milliseconds from the beginning of the audio."""

    start_ms: int
    end_ms: int
    speaker: int
    """From 0, in the order in which they first speak."""


def turns_of(
    moments: Sequence[Moment], embeddings: Embeddings, *, same_speaker: float, fewest: int = 0, most: int = 0
) -> list[Turn]:
    """Tells who speaks when.

    Args:
        moments: In time order; those of a stretch may overlap.
        embeddings: Shape (moments, size), each of length 1.
        same_speaker: Mean cosine from which on two groups of moments are one speaker's.
        fewest: Speakers at least; 0: unknown.
        most: Speakers at most; 0: unknown.

    Returns:
        In time order, none overlapping; one stretch has several where the speaker changes.
    """
    if not moments:
        return []
    labels = cluster(embeddings, same_speaker=same_speaker, fewest=fewest, most=most)
    turns: list[Turn] = []
    for index, moment in enumerate(moments):
        begins = index == 0 or moments[index - 1].stretch != moment.stretch
        ends = index + 1 == len(moments) or moments[index + 1].stretch != moment.stretch
        start_ms = moment.start_ms if begins else _between(moments[index - 1], moment)
        end_ms = moment.end_ms if ends else _between(moment, moments[index + 1])
        if begins or turns[-1].speaker != labels[index]:
            turns.append(Turn(start_ms=start_ms, end_ms=end_ms, speaker=int(labels[index])))
        else:
            turns[-1] = Turn(start_ms=turns[-1].start_ms, end_ms=end_ms, speaker=turns[-1].speaker)
    return turns


def _between(one: Moment, next_one: Moment) -> int:
    return (one.middle_ms + next_one.middle_ms) // 2
