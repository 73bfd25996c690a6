"""Finds the tables of a page: those that layout found, else rows of cells that stand under a row of headings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from triptych.workers.reasoning.layout import Box, Row, box_of, placed, rows
from triptych.workers.reasoning.layout_tables import EMPTY, Cell, Table, cell_of, of_layout
from triptych.workers.reasoning.readings import Reading

AreHeadings = Callable[[Sequence[str]], bool]
"""Whether texts that stand side by side may be the headings of a table that is looked for."""

# Rows of one table stand at most so many line heights apart.
MAX_GAP = 6.0
_VALUE = re.compile(r"[$€£¥]|\d[.,]\d\d\b")
# A cell goes on below if its next line stands within so many line heights of the last.
SAME_CELL_GAP = 0.9
# Two columns of which nothing is known are labels with their values: `fields` knows these better.
MIN_COLUMNS = 3
# A heading is short.
_HEADING_CHARS = 32
# A row with one cell alone stands nearer; so many of them that do not touch what is above are no longer of the table.
LONE_GAP = 3.0
_MAX_LONE_ROWS = 2
# A line spans a column if it covers so much of its heading.
_SPANNED = 0.6
# Lines of one heading stand at most so many line heights apart.
_TIGHT = 0.6
_Lines = list[int]


def may_head(texts: Sequence[str]) -> bool:
    """Whether texts may be the headings of any table: three of them or more, of words."""
    return len(texts) >= MIN_COLUMNS and _wordy(texts)


def tables(reading: Reading, are_headings: AreHeadings = may_head) -> list[Table]:
    """Gives the tables of a page in reading order.

    Args:
        reading: Of a page; others have none.
        are_headings: Asked where layout found no table on the page. Under headings there is at least one row of two
            cells.
    """
    if reading.tables or not placed(reading):
        return of_layout(reading)
    page = rows(reading)
    found: list[Table] = []
    at = 0
    while at < len(page):
        table, end = _table_at(reading, page, at, are_headings)
        if table is None:
            at += 1
        else:
            found.append(table)
            at = end
    return found


def _table_at(reading: Reading, page: Sequence[Row], at: int, are_headings: AreHeadings) -> tuple[Table | None, int]:
    """Gives the table whose headings are a row of the page, and the index of the first row behind it."""
    header = page[at]
    if len(header.lines) < 2 or not are_headings([_text(reading, line) for line in header.lines]):
        return None, at
    columns = [box_of(reading.quads[line]) for line in header.lines]
    headings: list[_Lines] = [[line] for line in header.lines]
    begin = at + 1
    while begin < len(page) - 1 and _goes_on(reading, page, begin, columns):
        for line in page[begin].lines:
            headings[_column(reading, line, columns)].append(line)
        begin += 1
    body, end = _body(reading, page, begin, columns, header.bottom - header.top)
    if not body:
        return None, at
    return Table(header=_cells(reading, headings), rows=tuple(_cells(reading, row) for row in body)), end


def _body(
    reading: Reading, page: Sequence[Row], begin: int, columns: Sequence[Box], height: float
) -> tuple[list[list[_Lines]], int]:
    """Gives the rows under headings as lines by column, and the index of the first row of the page behind them."""
    body: list[list[_Lines]] = []
    # So many rows of it are of the table for sure, and end before that row of the page.
    sure, end = 0, begin
    last, lone = page[begin - 1], 0
    for place in range(begin, len(page)):
        row = page[place]
        least = max(1e-6, min(row.bottom - row.top, height))
        cells = _by_column(reading, row, columns)
        gap = (row.top - last.bottom) / least
        if gap > MAX_GAP or cells is None or _begins(reading, page, place):
            break
        alone = sum(map(bool, cells)) == 1
        lone = lone + (gap > SAME_CELL_GAP) if alone else 0
        if lone > _MAX_LONE_ROWS or (lone and gap > LONE_GAP):
            break
        if body and not cells[0] and _touch(reading, body[-1], cells, SAME_CELL_GAP * least):
            body[-1] = [above + lines for above, lines in zip(body[-1], cells, strict=True)]
        elif body or not alone:
            # One cell alone before all others is a title of what follows.
            body.append(cells)
        last = row
        if not (alone and lone):
            sure, end = len(body), place + 1
    return body[:sure], end


def _goes_on(reading: Reading, page: Sequence[Row], at: int, columns: Sequence[Box]) -> bool:
    """Whether a row goes on with the headings above it: words right under some, nearer than what follows below."""
    row, above = page[at], page[at - 1]
    texts = [_text(reading, line) for line in row.lines]
    if len(texts) >= len(columns) or not _wordy(texts) or re.search(r"\d", row.text):
        return False
    gap, height = row.top - above.bottom, row.bottom - row.top
    below = next((other for other in page[at + 1 :] if re.search(r"\d", other.text)), None)
    under = all(any(_fit(box_of(reading.quads[line]), column) > 1 for column in columns) for line in row.lines)
    return under and gap < _TIGHT * height and below is not None and below.top - row.bottom > gap


def _begins(reading: Reading, page: Sequence[Row], at: int) -> bool:
    """Whether a row has the headings of another table: values follow it, and it has none."""
    if not may_head([_text(reading, line) for line in page[at].lines]):
        return False
    following = " ".join(row.text for row in page[at + 1 : at + 3])
    return re.search(r"\d", following) is not None and re.search(r"\d", page[at].text) is None


def _wordy(texts: Sequence[str]) -> bool:
    """Whether texts may be headings: words, hardly any digits, no labels with colons."""
    wordy = all(re.search(r"[^\W\d_]", text) and len(text) <= _HEADING_CHARS for text in texts)
    digits = sum(bool(re.search(r"\d", text)) for text in texts)
    return wordy and digits <= len(texts) / 4 and not any(text.endswith(":") for text in texts)


def _cells(reading: Reading, row: Sequence[_Lines]) -> tuple[Cell, ...]:
    return tuple(cell_of(reading, [reading.lines[line] for line in lines]) if lines else EMPTY for lines in row)


def _by_column(reading: Reading, row: Row, columns: Sequence[Box]) -> list[_Lines] | None:
    """Gives the lines of a row by column; None if one spans the table."""
    if len(row.lines) == len(columns):
        return [[line] for line in row.lines]
    cells: list[_Lines] = [[] for _ in columns]
    for line in row.lines:
        if sum(_overlap(box_of(reading.quads[line]), column) > _SPANNED for column in columns) > 2:
            return None
        cells[_column(reading, line, columns)].append(line)
    return cells


def _column(reading: Reading, line: int, columns: Sequence[Box]) -> int:
    box = box_of(reading.quads[line])
    return max(range(len(columns)), key=lambda index: _fit(box, columns[index]))


def _fit(box: Box, column: Box) -> float:
    """Says how well a cell stands under a heading: by what they share, else by how near their nearest edges are."""
    shared = min(box.right, column.right) - max(box.left, column.left)
    if shared > 0:
        return 1 + shared / max(1e-6, min(box.right - box.left, column.right - column.left))
    return shared


def _overlap(box: Box, column: Box) -> float:
    shared = min(box.right, column.right) - max(box.left, column.left)
    return shared / max(1e-6, column.right - column.left)


def _touch(reading: Reading, above: Sequence[_Lines], cells: Sequence[_Lines], gap: float) -> bool:
    """Whether every line goes on in a cell right above it; a value is a cell of its own."""
    if any(_VALUE.search(_text(reading, line)) for lines in cells for line in lines):
        return False
    for over, lines in zip(above, cells, strict=True):
        if not lines:
            continue
        if not over or box_of(reading.quads[lines[0]]).top - box_of(reading.quads[over[-1]]).bottom > gap:
            return False
    return True


def _text(reading: Reading, line: int) -> str:
    start, end = reading.lines[line]
    return reading.text[start:end].strip()
