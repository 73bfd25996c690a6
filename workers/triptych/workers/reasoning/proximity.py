"""Says how near a place in a reading stands to the words of the question: a value next to its label."""

from __future__ import annotations

import math
from collections import Counter

from triptych.workers.reasoning.layout import Box, box_of
from triptych.workers.reasoning.readings import Mark, Reading, bounds
from triptych.workers.reasoning.terms import content_terms

# Distances are in line heights on a page and in words in a recording; at this one a label counts half.
HALF_DISTANCE = 6.0


class Labels:
    """Where the words of a question stand in one reading."""

    def __init__(self, reading: Reading, question: str) -> None:
        self._reading = reading
        wanted = {term.stem for term in content_terms(question)}
        hits = [term for term in content_terms(reading.text) if term.stem in wanted]
        counts = Counter(term.stem for term in hits)
        # A word that stands everywhere on the page labels nothing.
        self._places = [
            (term.stem, 1 / math.sqrt(counts[term.stem]), term.start, reading.marks_between(term.start, term.end))
            for term in hits
        ]

    def score(self, start: int, end: int) -> float:
        """Gives the weight of the labels near a span of the text; 0 means none at all."""
        target = self._reading.marks_between(start, end)
        best: dict[str, float] = {}
        for stem, weight, at, marks in self._places:
            # Words of the value itself say nothing about where it stands.
            if start <= at < end or not marks or not target:
                continue
            distance = self._distance(marks, target)
            best[stem] = max(best.get(stem, 0.0), weight / (1 + (distance / HALF_DISTANCE) ** 2))
        return sum(best.values())

    def near(self, start: int, end: int) -> bool:
        """Whether any label stands in the row of a span, or right above or below it (ten words in a recording)."""
        target = self._reading.marks_between(start, end)
        limit = 2.5 if self._reading.page_number else 10.0
        return any(
            self._distance(marks, target, along_row=0.0 if self._reading.page_number else 1.0) <= limit
            for _, _, at, marks in self._places
            if marks and target and not start <= at < end
        )

    def _distance(self, label: list[Mark], target: list[Mark], *, along_row: float = 0.25) -> float:
        """Gives the distance in line heights; a step along the row costs less, one back to the left more."""
        if not self._reading.page_number or not (label[0].quad and target[0].quad):
            return float(abs(self._reading.mark_at(label[0].start) - self._reading.mark_at(target[0].start)))
        one, other = _box(label), _box(target)
        height = max(1e-6, (other.bottom - other.top + one.bottom - one.top) / 2)
        right = max(0.0, other.left - one.right)
        left = max(0.0, one.left - other.right)
        down = abs((one.top + one.bottom) - (other.top + other.bottom)) / 2
        same_row = down < 0.6 * height
        across = (right + 3 * left) * self._reading.aspect / height * (along_row if same_row else max(along_row, 0.5))
        below = 0.0 if same_row else down / height * (1 if one.top < other.top else 2)
        return math.hypot(across, below)


def _box(marks: list[Mark]) -> Box:
    return box_of(bounds([mark.quad for mark in marks]))
