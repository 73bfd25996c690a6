"""What tells one piece of evidence from another on a picture: its name on its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych.cli.evidence import bounds

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import Evidence

# White stands out from each by 4.5 : 1 or more (WCAG 2.1 AA), and they differ for people who see few colours too.
COLOURS = ("#b3261e", "#1a56b0", "#15703c", "#7b3fd1", "#8f5600", "#a8005c", "#00696e", "#4a4a4a")
# How far a frame stands off its words, and how much further each of several around the same ones.
AIR_PX = 7
STEP_PX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A piece of evidence on a picture.

    Attributes:
        number: Place in the result, from 0: it chooses the colour.
        evidence: What is marked.
    """

    number: int
    evidence: Evidence

    @property
    def colour(self) -> str:
        """Gives the colour as #rrggbb."""
        return COLOURS[self.number % len(COLOURS)]

    @property
    def name(self) -> str:
        """Gives what stands on it, such as "e1"."""
        return self.evidence.evidence_id

    def box(self) -> tuple[float, float, float, float]:
        """Gives x_min, y_min, x_max, y_max on the page, 0 to 1; the whole page if the evidence has no place on it."""
        polygon = self.evidence.page.polygon
        return bounds(polygon) if polygon else (0.0, 0.0, 1.0, 1.0)


def airs(marks: Sequence[Mark]) -> list[int]:
    """Gives how far each frame stands off its words, in pixels, so that frames around the same words are all seen."""
    seen: dict[tuple[float, ...], int] = {}
    found = []
    for mark in marks:
        place = tuple(round(value, 3) for value in mark.box())
        found.append(AIR_PX + STEP_PX * seen.get(place, 0))
        seen[place] = seen.get(place, 0) + 1
    return found
