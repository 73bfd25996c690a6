"""Finds the cells of a table without a network: by its ruled lines, or by how its text is aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.layout import Box
from triptych.workers.engines.table import Grid, GridCell
from triptych.workers.recognition.structure_frame import Line, Pixels, segments, text_rows, union

Mask = npt.NDArray[np.bool_]

# A ruled line is at least so long, in pixels and in shares of the table's side.
_MIN_RULE_PX, _MIN_RULE_SHARE = 24, 0.03
# Lines nearer to each other than this are one.
_SAME_RULE_PX = 6
# A border is there if this share of it is drawn.
_MIN_DRAWN = 0.6
# Text of this share of the rows may cross the gap between two columns: headings and notes do.
_MAX_CROSSING = 0.1
# Text stands in this share of the places of an aligned table, and of each of its columns.
_MIN_FILLED, _MIN_COLUMN_FILLED = 0.5, 0.25
# Grids that no network has found: sure enough to be taken, if the text fits.
_CONFIDENCE = 0.9


def ruled_grid(pixels: Pixels) -> Grid | None:
    """Gives the cells that ruled lines enclose; None if they enclose none.

    Lines that begin or end within the table make spanning cells.

    Args:
        pixels: Of the table, RGB; boxes are in them.
    """
    across, down = _rules(pixels)
    rows, columns = _positions(across.sum(axis=1)), _positions(down.sum(axis=0))
    if len(rows) < 3 or len(columns) < 3:
        return None
    count = len(columns) - 1
    group = list(range((len(rows) - 1) * count))
    for row in range(len(rows) - 1):
        for column in range(count):
            at = row * count + column
            if column and not _drawn(down[rows[row] : rows[row + 1], :], columns[column], axis=1):
                _join(group, at - 1, at)
            if row and not _drawn(across[:, columns[column] : columns[column + 1]], rows[row], axis=0):
                _join(group, at - count, at)
    cells = tuple(sorted(_rectangles(group, rows, columns), key=lambda cell: (cell.row, cell.column)))
    if len(cells) < 2:
        return None
    return Grid(cells=cells, row_count=len(rows) - 1, column_count=count, confidence=_CONFIDENCE)


def aligned_grid(lines: Sequence[Line], origin: tuple[float, float]) -> Grid | None:
    """Gives a cell for each row of text and each column that gaps set apart; None if that is no table, but scattered.

    What crosses a gap between columns is one cell over both.

    Args:
        lines: Of the table.
        origin: Left and top of the table; boxes are relative to it.
    """
    left, top = origin
    parts = (union([word.box for word in words]) for line in lines for words in segments(line))
    boxes = [(box[0] - left, box[1] - top, box[2] - left, box[3] - top) for box in parts]
    rows = text_rows(boxes)
    columns = _columns(boxes, len(rows))
    if len(rows) < 2 or len(columns) < 2:
        return None
    reached = [{_covered(columns, boxes[at])[0] for at in row} for row in rows]
    in_column = [sum(at in row for row in reached) for at in range(len(columns))]
    if sum(in_column) < _MIN_FILLED * len(rows) * len(columns) or min(in_column) < _MIN_COLUMN_FILLED * len(rows):
        return None
    cells: list[GridCell] = []
    for index, row in enumerate(rows):
        _, row_top, _, row_bottom = union([boxes[at] for at in row])
        end = 0
        for at in row:
            first, last = _covered(columns, boxes[at])
            if first >= end:
                cells += (_cell(index, (at, at + 1), columns, row_top, row_bottom) for at in range(end, first))
                cells.append(_cell(index, (first, last + 1), columns, row_top, row_bottom))
                end = last + 1
        cells += (_cell(index, (at, at + 1), columns, row_top, row_bottom) for at in range(end, len(columns)))
    return Grid(cells=tuple(cells), row_count=len(rows), column_count=len(columns), confidence=_CONFIDENCE)


def _rules(pixels: Pixels) -> tuple[Mask, Mask]:
    """Gives where lines run across, and where down."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    # Darker than what is around: lines are drawn in any grey, on any background.
    ink = cv2.adaptiveThreshold(255 - grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 15, -8)
    height, width = grey.shape
    found = []
    for size in (
        (max(_MIN_RULE_PX, round(width * _MIN_RULE_SHARE)), 1),
        (1, max(_MIN_RULE_PX, round(height * _MIN_RULE_SHARE))),
    ):
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, size)
        # A scanned line is not quite straight: what is next to it counts too.
        thick = cv2.dilate(cv2.morphologyEx(ink, cv2.MORPH_OPEN, kernel), np.ones((3, 3), np.uint8))
        found.append(thick > 0)
    return found[0], found[1]


