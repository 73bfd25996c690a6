"""Answers that stand nowhere but follow from rows: how many there are, what they add up to, which has the most."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.cells import column_named
from triptych.workers.reasoning.fields import asked_fields
from triptych.workers.reasoning.layout import rows
from triptych.workers.reasoning.layout_tables import Cell, Table
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.tables import tables
from triptych.workers.reasoning.terms import content_terms
from triptych.workers.reasoning.values import spelled, values

# Words by which a list names its own rows.
_ROW_WORDS = frozenset({"row", "lin", "entri", "entry", "item"})
_DAYS = {"days": 1, "weeks": 7}
_Place = tuple[int, int, int]
_TOTAL = ("total", "sum", "totaal", "gesamt", "balance forward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A value that was worked out.

    Attributes:
        value: It.
        rests_on: Reading, start and end in its text of everything that it was worked out from.
        by: "table" or "label".
    """

    value: str
    rests_on: tuple[_Place, ...]
    by: str = "table"


def computed(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> Computed | None:
    """Works out the answer where the question asks for that and the rows leave no doubt; None otherwise."""
    indices = sorted({passage.reading for passage in shown})
    if asking.between[0]:
        return _between(readings, shown, asking)
    if asking.extreme[1]:
        return next(_extremes(readings, indices, asking), None)
    if asking.summed[0]:
        return next(_sums(readings, indices, asking), None)
    if asking.counted:
        return next(_counts(readings, indices, asking), None)
    return None


def _counts(readings: Sequence[Reading], indices: Sequence[int], asking: Asking) -> Iterator[Computed]:
    wanted = frozenset(term.stem for term in content_terms(asking.counted))
    if not wanted:
        return
    for index in indices:
        if wanted <= _ROW_WORDS:
            rest = Asking(" ".join(asking.question.split()[1:]))
            found = [table for table in tables(readings[index]) if _named_table(table, rest)]
            if len(found) == 1:
                counted = [row for row in found[0].rows if not _is_total(row)]
                spans = [span for row in counted for span in _first(row).spans[:1]]
                yield Computed(value=str(len(counted)), rests_on=tuple((index, *span) for span in spans))
        elif lines := _lines_with(readings[index], wanted):
            spans = [readings[index].lines[line] for line in lines]
            yield Computed(value=str(len(lines)), rests_on=tuple((index, *span) for span in spans))


def _sums(readings: Sequence[Reading], indices: Sequence[int], asking: Asking) -> Iterator[Computed]:
    what, count = asking.summed
    wanted = frozenset(term.stem for term in content_terms(what)) - {"all"}
    if not wanted:
        return
    for index in indices:
        for table in tables(readings[index]):
            column, rows_of = column_named(table, Asking(what)), table.rows
            matching = tuple(row for row in table.rows if wanted <= _stems(" ".join(cell.text for cell in row[:2])))
            if len(matching) >= 2:
                column, rows_of = _same_column(matching), matching
            if column is None or (count and len(rows_of) != count):
                continue
            cells = [row[column] for row in rows_of if row[column].text and not _is_total(row)]
            numbers = [_number(cell) for cell in cells]
            if len(numbers) >= 2 and all(number is not None for number in numbers):
                total = sum((number for number in numbers if number is not None), Decimal(0))
                yield Computed(value=spelled(total, cells[0].text), rests_on=_places(index, cells))


def _extremes(readings: Sequence[Reading], indices: Sequence[int], asking: Asking) -> Iterator[Computed]:
    what, of, smallest = asking.extreme
    for index in indices:
        for table in tables(readings[index]):
            column = column_named(table, Asking(of))
            name = column_named(table, Asking(what)) if what else None
            name = 0 if name is None or name == column else name
            if column is None or name == column:
                continue
            numbered = [(_number(row[column]), row) for row in table.rows if row[name].text and not _is_total(row)]
            known = [(number, row) for number, row in numbered if number is not None]
            if len(known) < 2 or len(known) < len(numbered):
                continue
            best = (min if smallest else max)(number for number, _ in known)
            winners = [row for number, row in known if number == best]
            if len(winners) == 1:
                yield Computed(
                    value=winners[0][name].text, rests_on=_places(index, [winners[0][name], winners[0][column]])
                )


def _between(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> Computed | None:
    first, second, unit = asking.between
    found: list[tuple[datetime.date, _Place]] = []
    for what in (first, second):
        day = _day(readings, shown, Asking(f"What is {what}?"))
        # One date for both is none of them.
        if day is None or any(day[1] == other for _, other in found):
            return None
        found.append(day)
    days = abs((found[1][0] - found[0][0]).days)
    places = tuple(place for _, place in found)
    if unit in _DAYS and days % _DAYS[unit] == 0:
        return Computed(value=str(days // _DAYS[unit]), rests_on=places, by="label")
    if unit == "years":
        return Computed(value=str(abs(found[1][0].year - found[0][0].year)), rests_on=places, by="label")
    return None


def _day(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> tuple[datetime.date, _Place] | None:
    """Gives the day beside, or in the column under, a label; None: none, several, or day and month may be swapped."""
    fields = asked_fields(readings, shown, asking)
    best = [field for field in fields if (field.share, field.label_share) == (fields[0].share, fields[0].label_share)]
    if len({field.value for field in best}) == 1:
        field = best[0]
        if (day := _date(field.value)) is not None:
            return day, (field.reading, field.start, field.end)
    for index in sorted({passage.reading for passage in shown}):
        for table in tables(readings[index]):
            column = column_named(table, asking)
            if column is not None and len(table.rows) == 1 and (day := _date(table.rows[0][column].text)) is not None:
                return day, (index, *table.rows[0][column].spans[0])
    return None


def _date(text: str) -> datetime.date | None:
    return next((value.date for value in values(text) if value.date is not None), None)


def _lines_with(reading: Reading, wanted: frozenset[str]) -> list[int]:
    """Gives the lines, one a row, that consist of some words; none unless there are two."""
    lines = [
        line
        for row in rows(reading)
        for line in row.lines
        if wanted <= (stems := _stems(_text(reading, line))) and len(stems) <= len(wanted) + 1
    ]
    return lines if len(lines) >= 2 else []


def _named_table(table: Table, asking: Asking) -> bool:
    return any(asking.named_by(cell.text) for cell in table.header)


def _same_column(found: Sequence[Sequence[Cell]]) -> int | None:
    """Gives the leftmost column in which every row has an amount; a running balance stands to the right of it."""
    for column in range(1, len(found[0])):
        texts = [row[column].text for row in found]
        if all("." in text or "," in text for text in texts) and all(_number(row[column]) is not None for row in found):
            return column
    return None


def _number(cell: Cell) -> Decimal | None:
    """Gives the number with which a cell begins; None if it has none, or says more than a unit with it."""
    found = [value for value in values(cell.text) if value.number is not None]
    return found[0].number if found and len(found) <= 2 and found[0].start <= 2 else None


def _is_total(row: Sequence[Cell]) -> bool:
    text = " ".join(cell.text for cell in row).casefold()
    return any(word in text for word in _TOTAL)


def _first(row: Sequence[Cell]) -> Cell:
    return next((cell for cell in row if cell.spans), row[0])


def _places(index: int, cells: Sequence[Cell]) -> tuple[_Place, ...]:
    return tuple((index, *span) for cell in cells for span in cell.spans)


def _stems(text: str) -> frozenset[str]:
    return frozenset(term.stem for term in content_terms(text))


def _text(reading: Reading, line: int) -> str:
    start, end = reading.lines[line]
    return reading.text[start:end]
