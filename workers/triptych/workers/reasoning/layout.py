"""Puts a page's lines next to each other as they stand, so that a label keeps its value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.workers.reasoning.readings import Quad, Reading

# A line this long is running text: two side by side are columns, not a label and its value.
RUNNING_TEXT_CHARS = 30
CELL_GAP = " | "
# Lines before and after one that its row is looked for in: a few rows of a wide table.
_MAX_NEAR = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Lines that stand side by side.

    Attributes:
        text: Their texts from left to right.
        lines: Their indices, in that order.
        top: Upper edge, normalized; 0 in a recording.
        bottom: Lower edge, normalized; 0 in a recording.
    """

    text: str
    lines: tuple[int, ...]
    top: float = 0
    bottom: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Upright bounds of a line, normalized."""

    left: float
    top: float
    right: float
    bottom: float

    def beside(self, other: Box) -> bool:
        """Whether both stand in one row: they share most of the lower one's height, and not their width."""
        shared = min(self.bottom, other.bottom) - max(self.top, other.top)
        overlap = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom - self.top, other.bottom - other.top)
        return shared > 0.5 * height and overlap < 0.3 * min(self.right - self.left, other.right - other.left)


def rows(reading: Reading) -> Sequence[Row]:
    """Gives the rows of a page in reading order, or the segments of a recording."""
    return reading.once(_rows)


def _rows(reading: Reading) -> list[Row]:
    texts = [reading.text[start:end] for start, end in reading.lines]
    if not placed(reading):
        return [Row(text=text, lines=(index,)) for index, text in enumerate(texts)]
    boxes = [box_of(quad) for quad in reading.quads]
    if _has_columns(texts, boxes):
        return [_row([index], texts, boxes) for index in range(len(texts))]
    near = _near(boxes)
    found: list[Row] = []
    taken: set[int] = set()
    for first in range(len(texts)):
        if first in taken:
            continue
        members = [first]
        for index in sorted(near[first], key=lambda i: boxes[i].left):
            # The end of a tilted row is no longer level with its beginning: compare with the latest too.
            level = boxes[first].beside(boxes[index]) or boxes[members[-1]].beside(boxes[index])
            if index not in taken and level and not any(_overlap(boxes[member], boxes[index]) for member in members):
                members.append(index)
        taken.update(members)
        found.append(_row(members, texts, boxes))
    return found


def placed(reading: Reading) -> bool:
    """Whether it is known where every line stands."""
    return bool(reading.quads) and all(len(quad) >= 8 for quad in reading.quads)


def box_of(quad: Quad) -> Box:
    """Gives the upright bounds of a quad."""
    return Box(left=min(quad[0::2]), top=min(quad[1::2]), right=max(quad[0::2]), bottom=max(quad[1::2]))


def _overlap(one: Box, other: Box) -> bool:
    width = min(one.right, other.right) - max(one.left, other.left)
    return width > 0.3 * min(one.right - one.left, other.right - other.left)


def _near(boxes: Sequence[Box]) -> list[list[int]]:
    """Gives, for every line, others at most a few line heights above or below: all that its row may hold.

    Of very many there, those that are nearest in height, then those beside it.
    """
    order = sorted(range(len(boxes)), key=lambda index: (boxes[index].top, boxes[index].left))
    tops = [boxes[index].top for index in order]
    near: list[list[int]] = [[] for _ in boxes]
    for at, own in enumerate(order):
        box = boxes[own]
        reach = 3 * (box.bottom - box.top)
        first = max(bisect_left(tops, box.top - reach), at - _MAX_NEAR)
        last = min(bisect_right(tops, box.bottom + reach), at + _MAX_NEAR + 1)
        near[own] = order[first:at] + order[at + 1 : last]
    return near


def _has_columns(texts: Sequence[str], boxes: Sequence[Box]) -> bool:
    """Whether the page is set in columns of running text: then the engine's order stands."""
    running = [len(text) >= RUNNING_TEXT_CHARS for text in texts]
    paired = [
        index
        for index, near in enumerate(_near(boxes))
        if running[index] and any(running[other] and boxes[index].beside(boxes[other]) for other in near)
    ]
    return len(paired) >= 6 and len(paired) >= 0.3 * len(texts)


def _row(members: list[int], texts: Sequence[str], boxes: Sequence[Box]) -> Row:
    members = sorted(members, key=lambda index: boxes[index].left)
    return Row(
        text=CELL_GAP.join(texts[index] for index in members),
        lines=tuple(members),
        top=min(boxes[index].top for index in members),
        bottom=max(boxes[index].bottom for index in members),
    )
