"""Makes a table of the contract out of a grid and the text on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from triptych.v1.ocr_pb2 import OcrTable
from triptych.workers.engines.layout import Box
from triptych.workers.engines.table import Grid, GridCell
from triptych.workers.recognition.structure_cells import Filled, box_of_cell, doubtful, filled, straightened, text_of
from triptych.workers.recognition.structure_frame import Frame, Line, union
from triptych.workers.recognition.structure_grids import aligned_grid, ruled_grid

# SLANet_plus is right nearly always above the first, wrong below the second (looked at on 20 tables and 8 pictures).
_SURE, _POSSIBLE = 0.97, 0.9
_MAX_HEADER_ROWS = 4
_NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*|n\.?a\.?|[-–—]")
_YEAR = re.compile(r"(?:19|20)\d\d")
# A column is of numbers if so many of its texts are.
_MIN_NUMBERS = 0.6
# A table that no model has seen has at least so many rows and columns, this share of its cells written, and no gap
# between its rows of more than so many heights.
_MIN_ROWS, _MIN_COLUMNS, _MIN_FULL, _MAX_GAP_HEIGHTS = 3, 3, 0.75, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table of the page.

    Attributes:
        box: In pixels of the upright page.
        table: As results have it.
        line_indices: Of the lines in it, in the order of its cells.
    """

    box: Box
    table: OcrTable
    line_indices: list[int]


def found_table(network: Grid, frame: Frame, box: Box, lines: Sequence[Line]) -> FoundTable | None:
    """Gives the table in a box of the page; None if what is there has no rows and columns.

    The network's cells are taken if it is sure and the text fits them; otherwise those of ruled lines; those of
    aligned text; and, for want of better, the network's after all.

    Args:
        network: What the engine found; boxes are relative to `box`.
        frame: Of the page.
        box: Of the table, as it was cut out.
        lines: In it.
    """
    for grid in _candidates(network, frame, box, lines):
        if grid.row_count < 2 or grid.column_count < 2:
            continue
        placed = _moved(grid, box)
        cells = filled(placed, lines)
        if not doubtful(placed, cells):
            return _told(placed, cells, frame, box)
    return None


def aligned_tables(frame: Frame, lines: Sequence[Line]) -> list[FoundTable]:
    """Gives the tables among lines that the layout model put into no region: rows of columns, one at least of numbers.

    Args:
        frame: Of the page.
        lines: Outside of all regions.
    """
    found = []
    for run in _close_together(lines):
        box = union([line.box for line in run])
        grid = aligned_grid(run, box[:2])
        if grid is None or grid.row_count < _MIN_ROWS or grid.column_count < _MIN_COLUMNS:
            continue
        placed = _moved(grid, box)
        cells = filled(placed, run)
        full = sum(bool(texts) for texts in cells) >= _MIN_FULL * len(cells)
        numbers = any(_numbers(placed, [text_of(one) for one in cells], column) for column in range(grid.column_count))
        if full and numbers and not doubtful(placed, cells):
            found.append(_told(placed, cells, frame, box))
    return found


def _close_together(lines: Sequence[Line]) -> list[list[Line]]:
    """Groups lines from the top down; a wide gap ends a group."""
    groups: list[list[Line]] = []
    bottom = 0.0
    for line in sorted(lines, key=lambda one: one.box[1]):
        height = line.box[3] - line.box[1]
        if groups and line.box[1] - bottom <= _MAX_GAP_HEIGHTS * height:
            groups[-1].append(line)
            bottom = max(bottom, line.box[3])
        else:
            groups.append([line])
            bottom = line.box[3]
    return groups


def _candidates(network: Grid, frame: Frame, box: Box, lines: Sequence[Line]) -> Iterator[Grid]:
    if network.confidence >= _SURE:
        yield straightened(network)
    found = [ruled_grid(frame.crop(box)), aligned_grid(lines, box[:2])]
    yield from (grid for grid in found if grid)
    if _POSSIBLE <= network.confidence < _SURE:
        yield straightened(network)


