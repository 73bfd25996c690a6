"""Puts the text lines of a page into reading order, and their texts into the page's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from triptych.v1.ocr_pb2 import OcrPage, TextLine

Boxes: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int_]
LEFT, TOP, RIGHT, BOTTOM = range(4)

# A column of running text has at least so many lines ...
MIN_COLUMN_LINES = 4
# ... whose typical width fills at least this share of it. Cells of tables and forms are shorter.
MIN_COLUMN_FILL = 0.6
# ... and is this many times their height: some 25 characters.
MIN_COLUMN_ASPECT = 12
# Boxes are on one row if they share this part of the height of the smaller one.
MIN_ROW_OVERLAP = 0.5


def write_lines(page: OcrPage, lines: Iterable[TextLine]) -> None:
    """Sets `page.lines` and `page.text`, and each line's place in that text.

    Args:
        page: Filled in place.
        lines: In reading order; `text` and `polygon` set.
    """
    texts: list[str] = []
    start = 0
    for line in lines:
        line.text_start, line.text_end = start, start + len(line.text)
        start = line.text_end + 1
        texts.append(line.text)
        page.lines.append(line)
    page.text = "\n".join(texts)


def reading_order(boxes: Sequence[Sequence[float]]) -> list[int]:
    """Gives the indices of the boxes in reading order: columns of running text one after the other, else row by row.

    A gutter is looked for that few boxes cross and that has a column of running text on either side. Boxes that do
    cross it, such as a title, split the columns into parts above and below. Without a gutter the boxes are read row
    by row, which keeps a form's value beside its label.

    Args:
        boxes: Left, top, right and bottom of each, in pixels or any unit that is the same in x and y.
    """
    table = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return [int(index) for index in _order(table, np.arange(len(table)))]


def _order(boxes: Boxes, indices: Indices) -> Indices:
    """Orders the boxes that `indices` names."""
    gutter = _gutter(boxes[indices])
    if gutter is None:
        return _rows(boxes, indices)
    crosses = (boxes[indices, LEFT] < gutter) & (boxes[indices, RIGHT] > gutter)
    middles = (boxes[:, TOP] + boxes[:, BOTTOM]) / 2
    separators = sorted(indices[crosses].tolist(), key=lambda index: float(middles[index]))
    beside = indices[~crosses]
    ordered: list[Indices] = []
    for separator in [*separators, None]:
        is_above = np.full(len(beside), True) if separator is None else middles[beside] < middles[separator]
        above, beside = beside[is_above], beside[~is_above]
        left, right = above[boxes[above, RIGHT] <= gutter], above[boxes[above, LEFT] >= gutter]
        # A line or two beside each other are a heading with its date, not columns.
        if min(len(left), len(right)) >= MIN_COLUMN_LINES:
            ordered += [_order(boxes, left), _order(boxes, right)]
        else:
            ordered.append(_rows(boxes, above))
        if separator is not None:
            ordered.append(np.array([separator]))
    return np.concatenate(ordered)


def _gutter(boxes: Boxes) -> float | None:
    """Gives the x of the gutter that the fewest boxes cross, if there are columns of running text beside it."""
    lefts, rights = np.sort(boxes[:, LEFT]), np.unique(boxes[:, RIGHT])
    next_left = np.searchsorted(lefts, rights, side="right")
    gaps = (rights[next_left < len(lefts)] + lefts[next_left[next_left < len(lefts)]]) / 2
    crossed = ((boxes[:, LEFT] < gaps[:, None]) & (boxes[:, RIGHT] > gaps[:, None])).sum(axis=1)
    for at in np.argsort(crossed, kind="stable"):
        left, right = boxes[boxes[:, RIGHT] <= gaps[at]], boxes[boxes[:, LEFT] >= gaps[at]]
        # More titles and captions than lines of text is no layout in columns.
        if crossed[at] <= min(len(left), len(right)) and _is_column(left) and _is_column(right):
            return float(gaps[at])
    return None


def _is_column(boxes: Boxes) -> bool:
    if len(boxes) < MIN_COLUMN_LINES:
        return False
    column_width = boxes[:, RIGHT].max() - boxes[:, LEFT].min()
    width, height = np.median(boxes[:, RIGHT] - boxes[:, LEFT]), np.median(boxes[:, BOTTOM] - boxes[:, TOP])
    return bool(width >= MIN_COLUMN_FILL * column_width and width >= MIN_COLUMN_ASPECT * height)


def _rows(boxes: Boxes, indices: Indices) -> Indices:
    rows: list[list[int]] = []
    middles = (boxes[indices, TOP] + boxes[indices, BOTTOM]) / 2
    for index in indices[np.argsort(middles, kind="stable")].tolist():
        # A tall box may reach down beside several rows, so the last few are looked at.
        row = next((row for row in rows[-3:] if _on_row(boxes, index, row)), None)
        if row is None:
            rows.append([index])
        else:
            row.append(index)
    return np.array([index for row in rows for index in sorted(row, key=lambda at: float(boxes[at, LEFT]))], dtype=int)


def _on_row(boxes: Boxes, index: int, row: list[int]) -> bool:
    left, top, right, bottom = boxes[index]
    # The nearest box of the row decides: on a page scanned askew the far end of a row is higher or lower.
    nearest = boxes[min(row, key=lambda at: float(max(left - boxes[at, RIGHT], boxes[at, LEFT] - right)))]
    shared = min(bottom, nearest[BOTTOM]) - max(top, nearest[TOP])
    return bool(shared >= MIN_ROW_OVERLAP * min(bottom - top, nearest[BOTTOM] - nearest[TOP]))
