"""Makes items of the rows of tables: which column has which property, and which rows are items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.layout_tables import Cell, Table
from triptych.workers.reasoning.normalization import normal
from triptych.workers.reasoning.value_names import ALIKE, LIKE, Wanted, likeness
from triptych.workers.reasoning.value_readers import Normal
from triptych.workers.reasoning.vocabulary import words_of

Path = tuple[str, ...]
# How likely the cell of a column is right whose heading says just what is wanted, or something like it.
SAME_HEADING, LIKE_HEADING = 0.9, 0.7
# A column has values of the wanted kind in most of its cells.
_TYPED_SHARE = 0.6
_SUMMARY = words_of("total tax amount subtotal balance discount shipping carry forward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where a property of the items stands.

    Attributes:
        index: Of the column.
        confidence: How likely its cells are that property, 0 to 1.
    """

    index: int
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A cell with the value of an item's property.

    Attributes:
        reading: Index of the reading.
        cell: As recognized; of a text that goes on in the next row, with that.
        value: Normalized.
        confidence: How likely it is right, recognition aside.
    """

    reading: int
    cell: Cell
    value: Normal
    confidence: float


def are_headings(texts: Sequence[str], wanted: Mapping[Path, Wanted]) -> bool:
    """Whether texts that stand side by side are headings of two of the wanted properties, or of the only one."""
    named = [one for one in wanted.values() if any(likeness(text, one) >= LIKE for text in texts)]
    return len(named) >= min(2, len(wanted))


def items(
    found: Sequence[Sequence[Table]], wanted: Mapping[Path, Wanted], habits: Sequence[Habits]
) -> list[dict[Path, Filled]]:
    """Gives the items of the tables that have most of the wanted properties, in document order.

    Tables with the same properties are one list; one without headings of its own that has as many columns as the table
    before it goes on with that one.

    Args:
        found: Tables of every reading.
        wanted: Values of an item, by path in it.
        habits: Of the document of each reading.
    """
    placed = [(index, table) for index, tables in enumerate(found) for table in tables]
    maps = [_columns(table, wanted, habits[index]) for index, table in placed]
    best = max((_worth(columns) for columns in maps), default=(0, 0.0))
    if best[0] < min(2, len(wanted)):
        return []
    model = max(maps, key=_worth)
    listed: list[dict[Path, Filled]] = []
    last: tuple[int, int, dict[Path, Column]] | None = None
    for (index, table), columns in zip(placed, maps, strict=True):
        if set(columns) == set(model):
            body, used = table.rows, columns
        elif last and table.first and len(table.header) == last[1] and index == last[0] + 1:
            body, used = (table.first, *table.rows), last[2]
        else:
            continue
        listed += _items(index, body, used, wanted, habits[index])
        last = (index, len(table.header), used)
    return listed


def _worth(columns: Mapping[Path, Column]) -> tuple[int, float]:
    return len(columns), sum(column.confidence for column in columns.values())


def _columns(table: Table, wanted: Mapping[Path, Wanted], habits: Habits) -> dict[Path, Column]:
    """Gives each property the column whose heading is likest, no column to two of them."""
    heads = [cell.text for cell in table.header]
    pairs = [
        (likeness(head, one), path, index)
        for path, one in wanted.items()
        for index, head in enumerate(heads)
        if likeness(head, one) >= LIKE and _typed(table, index, one, habits)
    ]
    columns: dict[Path, Column] = {}
    for like, path, index in sorted(pairs, key=lambda pair: -pair[0]):
        if path not in columns and all(column.index != index for column in columns.values()):
            columns[path] = Column(index=index, confidence=SAME_HEADING if like >= ALIKE else LIKE_HEADING)
    return columns


def _typed(table: Table, index: int, one: Wanted, habits: Habits) -> bool:
    assert isinstance(one.leaf, Leaf)
    texts = [row[index].text for row in table.rows if row[index].text]
    read = sum(normal(text, one.leaf, habits) is not None for text in texts)
    return read >= _TYPED_SHARE * len(texts)


def _items(
    reading: int,
    body: Sequence[Sequence[Cell]],
    columns: Mapping[Path, Column],
    wanted: Mapping[Path, Wanted],
    habits: Habits,
) -> list[dict[Path, Filled]]:
    listed: list[dict[Path, Filled]] = []
    fullest = max((_filled(row, columns) for row in body), default=0)
    for row in body:
        if _filled(row, columns) < fullest and _is_summary(row):
            continue
        item = {
            path: one for path, column in columns.items() if (one := _value(reading, row, path, column, wanted, habits))
        }
        if listed and _goes_on(item, listed[-1], wanted):
            _append(item, listed[-1])
        elif item:
            listed.append(item)
    return listed


def _filled(row: Sequence[Cell], columns: Mapping[Path, Column]) -> int:
    return sum(bool(row[column.index].text) for column in columns.values())


def _is_summary(row: Sequence[Cell]) -> bool:
    return any(words_of(cell.text) & _SUMMARY for cell in row)


def _value(
    reading: int, row: Sequence[Cell], path: Path, column: Column, wanted: Mapping[Path, Wanted], habits: Habits
) -> Filled | None:
    cell, leaf = row[column.index], wanted[path].leaf
    assert isinstance(leaf, Leaf)
    value = normal(cell.text, leaf, habits) if cell.spans else None
    if value is None:
        return None
    return Filled(reading=reading, cell=cell, value=value, confidence=column.confidence * value.certainty)


def _goes_on(item: Mapping[Path, Filled], before: Mapping[Path, Filled], wanted: Mapping[Path, Wanted]) -> bool:
    """Whether a row is nothing but the rest of a text that began in the row before."""
    texts = [path for path, one in wanted.items() if isinstance(one.leaf, Leaf) and one.leaf.kind == "string"]
    (path, one), *others = item.items() or [((), None)]
    same = path in texts and path in before and one is not None and one.reading == before[path].reading
    return same and not others and len(before) > 1


def _append(item: Mapping[Path, Filled], before: dict[Path, Filled]) -> None:
    for path, one in item.items():
        text = f"{before[path].cell.text} {one.cell.text}"
        before[path] = Filled(
            reading=one.reading,
            cell=Cell(text=text, spans=(*before[path].cell.spans, *one.cell.spans)),
            value=Normal(value=f"{before[path].value.value} {one.value.value}", start=0, end=len(text)),
            confidence=min(before[path].confidence, one.confidence),
        )
