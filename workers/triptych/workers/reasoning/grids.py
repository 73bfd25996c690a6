"""Tables of a reading as heads and rows of cells, each cell knowing its words: found by layout, else by alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from triptych.v1.ocr_pb2 import OcrTable, OcrTableCell
from triptych.workers.reasoning.layout import Box, Row, box_of, placed, rows
from triptych.workers.reasoning.readings import Mark, Reading

# Rows of an aligned table are no further apart than so many of their heights.
_ROW_GAP = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Words of one cell.

    Attributes:
        text: As recognized.
        spans: Where they stand in the reading's text, in code points; a cell of several lines may have several.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table.

    Attributes:
        reading: Index of the reading.
        head: Heading of every column.
        body: Rows of cells, one for every column.
        first: Cells of the row of headings if it may be none, but data that goes on from a page before; else empty.
    """

    reading: int
    head: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]
    first: tuple[Cell, ...] = ()


def grids(readings: Sequence[Reading], is_head: Callable[[Sequence[str]], bool]) -> list[Grid]:
    """Gives all tables in document order.

    Args:
        readings: Everything that was recognized.
        is_head: Whether texts that stand side by side may be headings of a table that is looked for; asked where
            layout found no table on a page.
    """
    found: list[Grid] = []
    for index, reading in enumerate(readings):
        if reading.tables:
            found += [grid for table in reading.tables if (grid := _of_table(index, reading, table))]
        elif placed(reading):
            found += _aligned(index, reading, is_head)
    return found


def _of_table(index: int, reading: Reading, table: OcrTable) -> Grid | None:
    if not table.row_count or not table.column_count or not all(len(cell.polygon) >= 8 for cell in table.cells):
        return None
    cells = [[_EMPTY] * table.column_count for _ in range(table.row_count)]
    owned = _words_of_cells(reading, table)
    heads = 0
    for cell, words in zip(table.cells, owned, strict=True):
        cells[cell.row_index][cell.column_index] = _cell(reading, words)
        heads = max(heads, cell.row_index + cell.row_span if cell.header and cell.row_index == heads else 0)
    headed = heads > 0
    heads = heads or 1
    titles = [
        [cells[cell.row_index][cell.column_index].text for cell in table.cells if _heads(cell, column, heads)]
        for column in range(table.column_count)
    ]
    return Grid(
        reading=index,
        head=tuple(" ".join(part for part in title if part) for title in titles),
        body=tuple(tuple(row) for row in cells[heads:]),
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


def _aligned(index: int, reading: Reading, is_head: Callable[[Sequence[str]], bool]) -> Iterator[Grid]:
    """Yields tables of which only the heads and the alignment tell: rows below a row of headings."""
    page = rows(reading)
    at = 0
    while at < len(page):
        texts = [_text(reading, line) for line in page[at].lines]
        if len(texts) < 2 or not is_head(texts):
            at += 1
            continue
        columns = [box_of(reading.quads[line]) for line in page[at].lines]
        body: list[tuple[Cell, ...]] = []
        last = page[at]
        for row in page[at + 1 :]:
            height = max(last.bottom - last.top, 1e-6)
            if row.top - last.bottom > _ROW_GAP * height or not _fits(row, reading, columns):
                break
            body.append(_placed(reading, row, columns))
            last = row
        at += 1 + len(body)
        if body:
            yield Grid(reading=index, head=tuple(texts), body=tuple(body))


def _fits(row: Row, reading: Reading, columns: Sequence[Box]) -> bool:
    """Whether no line of a row lies across the middles of two columns."""
    for line in row.lines:
        box = box_of(reading.quads[line])
        if sum(box.left < (column.left + column.right) / 2 < box.right for column in columns) > 1:
            return False
    return True


def _placed(reading: Reading, row: Row, columns: Sequence[Box]) -> tuple[Cell, ...]:
    owned: list[list[Mark]] = [[] for _ in columns]
    for line in row.lines:
        box = box_of(reading.quads[line])
        nearest = min(range(len(columns)), key=lambda at: _apart(columns[at], box))
        owned[nearest] += reading.marks_between(*reading.lines[line])
    return tuple(_cell(reading, words) for words in owned)


def _apart(column: Box, box: Box) -> tuple[float, float]:
    """Gives how far a line is from a column: the gap, then the least of the distances of edges and middles."""
    gap = max(column.left - box.right, box.left - column.right, 0)
    middle = abs((column.left + column.right) - (box.left + box.right)) / 2
    return gap, min(abs(column.left - box.left), abs(column.right - box.right), middle)


def _cell(reading: Reading, words: Sequence[Mark]) -> Cell:
    """Joins words that follow each other in the text."""
    spans: list[tuple[int, int]] = []
    for mark in sorted(words, key=lambda mark: mark.start):
        if spans and not reading.text[spans[-1][1] : mark.start].strip():
            spans[-1] = (spans[-1][0], mark.end)
        else:
            spans.append((mark.start, mark.end))
    return Cell(text=" ".join(" ".join(reading.text[a:b].split()) for a, b in spans), spans=tuple(spans))


def _text(reading: Reading, line: int) -> str:
    start, end = reading.lines[line]
    return reading.text[start:end]


_EMPTY = Cell(text="", spans=())
