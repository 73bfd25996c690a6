"""Finds values that need no label: the one date of a document, and the currency of its amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.days import days
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.labelled import Hit
from triptych.workers.reasoning.monies import beside_figure, currencies
from triptych.workers.reasoning.normalization import kind_of, normal
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.value_names import Wanted
from triptych.workers.reasoning.value_readers import DOUBTED
from triptych.workers.reasoning.vocabulary import words_of


def unlabelled(readings: Sequence[Reading], habits: Mapping[str, Habits], wanted: Wanted) -> list[Hit]:
    """Gives values that no label names, in document order.

    Args:
        readings: Everything that was recognized.
        habits: Of every document, by id.
        wanted: A value, not a list.
    """
    leaf = wanted.leaf
    if not isinstance(leaf, Leaf):
        return []
    if kind_of(leaf).startswith("date") and words_of("date") in wanted.labels:
        return _only_dates(readings, habits, leaf)
    if kind_of(leaf) == "currency":
        return [hit for index, one in enumerate(readings) if (hit := _money(index, one, habits[one.document_id]))]
    return []


def _only_dates(readings: Sequence[Reading], habits: Mapping[str, Habits], leaf: Leaf) -> list[Hit]:
    """Gives the date of each document that has just one: where just a date is asked for, it is likely that."""
    by_document: dict[str, list[Hit]] = {}
    for index, reading in enumerate(readings):
        for day in days(reading.text):
            found = normal(reading.text[day.start : day.end], leaf, habits[reading.document_id])
            if found is not None:
                by_document.setdefault(reading.document_id, []).append(
                    Hit(
                        reading=index,
                        start=day.start,
                        end=day.end,
                        value=found.value,
                        certainty=found.certainty,
                        exact=True,
                        sure=False,
                    )
                )
    return [hits[0] for hits in by_document.values() if len({str(hit.value) for hit in hits}) == 1]


def _money(index: int, reading: Reading, habits: Habits) -> Hit | None:
    """Gives the first currency of a page, beside an amount: where all amounts have the same, it needs no label."""
    for start, end, code, sure in currencies(reading.text, habits.country):
        if beside_figure(reading.text, start, end):
            own = habits.currency == code
            return Hit(
                reading=index,
                start=start,
                end=end,
                value=code,
                certainty=1.0 if sure else DOUBTED,
                exact=own,
                sure=own and sure,
            )
    return None
