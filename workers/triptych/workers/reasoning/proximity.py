"""Says how near a place in a reading stands to the words of the question: a value next to its label."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import islice

from triptych.workers.reasoning.folding import Text
from triptych.workers.reasoning.layout import Box, box_of
from triptych.workers.reasoning.readings import Mark, Reading, bounds
from triptych.workers.reasoning.terms import Term, content_terms

# Distances are in line heights on a page and in words elsewhere; at this one a label counts half.
HALF_DISTANCE = 6.0
# Lines whose centres are nearer than this share of their height are one row.
_ONE_ROW = 0.6
# Of a word that stands so often at one height, the nearest is among those that are looked at.
_MAX_LOOKED = 200


class Labels:
    """Where the words of a question stand in one reading.

    Args:
        reading: The page, recording or text.
        text: Its text.
        question: The caller's.
    """

    def __init__(self, reading: Reading, text: Text, question: str) -> None:
        self._reading = reading
        wanted = dict.fromkeys(term.stem for term in content_terms(question))
        self._labels = [_Label(reading, text.by_stem[stem]) for stem in wanted if stem in text.by_stem]

    def score(self, start: int, end: int) -> float:
        """Gives the weight of the labels near a span of the text; 0 means none at all."""
        target = self._reading.marks_between(start, end)
        return sum(
            label.weight / (1 + (label.distance(start, end, target) / HALF_DISTANCE) ** 2) for label in self._labels
        )

    def near(self, start: int, end: int) -> bool:
        """Whether any label stands in the row of a span, or right above or below it (ten words in a recording)."""
        target = self._reading.marks_between(start, end)
        limit = 2.5 if self._reading.page_number else 10.0
        return any(label.distance(start, end, target, along_row=0) <= limit for label in self._labels)


class _Label:
    """Where one word stands; of thousands of places only those around the one that is asked about are looked at."""

    def __init__(self, reading: Reading, terms: list[Term]) -> None:
        # A word that stands everywhere on the page labels nothing.
        self.weight = 1 / math.sqrt(len(terms))
        self._reading = reading
        placed = [(term.start, reading.mark_at(term.start), _box(reading, term)) for term in terms]
        self._starts = [start for start, _, _ in placed]
        self._words = [word for _, word, _ in placed]
        boxes = [(start, box) for start, _, box in placed if box is not None]
        self._boxes = sorted(boxes, key=lambda one: _height_and_left(one[1]))
        self._heights = [_height_and_left(box) for _, box in self._boxes]
        self._tallest = max((box.bottom - box.top for _, box in self._boxes), default=0.0)

    def distance(self, start: int, end: int, target: list[Mark], *, along_row: float = 0.25) -> float:
        """Gives the distance to the nearest place outside a span: words of a value do not say where it stands.

        Args:
            start: Start of the span in the text.
            end: Its end, exclusive.
            target: Its words.
            along_row: What a step along the row costs, in a step down.

        Returns:
            Line heights on a page, words elsewhere; infinite if there is no such place.
        """
        if not target:
            return math.inf
        if self._boxes and target[0].quad:
            return self._by_box(start, end, box_of(bounds([mark.quad for mark in target])), along_row)
        return self._by_word(start, end, self._reading.mark_at(target[0].start))

    def _by_word(self, start: int, end: int, at: int) -> float:
        before, after = bisect_left(self._starts, start) - 1, bisect_left(self._starts, end)
        nearest = [self._words[index] for index in (before, after) if 0 <= index < len(self._words)]
        return min((float(abs(word - at)) for word in nearest), default=math.inf)

    def _by_box(self, start: int, end: int, target: Box, along_row: float) -> float:
        best, first = math.inf, bisect_left(self._heights, _height_and_left(target))
        reach = max(1e-6, (target.bottom - target.top + self._tallest) / 2)
        for order in (range(first, len(self._boxes)), range(first - 1, -1, -1)):
            for index in islice(order, _MAX_LOOKED):
                rows = abs(self._heights[index][0] - _height_and_left(target)[0]) / reach
                # All that follow are further away than this.
                if rows > max(best, _ONE_ROW):
                    break
                at, box = self._boxes[index]
                if not start <= at < end:
                    best = min(best, self._between(box, target, along_row))
        return best

    def _between(self, one: Box, other: Box, along_row: float) -> float:
        """Gives the distance in line heights; a step along the row costs less, one back to the left more."""
        height = max(1e-6, (other.bottom - other.top + one.bottom - one.top) / 2)
        right = max(0.0, other.left - one.right)
        left = max(0.0, one.left - other.right)
        down = abs((one.top + one.bottom) - (other.top + other.bottom)) / 2
        same_row = down < _ONE_ROW * height
        across = (right + 3 * left) * self._reading.aspect / height * (along_row if same_row else max(along_row, 0.5))
        below = 0.0 if same_row else down / height * (1 if one.top < other.top else 2)
        return math.hypot(across, below)


def _box(reading: Reading, term: Term) -> Box | None:
    """Gives the bounds of a word; None where it has none: in a recording, in a text."""
    marks = reading.marks_between(term.start, term.end) if reading.page_number else []
    return box_of(bounds([mark.quad for mark in marks])) if marks and marks[0].quad else None


def _height_and_left(box: Box) -> tuple[float, float]:
    return (box.top + box.bottom) / 2, box.left
