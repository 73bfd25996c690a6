"""Puts the text of a table into its cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from triptych.workers.engines.layout import Box
from triptych.workers.engines.table import Grid, GridCell
from triptych.workers.recognition.structure_frame import Line, Piece, middle, segments, shared, text_rows, union

# Lines in one cell that are further apart than this, in their heights, stand in two columns.
_MAX_GAP_HEIGHTS = 1.5
# Cells of this share of a grid's rows, or of its lines, may look as if the grid missed a border.
_MAX_DOUBT = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A piece of a line in a cell."""

    line: Line
    piece: Piece


Filled = list[list[Placed]]
"""For each cell of a grid, what stands in it."""


def filled(grid: Grid, lines: Sequence[Line]) -> Filled:
    """Gives each line to the cell it stands in or next to; one that reaches over several cells, word by word.

    Args:
        grid: Boxes in the same pixels as those of the lines.
        lines: Of the table.
    """
    cells: Filled = [[] for _ in grid.cells]
    if not grid.cells:
        return cells
    boxes = [cell.box for cell in grid.cells]
    outside: list[Placed] = []
    for piece in _pieces(grid, lines):
        holders = _containing(grid.cells, piece.piece.box)
        if holders:
            cells[max(holders, key=lambda at: shared(boxes[at], piece.piece.box))].append(piece)
        else:
            outside.append(piece)
    # An engine's boxes lie about where the text is. What is next to a box goes where the text next to it went.
    grown = [union([box, *(one.piece.box for one in placed)]) for box, placed in zip(boxes, cells, strict=True)]
    nearest = [(min(_distance(box, one) for box in grown), at) for at, one in enumerate(outside)]
    for _, index in sorted(nearest):
        one = outside[index]
        at = min(range(len(grown)), key=lambda cell: _distance(grown[cell], one))
        cells[at].append(one)
        grown[at] = union([grown[at], one.piece.box])
    return cells


def _pieces(grid: Grid, lines: Sequence[Line]) -> Iterator[Placed]:
    """Yields the words of each line that stand close together, and all in one cell as far as they stand in any."""
    for line in lines:
        for words in segments(line):
            group = words[:1]
            for word in words[1:]:
                if _share_cell(grid.cells, group[-1].box, word.box):
                    group.append(word)
                else:
                    yield _placed(line, group)
                    group = [word]
            yield _placed(line, group)


def _placed(line: Line, words: Sequence[Piece]) -> Placed:
    box = union([word.box for word in words])
    return Placed(line=line, piece=Piece(start=words[0].start, end=words[-1].end, box=box))


def straightened(grid: Grid) -> Grid:
    """Gives a grid whose cells are as high as most of their row, and as wide as most of their column: boxes stray."""
    edges: dict[tuple[int, int], float] = {}
    for side in range(4):
        places: dict[int, list[float]] = {}
        for cell in grid.cells:
            place, span = (cell.row, cell.row_span) if side % 2 else (cell.column, cell.column_span)
            if span == 1:
                places.setdefault(place, []).append(cell.box[side])
        edges.update({(side, place): median(values) for place, values in places.items()})

    def box(cell: GridCell) -> Box:
        last = cell.column + cell.column_span - 1, cell.row + cell.row_span - 1
        ends = ((0, cell.column), (1, cell.row), (2, last[0]), (3, last[1]))
        left, top, right, bottom = (edges.get(end, cell.box[end[0]]) for end in ends)
        return (left, top, right, bottom) if left < right and top < bottom else cell.box

    return replace(grid, cells=tuple(replace(cell, box=box(cell)) for cell in grid.cells))


def text_of(placed: Sequence[Placed]) -> str:
    """Gives the text of a cell: its rows of text joined by line feeds; words of a line as far apart as in the line."""
    return "\n".join(_joined([placed[index] for index in row]) for row in text_rows([one.piece.box for one in placed]))


def doubtful(grid: Grid, cells: Filled) -> bool:
    """Whether the text speaks against the grid: it stands side by side, or row by row, within too many of its cells."""
    lines = sum(len(placed) for placed in cells)
    side_by_side = sum(map(_gaps, cells))
    merged_rows = sum(_merges_rows(grid, cells, row) for row in range(grid.row_count))
    return side_by_side > _MAX_DOUBT * max(lines, 1) or merged_rows > max(1, _MAX_DOUBT * grid.row_count)


def _gaps(placed: Sequence[Placed]) -> int:
    boxes = [one.piece.box for one in placed]
    gaps = 0
    for row in text_rows(boxes):
        for left, right in pairwise(row):
            height = min(boxes[left][3] - boxes[left][1], boxes[right][3] - boxes[right][1])
            gaps += boxes[right][0] - boxes[left][2] > _MAX_GAP_HEIGHTS * height
    return gaps


def _merges_rows(grid: Grid, cells: Filled, row: int) -> bool:
    """Whether all cells of a row have several rows of text, and equally many: likely they are rows of the table."""
    counts = [
        len(text_rows([one.piece.box for one in placed]))
        for cell, placed in zip(grid.cells, cells, strict=True)
        if cell.row == row and cell.row_span == 1 and placed
    ]
    return len(counts) > 1 and min(counts) > 1 and min(counts) == max(counts)


def _joined(row: Sequence[Placed]) -> str:
    text = ""
    before: Placed | None = None
    for one in row:
        part = one.line.text[one.piece.start : one.piece.end].strip()
        if before is None:
            text = part
        elif before.line is one.line and before.piece.end <= one.piece.start:
            text += one.line.text[before.piece.end : one.piece.start] + part
        else:
            text += f" {part}"
        before = one
    return text


def _containing(cells: Sequence[GridCell], box: Box) -> list[int]:
    x, y = middle(box)
    return [at for at, cell in enumerate(cells) if cell.box[0] <= x <= cell.box[2] and cell.box[1] <= y <= cell.box[3]]


def _share_cell(cells: Sequence[GridCell], one: Box, other: Box) -> bool:
    """Whether the words stand in one cell, or one of them in none: then they are taken together."""
    in_one, in_other = set(_containing(cells, one)), set(_containing(cells, other))
    return not in_one or not in_other or bool(in_one & in_other)


def _distance(box: Box, placed: Placed) -> tuple[float, float]:
    """Gives how far a piece is outside of a box, and how far from its middle."""
    _, top, _, bottom = placed.piece.box
    x, y = middle(placed.piece.box)
    box_x, box_y = middle(box)
    outside = max(box[0] - x, 0, x - box[2]) + max(box[1] - bottom, 0, top - box[3])
    return outside, abs(box_x - x) + abs(box_y - y)


def box_of_cell(cell: GridCell, placed: Sequence[Placed]) -> Box:
    """Gives the box of a cell with all that stands in it."""
    return union([cell.box, *(one.piece.box for one in placed)])