def _moved(grid: Grid, box: Box) -> Grid:
    left, top, _, _ = box
    cells = (
        replace(cell, box=(cell.box[0] + left, cell.box[1] + top, cell.box[2] + left, cell.box[3] + top))
        for cell in grid.cells
    )
    return replace(grid, cells=tuple(cells))


def _told(grid: Grid, cells: Filled, frame: Frame, box: Box) -> FoundTable:
    texts = [text_of(placed) for placed in cells]
    header_rows = _header_rows(grid, texts)
    table = OcrTable(polygon=frame.polygon(box), row_count=grid.row_count, column_count=grid.column_count)
    for cell, placed, text in zip(grid.cells, cells, texts, strict=True):
        table.cells.add(
            row_index=cell.row,
            column_index=cell.column,
            row_span=cell.row_span,
            column_span=cell.column_span,
            text=text,
            polygon=frame.polygon(box_of_cell(cell, placed)),
            header=cell.header or cell.row < header_rows,
        )
    in_order = dict.fromkeys(one.line.index for placed in cells for one in placed)
    return FoundTable(box=box, table=table, line_indices=list(in_order))


def _header_rows(grid: Grid, texts: Sequence[str]) -> int:
    """Gives how many rows at the top are headings.

    The engine's word counts. Without it: a first row that spans columns, or words over numbers, or, if there are no
    numbers at all, whatever is in the first row, as in nearly every table.
    """
    if said := [cell.row + cell.row_span for cell in grid.cells if cell.header]:
        return max(said)
    first = [(cell, text) for cell, text in zip(grid.cells, texts, strict=True) if cell.row == 0]
    spanning = any(cell.column_span > 1 or cell.row_span > 1 for cell, _ in first)
    if not (spanning or _names_columns(grid, texts)):
        return 0
    rows = 1
    while rows < min(_MAX_HEADER_ROWS, grid.row_count - 1) and _stands_under_spans(grid, texts, rows):
        rows += 1
    return rows


def _names_columns(grid: Grid, texts: Sequence[str]) -> bool:
    """Whether the first row has words over numbers, or years over what are none, or there are no numbers to tell by."""
    has_numbers = False
    for column in range(grid.column_count):
        head, body = _column(grid, texts, column)
        if not _mostly_numbers(body):
            continue
        has_numbers = True
        is_number = _NUMBER.fullmatch(head) and not (_YEAR.fullmatch(head) and not any(map(_YEAR.fullmatch, body)))
        if head and not is_number:
            return True
    return not has_numbers and any(texts)


def _column(grid: Grid, texts: Sequence[str], column: int) -> tuple[str, list[str]]:
    """Gives what is written in a column: in its first row, and below."""
    own = [
        (cell, text)
        for cell, text in zip(grid.cells, texts, strict=True)
        if cell.column == column and cell.column_span == 1 and text
    ]
    return "".join(text for cell, text in own if cell.row == 0), [text for cell, text in own if cell.row]


def _numbers(grid: Grid, texts: Sequence[str], column: int) -> bool:
    return _mostly_numbers(_column(grid, texts, column)[1])


def _mostly_numbers(texts: Sequence[str]) -> bool:
    return bool(texts) and sum(bool(_NUMBER.fullmatch(text)) for text in texts) >= _MIN_NUMBERS * len(texts)


def _stands_under_spans(grid: Grid, texts: Sequence[str], row: int) -> bool:
    """Whether all that is written in a row stands under cells of the row above that span columns."""
    above = [cell for cell in grid.cells if cell.row < row <= cell.row + cell.row_span - 1 or cell.row == row - 1]
    under = [cell for cell in above if cell.column_span > 1 and cell.row + cell.row_span == row]
    written = [cell for cell, text in zip(grid.cells, texts, strict=True) if cell.row == row and text]
    return bool(written) and all(any(_covers(span, cell) for span in under) for cell in written)


def _covers(span: GridCell, cell: GridCell) -> bool:
    return span.column <= cell.column and cell.column + cell.column_span <= span.column + span.column_span
