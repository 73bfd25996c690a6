"""Finds the line that holds the value of a label by where it stands: right of it, or under it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Protocol

from triptych.workers.reasoning.layout import Box, box_of, placed, rows
from triptych.workers.reasoning.readings import Reading

# A value stands under its label within so many line heights, in one of so many rows; of a row of labels, further down.
LINES_BELOW = 1.5
ROWS_BELOW = 3
CELLS_BELOW = 5.0
# The label of a value stands above it within so many line heights.
LABEL_GAP = 0.8


class Kind(Protocol):
    """Tells values of the kind that is looked for from other words."""

    def is_value(self, text: str) -> bool:
        """Whether a line is likely such a value, and no label."""

    def may_be_value(self, text: str) -> bool:
        """Whether a line may be one where a colon says that one follows."""

    def same(self, one: str, other: str) -> bool:
        """Whether two lines have the same value."""


class Sheet:
    """The lines of a page by where they stand.

    Args:
        reading: Of a page, a recording or a text.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.rows = rows(reading)
        self._placed = placed(reading)

    def text(self, line: int | None) -> str:
        """Gives the text of a line; empty if there is none."""
        if line is None:
            return ""
        start, end = self.reading.lines[line]
        return self.reading.text[start:end].strip()

    def values_of(self, at: int, place: int, kind: Kind) -> list[int]:
        """Gives the lines that may hold the value of a label: none, one, or two of which nothing tells which it is.

        Args:
            at: Index of the label's row.
            place: Of the label in its row, from left to right.
            kind: Of the value.
        """
        row = self.rows[at]
        label = row.lines[place]
        right = row.lines[place + 1] if place + 1 < len(row.lines) else None
        under = self._under(at, place, kind)
        beside, below = self.text(right), self.text(under)
        colon = self.text(label).endswith(":")
        # Most values have digits and most labels none; without them only a colon tells the two apart.
        to_right = kind.is_value(beside) or (colon and kind.may_be_value(beside))
        alone = not beside or beside.endswith(":")
        to_lower = kind.is_value(below) or (colon and alone and kind.may_be_value(below))
        if right is None or not to_right:
            return [under] if under is not None and to_lower and not self._is_column(at, label, under, kind) else []
        if under is None or not to_lower or colon or kind.same(beside, below):
            return [right]
        if re.match(r"\W*[^\W\d_]{3}", below):
            # The label of the next row.
            return [right]
        if self._is_column(at, label, under, kind):
            return [right]
        return [under] if self._is_of_another(right, label, kind) else [right, under]

    def _under(self, at: int, place: int, kind: Kind) -> int | None:
        """Gives the first cell below a line that stands under it: left of where the line's neighbour begins."""
        row, below = self.rows[at], self.rows[at + 1 : at + 1 + ROWS_BELOW]
        if not self._placed or not below:
            return None
        if len(below[0].lines) == len(row.lines) > 2:
            return below[0].lines[place]
        follower = row.lines[place + 1] if place + 1 < len(row.lines) else None
        box = self._box(row.lines[place])
        height = box.bottom - box.top
        end = self._box(follower).left if follower is not None else float("inf")
        for number, lower in enumerate(below):
            # A row of labels, and their values under it in as many cells.
            reach = LINES_BELOW if number or follower is None or len(lower.lines) < 2 else CELLS_BELOW
            for other in lower.lines:
                cell = self._box(other)
                near = cell.top - box.bottom < reach * height
                under = near and box.left - height <= cell.left and (cell.left + cell.right) / 2 < end
                if under and ((number == 0 and follower is None) or kind.is_value(self.text(other))):
                    return other
        return None

    def _is_column(self, at: int, label: int, first: int, kind: Kind) -> bool:
        """Whether another value of the kind stands below the first one, in the same column of a table."""
        boxes = [self._box(label), self._box(first)]
        left, right = min(box.left for box in boxes), max(box.right for box in boxes)
        start = next(place for place in range(at + 1, len(self.rows)) if first in self.rows[place].lines)
        for above, row in pairwise(self.rows[start : start + 1 + ROWS_BELOW]):
            if row.top - above.bottom >= LINES_BELOW * (boxes[1].bottom - boxes[1].top):
                return False
            cells = [(self._box(line), self.text(line)) for line in row.lines]
            texts = [text for box, text in cells if box.left < right and left < box.right]
            # Other words are the next label.
            if any(not kind.is_value(text) for text in texts):
                return False
            if any(not kind.same(text, self.text(first)) for text in texts):
                return True
        return False

    def _is_of_another(self, value: int, label: int, kind: Kind) -> bool:
        """Whether a value has words right above it that are nearer than a label: another box of the form."""
        box = self._box(value)
        far = box.left - self._box(label).right
        for other in range(len(self.reading.lines)):
            above = self._box(other)
            right_above = above.top < box.top and abs(box.top - above.bottom) <= LABEL_GAP * (box.bottom - box.top)
            near = above.left <= box.right and box.left - above.right < far / 2
            if other not in (value, label) and right_above and near and not kind.is_value(self.text(other)):
                return True
        return False

    def _box(self, line: int) -> Box:
        return box_of(self.reading.quads[line])
