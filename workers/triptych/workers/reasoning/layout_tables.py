"""Tables as headings and rows of cells, and those that layout found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.v1.ocr_pb2 import OcrTable, OcrTableCell
from triptych.workers.reasoning.layout import Box, box_of
from triptych.workers.reasoning.readings import Mark, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: Its words with single blanks between.
        spans: Where they stand in the reading's text, in code points; several if they do not follow each other there.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Headings and what stands under them.

    Attributes:
        header: One cell a column, from left to right; what stands above each other is one heading.
        rows: Of cells, one for every column; cells may be empty.
        first: The row of headings if it may be none, but data that goes on from a page before; else empty.
    """

    header: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    first: tuple[Cell, ...] = ()


EMPTY = Cell(text="", spans=())


def cell_of(reading: Reading, spans: Sequence[tuple[int, int]]) -> Cell:
    """Makes a cell of spans of a reading's text, from left to right and top to bottom; neighbours become one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and joined[-1][1] <= start and not reading.text[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return Cell(text=" ".join(" ".join(reading.text[a:b].split()) for a, b in joined), spans=tuple(joined))


def of_layout(reading: Reading) -> list[Table]:
    """Gives the tables that layout found, in its order."""
    return [made for table in reading.tables if (made := _table(reading, table)) is not None]


def _table(reading: Reading, table: OcrTable) -> Table | None:
    if not table.row_count or not table.column_count or not all(len(cell.polygon) >= 8 for cell in table.cells):
        return None
    cells = [[EMPTY] * table.column_count for _ in range(table.row_count)]
    owned = _words_of_cells(reading, table)
    heads = 0
    for cell, words in zip(table.cells, owned, strict=True):
        cells[cell.row_index][cell.column_index] = cell_of(reading, [(mark.start, mark.end) for mark in words])
        heads = max(heads, cell.row_index + cell.row_span if cell.header and cell.row_index == heads else 0)
    headed = heads > 0
    heads = heads or 1
    headings = [
        [cells[cell.row_index][cell.column_index] for cell in table.cells if _heads(cell, column, heads)]
        for column in range(table.column_count)
    ]
    return Table(
        header=tuple(cell_of(reading, [span for cell in heading for span in cell.spans]) for heading in headings),
        rows=tuple(tuple(row) for row in cells[heads:]),
        first=() if headed else tuple(cells[0]),
    )


def _heads(cell: OcrTableCell, column: int, heads: int) -> bool:
    return cell.row_index < heads and cell.column_index <= column < cell.column_index + max(1, cell.column_span)


def _words_of_cells(reading: Reading, table: OcrTable) -> list[list[Mark]]:
    """Gives the words of each cell: those whose middle is in it, or that are nearest to it, inside the table."""
    boxes = [box_of(tuple(cell.polygon)) for cell in table.cells]
    owned: list[list[Mark]] = [[] for _ in boxes]
    around = box_of(tuple(table.polygon)) if len(table.polygon) >= 8 else None
    for mark in (mark for mark in reading.marks if len(mark.quad) >= 8):
        box = box_of(mark.quad)
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        if boxes and (around is None or _distance(around, x, y) == 0):
            owned[min(range(len(boxes)), key=lambda at: _distance(boxes[at], x, y))].append(mark)
    return owned


def _distance(box: Box, x: float, y: float) -> float:
    return max(box.left - x, 0, x - box.right) + max(box.top - y, 0, y - box.bottom)
