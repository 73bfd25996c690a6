"""Compares tables by their cells, and by which cells are neighbours (after Göbel et al., ICDAR 2013).

A cell's neighbours are the next cell to the right and the next below that are not empty. A spanning cell stands once,
at its top left.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accuracy_run.page_words import normalised

from triptych.v1.ocr_pb2 import OcrTable

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike the tables of a document are.

    Attributes:
        adjacency_f1: F1 of the pairs of neighbours.
        cell_recall: Share of the true cells that was found.
    """

    adjacency_f1: float
    cell_recall: float


def likeness(true: Iterable[Rows], found: Iterable[Rows]) -> Likeness:
    """Compares all tables of a document with all that were found."""
    true, found = ([_clean(table) for table in tables] for tables in (true, found))
    pairs = [Counter(pair for table in tables for pair in _neighbours(table)) for tables in (true, found)]
    cells = [Counter(cell for table in tables for row in table for cell in row if cell) for tables in (true, found)]
    return Likeness(
        adjacency_f1=2 * (pairs[0] & pairs[1]).total() / max(1, pairs[0].total() + pairs[1].total()),
        cell_recall=(cells[0] & cells[1]).total() / max(1, cells[0].total()),
    )


def rows(table: OcrTable) -> list[list[str]]:
    """Writes a table as rows of texts."""
    grid = [[""] * table.column_count for _ in range(table.row_count)]
    for cell in table.cells:
        grid[cell.row_index][cell.column_index] = cell.text
    return grid


def _clean(table: Rows) -> list[list[str]]:
    return [[normalised(str(cell)) for cell in row] for row in table]


def _neighbours(table: Rows) -> Iterator[tuple[str, str, str]]:
    for row_index, row in enumerate(table):
        for column, cell in enumerate(row):
            if not cell:
                continue
            if right := next((other for other in row[column + 1 :] if other), ""):
                yield "right", cell, right
            under = (other[column] for other in table[row_index + 1 :] if column < len(other))
            if below := next((other for other in under if other), ""):
                yield "below", cell, below