def _positions(lengths: npt.NDArray[np.int_]) -> list[int]:
    """Gives where the lines are, each where it is longest."""
    places = np.flatnonzero(lengths)
    if not len(places):
        return []
    runs = np.split(places, np.flatnonzero(np.diff(places) > _SAME_RULE_PX) + 1)
    return [int(run[lengths[run].argmax()]) for run in runs]


def _drawn(lines: Mask, at: int, *, axis: int) -> bool:
    """Whether a line is drawn at a place, over the whole length of the strip."""
    near = slice(max(0, at - _SAME_RULE_PX // 2), at + _SAME_RULE_PX // 2 + 1)
    strip = lines[near] if axis == 0 else lines[:, near]
    return bool(strip.any(axis=axis).mean() >= _MIN_DRAWN)


def _join(group: list[int], one: int, other: int) -> None:
    kept, gone = group[one], group[other]
    group[:] = [kept if name == gone else name for name in group]


def _rectangles(group: list[int], rows: list[int], columns: list[int]) -> Iterator[GridCell]:
    """Yields a cell for each group of places that is a rectangle; places of other groups stay cells of their own."""
    count = len(columns) - 1
    places: dict[int, list[tuple[int, int]]] = {}
    for at, name in enumerate(group):
        places.setdefault(name, []).append(divmod(at, count))
    for members in places.values():
        (top, left), (bottom, right) = min(members), max(members)
        left, right = min(column for _, column in members), max(column for _, column in members)
        whole = len(members) == (bottom - top + 1) * (right - left + 1)
        for row, column, last_row, last_column in (
            [(top, left, bottom, right)] if whole else [(row, column, row, column) for row, column in members]
        ):
            yield GridCell(
                row=row,
                column=column,
                row_span=last_row - row + 1,
                column_span=last_column - column + 1,
                box=(columns[column], rows[row], columns[last_column + 1], rows[last_row + 1]),
            )


def _columns(boxes: Sequence[Box], row_count: int) -> list[tuple[float, float]]:
    """Gives left and right of each column: where text is in more than a few rows."""
    edges = sorted({edge for box in boxes for edge in (box[0], box[2])})
    columns: list[tuple[float, float]] = []
    for start, end in pairwise(edges):
        covering = sum(box[0] <= start and box[2] >= end for box in boxes)
        if covering <= _MAX_CROSSING * row_count:
            continue
        if columns and columns[-1][1] == start:
            columns[-1] = columns[-1][0], end
        else:
            columns.append((start, end))
    return columns


def _covered(columns: Sequence[tuple[float, float]], box: Box) -> tuple[int, int]:
    """Gives the first and last column that a box reaches into by a third of the narrower one."""
    reached = [
        at
        for at, (left, right) in enumerate(columns)
        if min(right, box[2]) - max(left, box[0]) > min(right - left, box[2] - box[0]) / 3
    ]
    if reached:
        return reached[0], reached[-1]
    nearest = min(range(len(columns)), key=lambda at: abs(sum(columns[at]) - box[0] - box[2]))
    return nearest, nearest


def _cell(
    row: int, span: tuple[int, int], columns: Sequence[tuple[float, float]], top: float, bottom: float
) -> GridCell:
    first, end = span
    return GridCell(
        row=row, column=first, column_span=end - first, box=(columns[first][0], top, columns[end - 1][1], bottom)
    )
