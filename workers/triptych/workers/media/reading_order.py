"""Puts the text lines of a page into reading order, and their texts into the page's text.

The algorithm is the recursive XY-cut (Nagy and Seth 1984), cut where text runs: between columns of running text only,
so that tables and forms are read row by row. As in XY-Cut++ (Liu et al. 2025), lines that cross a gutter, such as
headings, are taken out first and part the columns into those above and those below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.workers.media.straightening import BOTTOM, LEFT, RIGHT, TOP, Boxes

Indices: TypeAlias = npt.NDArray[np.int_]

# A column of running text has at least so many lines ...
MIN_COLUMN_LINES = 4
# ... whose typical width fills at least this share of it. Cells of tables and forms are shorter.
MIN_COLUMN_FILL = 0.6
# ... and is this many times their height: some 25 characters.
MIN_COLUMN_ASPECT = 12
MAX_COLUMNS = 6
# Beside a column of running text stands a sidebar, not the labels of a form, if its lines follow each other at most so
# many line heights apart ...
MAX_SIDEBAR_STEP = 2.0
# ... and at most this share of them is level with a line of the column, to this share of its height.
MAX_LEVEL_SHARE = 0.6
LEVEL = 0.15
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


def reading_order(boxes: Boxes | Sequence[Sequence[float]]) -> list[int]:
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


def _gutter(boxes: Boxes, column_count: int = MAX_COLUMNS) -> float | None:
    """Gives the x of the gutter that the fewest boxes cross, if there are columns of running text beside it."""
    lefts, rights = np.sort(boxes[:, LEFT]), np.unique(boxes[:, RIGHT])
    next_left = np.searchsorted(lefts, rights, side="right")
    gaps = (rights[next_left < len(lefts)] + lefts[next_left[next_left < len(lefts)]]) / 2
    crossed = ((boxes[:, LEFT] < gaps[:, None]) & (boxes[:, RIGHT] > gaps[:, None])).sum(axis=1)
    tried: set[tuple[int, int]] = set()
    for at in np.argsort(crossed, kind="stable"):
        left, right = boxes[boxes[:, RIGHT] <= gaps[at]], boxes[boxes[:, LEFT] >= gaps[at]]
        # More titles and captions than lines of text is no layout in columns.
        if crossed[at] > min(len(left), len(right)) or (len(left), len(right)) in tried:
            continue
        tried.add((len(left), len(right)))
        if _are_columns(left, right, column_count):
            return float(gaps[at])
    return None


def _are_columns(left: Boxes, right: Boxes, column_count: int) -> bool:
    if not is_column(left):
        return is_column(right) and _is_sidebar(left, right)
    if is_column(right) or _is_sidebar(right, left):
        return True
    return column_count > 2 and _is_running(right) and _gutter(right, column_count - 1) is not None


def _is_sidebar(boxes: Boxes, column: Boxes) -> bool:
    """Whether lines beside a column are a text of their own, rather than labels or dates of what it says."""
    if len(boxes) < MIN_COLUMN_LINES:
        return False
    tops = np.sort(boxes[:, TOP])
    height = float(np.median(boxes[:, BOTTOM] - boxes[:, TOP]))
    bottoms = boxes[:, BOTTOM][:, None] - column[:, BOTTOM][None, :]
    level = (np.abs(bottoms) < LEVEL * height).any(axis=1)
    return bool(np.median(np.diff(tops)) <= MAX_SIDEBAR_STEP * height and level.mean() <= MAX_LEVEL_SHARE)


def is_column(boxes: Boxes) -> bool:
    """Whether the lines, one box a row, are a column of running text."""
    if not _is_running(boxes):
        return False
    column_width = boxes[:, RIGHT].max() - boxes[:, LEFT].min()
    return bool(np.median(boxes[:, RIGHT] - boxes[:, LEFT]) >= MIN_COLUMN_FILL * column_width)


def _is_running(boxes: Boxes) -> bool:
    if len(boxes) < MIN_COLUMN_LINES:
        return False
    width, height = np.median(boxes[:, RIGHT] - boxes[:, LEFT]), np.median(boxes[:, BOTTOM] - boxes[:, TOP])
    return bool(width >= MIN_COLUMN_ASPECT * height)


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
