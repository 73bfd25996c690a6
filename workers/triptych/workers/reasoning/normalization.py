"""Turns words of a document into the value that a schema asks for: a number, an ISO date, a code, a choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning import choices, value_readers
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.value_readers import AMOUNTS, Normal, named
from triptych.workers.reasoning.vocabulary import words_of

# What is longer is running text, in which nothing says what belongs to what.
MAX_CHARS = 2000
_COUNTED = words_of("words letters number quantity currency")


def kind_of(leaf: Leaf) -> str:
    """Gives what kind of value it is: the schema's, or of a string what it is called.

    "currency" and "phone" are normalized; "date in words" and "amount in words" stay as the document writes them, but a
    string that is called so and has no date or amount is another one.
    """
    if leaf.kind != "string":
        return leaf.kind
    name = named(leaf)
    if name & words_of("date"):
        return "date in words"
    if name & AMOUNTS and not name & _COUNTED:
        return "amount in words"
    return next((kind for kind in ("currency", "phone") if name & words_of(kind)), "string")


def normal(text: str, leaf: Leaf, habits: Habits) -> Normal | None:
    """Gives the value in a text; None if there is none of this kind, or there are several.

    Args:
        text: Words of a document: a cell, what stands beside a label, a model's answer.
        leaf: What is wanted.
        habits: Of the document; they say what "01/02/2024" and "1,234" are.
    """
    if kind_of(leaf) != "string" and len(text) > MAX_CHARS:
        return None
    found = list(_distinct(_READERS[kind_of(leaf)](text, leaf, habits)))
    return found[0] if len(found) == 1 else None


def spelled_out(text: str, leaf: Leaf) -> Normal | None:
    """Gives the words for a date that is no day: "May 2019", "within 30 days"."""
    worded = kind_of(leaf) == "date in words" and any(char.isdigit() for char in text)
    return next(value_readers.string_in(text, leaf, Habits()), None) if worded else None


def _distinct(found: Iterator[Normal]) -> Iterator[Normal]:
    seen: list[Any] = []
    for one in found:
        if one.value not in seen:
            seen.append(one.value)
            yield one


_Reader = Callable[[str, Leaf, Habits], Iterator[Normal]]
_READERS: dict[str, _Reader] = {
    "string": value_readers.string_in,
    "number": value_readers.number_in,
    "integer": value_readers.integer_in,
    "boolean": choices.boolean_in,
    "date": value_readers.date_in,
    "time": value_readers.time_in,
    "date-time": value_readers.moment_in,
    "email": value_readers.email_in,
    "uri": value_readers.uri_in,
    "date in words": value_readers.date_words_in,
    "amount in words": value_readers.amount_words_in,
    "currency": value_readers.currency_in,
    "phone": value_readers.phone_in,
    "choice": choices.choice_in,
}
