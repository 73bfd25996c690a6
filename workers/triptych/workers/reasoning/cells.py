"""Finds the cell of a table that a question names: by the words of its row and by the heading of its column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.layout_tables import Cell, Table
from triptych.workers.reasoning.shapes import Shape, fits

# Row and heading together must say so much of the question.
COVERED = 0.6
# And so much of the heading must be the question's: "own brands market share" does not say how many own brands.
HEADING_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCell:
    """A cell with what names it.

    Attributes:
        cell: It.
        row: Text of the cell that names its row; empty where the table has one row only.
        heading: Of its column.
        share: Share of the question's words that both have, 0 to 1.
    """

    cell: Cell
    row: str
    heading: str
    share: float


def asked_cells(found: Sequence[Table], asking: Asking) -> list[NamedCell]:
    """Gives the cells that a question names without doubt, at most one a table, the best first."""
    cells = [cell for table in found for cell in _cell(table, asking)]
    return sorted(cells, key=lambda cell: -cell.share)


def column_named(table: Table, asking: Asking, *, but: frozenset[str] = frozenset()) -> int | None:
    """Gives the one column whose heading has most of the question's words, but some; None: none or several."""
    scores = [(len(asking.named_by(cell.text) - but), index) for index, cell in enumerate(table.header)]
    best = max(scores)[0]
    winners = [index for score, index in scores if score == best]
    if not best or not winners:
        return None
    if len(winners) > 1:
        # The heading that says the least besides.
        winners.sort(key=lambda index: len(table.header[index].text.split()))
        if len(table.header[winners[0]].text.split()) == len(table.header[winners[1]].text.split()):
            return None
    return winners[0]


def _cell(table: Table, asking: Asking) -> Iterator[NamedCell]:
    if not asking.words:
        return
    named_rows = []
    for row in table.rows:
        for cell in row[:2]:
            if words := _row_words(cell, asking):
                named_rows.append((len(words), words, row, cell))
                break
    best = max((score for score, *_ in named_rows), default=0)
    rows = [one for one in named_rows if one[0] == best]
    if len(rows) != 1:
        return
    _, words, row, name = rows[0]
    column = column_named(table, asking, but=words) if len(words) < len(asking.words) else None
    if column is None or row[column] is name:
        column = _only(row, asking.shape, name) if asking.shape not in (None, Shape.NUMBER) else None
        if column is None:
            return
        share = len(words) / len(asking.words)
    else:
        if asking.label_share(table.header[column].text) < HEADING_SHARE:
            return
        share = len(words | asking.named_by(table.header[column].text)) / len(asking.words)
    cell = row[column]
    if share >= COVERED and cell.text and fits(cell.text, asking.shape):
        yield NamedCell(cell=cell, row=name.text, heading=table.header[column].text, share=share)


def _row_words(cell: Cell, asking: Asking) -> frozenset[str]:
    """Gives which words of the question a cell has; numbers count here."""
    numbers = {word for word in asking.words if word[0].isdigit()}
    return asking.named_by(cell.text) | (numbers & set(cell.text.split()))


def _only(row: Sequence[Cell], shape: Shape | None, name: Cell) -> int | None:
    """Gives the one column in which a row has a value of a form."""
    fitting = [index for index, cell in enumerate(row) if cell is not name and cell.text and fits(cell.text, shape)]
    return fitting[0] if len(fitting) == 1 else None
