"""Finds what a passage from the middle of a page is read under: the page's title, and the first row of its table."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.workers.reasoning.layout import CELL_GAP, Row

# A title is among the first rows, set larger than the rest, and no sentence.
TITLE_ROWS, TITLE_SIZE, TITLE_CHARS = 3, 1.25, 80
# Rows of cells belong to one table if no more than so many row heights lie between them, and three make one.
TABLE_GAP, TABLE_ROWS = 2.0, 3


def headings(page: Sequence[Row]) -> list[tuple[int, ...]]:
    """Gives for every row of a page the indices of the earlier rows that it is read under."""
    title = _title(page)
    found: list[tuple[int, ...]] = []
    for index, header in enumerate(_headers(page)):
        found.append(tuple(sorted({above for above in (title, header) if above is not None and above < index})))
    return found


def _title(page: Sequence[Row]) -> int | None:
    heights = sorted(row.bottom - row.top for row in page)
    usual = heights[len(heights) // 2] if heights else 0.0
    for index, row in enumerate(page[:TITLE_ROWS]):
        if usual and row.bottom - row.top >= TITLE_SIZE * usual and len(row.text) <= TITLE_CHARS:
            return index
    return None


def _headers(page: Sequence[Row]) -> list[int | None]:
    """Gives for every row the first row of its table, if that names columns."""
    headers: list[int | None] = [None] * len(page)
    start = 0
    while start < len(page):
        end = start + 1
        while end < len(page) and _continues(page[end - 1], page[end]):
            end += 1
        if end - start >= TABLE_ROWS and _names_columns(page[start:end]):
            headers[start + 1 : end] = [start] * (end - start - 1)
        start = end
    return headers


def _continues(row: Row, below: Row) -> bool:
    cells = len(row.lines) >= 2 and len(below.lines) >= 2
    return cells and 0 <= below.top - row.top <= (1 + TABLE_GAP) * (row.bottom - row.top)


def _names_columns(table: Sequence[Row]) -> bool:
    """Whether the first row has fewer numbers than those below it."""
    first, *others = [_numbers(row) for row in table]
    return first < 0.5 and sum(others) / len(others) > first


def _numbers(row: Row) -> float:
    cells = row.text.split(CELL_GAP)
    return sum(any(char.isdigit() for char in cell) for cell in cells) / len(cells)
