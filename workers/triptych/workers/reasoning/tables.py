"""Finds tables on a page by where its lines stand: a row of headings, and rows of cells under them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.workers.reasoning.layout import Box, Row, box_of, rows
from triptych.workers.reasoning.readings import Reading

# Rows of one table stand at most so many line heights apart.
MAX_GAP = 6.0
_VALUE = re.compile(r"[$€£¥]|\d[.,]\d\d\b")
# A cell goes on below if its next line stands within so many line heights of the last.
SAME_CELL_GAP = 0.9
# Two columns are labels with their values: `fields` knows these better.
MIN_COLUMNS = 3
# A heading is short.
_HEADING_CHARS = 32
# So many rows with one cell alone are no longer of the table.
_MAX_LONE_ROWS = 2
# A line spans a column if it covers so much of its heading.
_SPANNED = 0.6
# Lines of one heading stand at most so many line heights apart.
_TIGHT = 0.6


@dataclass(slots=True, kw_only=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        lines: Indices of the reading's lines, from top to bottom.
        text: Their texts with a blank between.
    """

    lines: list[int] = field(default_factory=list)
    text: str = ""

    def take(self, line: int, text: str) -> None:
        """Adds a line."""
        self.lines.append(line)
        self.text = f"{self.text} {text}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Headings and what stands under them.

    Attributes:
        header: One cell a column, from left to right.
        rows: A list of cells each, one a column; cells may be empty.
    """

    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


def tables(reading: Reading) -> list[Table]:
    """Gives the tables of a page that have at least one row of two cells under their headings."""
    if not reading.quads or not all(len(quad) >= 8 for quad in reading.quads):
        return []
    page = rows(reading)
    found: list[Table] = []
    at = 0
    while at < len(page):
        table, end = _table_at(reading, page, at)
        if table is None:
            at += 1
        else:
            found.append(table)
            at = end
    return found


def _table_at(reading: Reading, page: Sequence[Row], at: int) -> tuple[Table | None, int]:
    """Gives the table whose headings are a row of the page, and the index of the first row behind it."""
    header = page[at]
    if len(header.lines) < MIN_COLUMNS or not _are_headings([_text(reading, line) for line in header.lines]):
        return None, at
    columns = [box_of(reading.quads[line]) for line in header.lines]
    names = [Cell(lines=[line], text=_text(reading, line)) for line in header.lines]
    body: list[list[Cell]] = []
    begin = at + 1
    while begin < len(page) - 1 and _goes_on(reading, page, begin, columns):
        for line in page[begin].lines:
            column = max(range(len(columns)), key=lambda index: _fit(box_of(reading.quads[line]), columns[index]))
            names[column].take(line, _text(reading, line))
        begin += 1
    last, end, lone = page[begin - 1], begin, 0
    for place in range(begin, len(page)):
        row = page[place]
        height = max(1e-6, min(row.bottom - row.top, header.bottom - header.top))
        cells = _cells(reading, row, columns)
        if row.top - last.bottom > MAX_GAP * height or cells is None or _begins(reading, page, place):
            break
        lone = lone + 1 if len(cells) == 1 else 0
        if lone > _MAX_LONE_ROWS:
            break
        if body and 0 not in cells and _touch(reading, body[-1], cells, SAME_CELL_GAP * height):
            fresh = body[-1]
        elif len(cells) > 1 or body:
            fresh = [Cell() for _ in columns]
            body.append(fresh)
        else:
            # A title of what follows.
            fresh = [Cell() for _ in columns]
        for column, lines in cells.items():
            for line in lines:
                fresh[column].take(line, _text(reading, line))
        last, end = row, place + 1
    while body and sum(bool(cell.lines) for cell in body[-1]) < 2:
        body.pop()
    if not body:
        return None, at
    return Table(header=names, rows=body), end


def _goes_on(reading: Reading, page: Sequence[Row], at: int, columns: Sequence[Box]) -> bool:
    """Whether a row goes on with the headings above it: words right under some, nearer than what follows below."""
    row, above = page[at], page[at - 1]
    texts = [_text(reading, line) for line in row.lines]
    if len(texts) >= len(columns) or not _are_headings(texts) or re.search(r"\d", row.text):
        return False
    gap, height = row.top - above.bottom, row.bottom - row.top
    below = next((other for other in page[at + 1 :] if re.search(r"\d", other.text)), None)
    under = all(any(_fit(box_of(reading.quads[line]), column) > 1 for column in columns) for line in row.lines)
    return under and gap < _TIGHT * height and below is not None and below.top - row.bottom > gap


def _begins(reading: Reading, page: Sequence[Row], at: int) -> bool:
    """Whether a row has the headings of another table: values follow it, and it has none."""
    if len(page[at].lines) < MIN_COLUMNS or not _are_headings([_text(reading, line) for line in page[at].lines]):
        return False
    following = " ".join(row.text for row in page[at + 1 : at + 3])
    return re.search(r"\d", following) is not None and re.search(r"\d", page[at].text) is None


def _are_headings(texts: Sequence[str]) -> bool:
    """Whether texts may be headings: words, hardly any digits, no labels with colons."""
    wordy = all(re.search(r"[^\W\d_]", text) and len(text) <= _HEADING_CHARS for text in texts)
    digits = sum(bool(re.search(r"\d", text)) for text in texts)
    return wordy and digits <= len(texts) / 4 and not any(text.endswith(":") for text in texts)


def _cells(reading: Reading, row: Row, columns: Sequence[Box]) -> dict[int, list[int]] | None:
    """Gives the lines of a row by column; None if one spans the table."""
    cells: dict[int, list[int]] = {}
    if len(row.lines) == len(columns):
        return {column: [line] for column, line in enumerate(row.lines)}
    for line in row.lines:
        box = box_of(reading.quads[line])
        if sum(_overlap(box, column) > _SPANNED for column in columns) > 2:
            return None
        column = max(range(len(columns)), key=lambda index: _fit(box, columns[index]))
        cells.setdefault(column, []).append(line)
    return cells


def _fit(box: Box, column: Box) -> float:
    """Says how well a cell stands under a heading: by what they share, else by how near their nearest edges are."""
    shared = min(box.right, column.right) - max(box.left, column.left)
    if shared > 0:
        return 1 + shared / max(1e-6, min(box.right - box.left, column.right - column.left))
    return shared


def _overlap(box: Box, column: Box) -> float:
    shared = min(box.right, column.right) - max(box.left, column.left)
    return shared / max(1e-6, column.right - column.left)


def _touch(reading: Reading, above: Sequence[Cell], cells: dict[int, list[int]], gap: float) -> bool:
    """Whether every line goes on in a cell right above it; a value is a cell of its own."""
    if any(_VALUE.search(_text(reading, line)) for lines in cells.values() for line in lines):
        return False
    for column, lines in cells.items():
        if not above[column].lines:
            return False
        if box_of(reading.quads[lines[0]]).top - box_of(reading.quads[above[column].lines[-1]]).bottom > gap:
            return False
    return True


def _text(reading: Reading, line: int) -> str:
    start, end = reading.lines[line]
    return reading.text[start:end].strip()
