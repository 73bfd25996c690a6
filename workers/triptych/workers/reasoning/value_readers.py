"""Reads values of one kind out of words of a document, each with where it stands and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import phonenumbers

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.days import days, times
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.monies import CODES, currencies
from triptych.workers.reasoning.shapes import EMAIL
from triptych.workers.reasoning.value_names import readable
from triptych.workers.reasoning.values import values
from triptych.workers.reasoning.vocabulary import words_of

# What a value is worth that could be read in another way too, beside one that could not.
DOUBTED = 0.6
# A typed value makes up most of what stands at its place; a sentence with a number in it is no number.
FILLS = 0.6
AMOUNTS = words_of("amount total price subtotal")
_SHARES = words_of("rate percent percentage share")
_URI = re.compile(r"(?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:)]|(?<![@\w])[a-z0-9-]+(?:\.[a-z0-9-]+)+/?(?![\w@])")
_BEFORE = re.compile(r"^[\s:;,|]*(?:[#№]\s+)?")
_SCALE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "millionen": 10**6, "mio": 10**6, "mrd": 10**9}
_SCALED = re.compile(rf"\s*(?P<scale>{'|'.join(_SCALE)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """A value in words of a document.

    Attributes:
        value: As JSON has it.
        start: Where its words start in the text, in code points.
        end: End, exclusive.
        certainty: 1, or less if the words can be read in another way too.
    """

    value: Any
    start: int
    end: int
    certainty: float = 1.0


def named(leaf: Leaf) -> frozenset[str]:
    """Gives the words of what a value is called."""
    return words_of(readable(leaf)) | words_of(leaf.name)


def string_in(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    """Yields the whole text, without what surrounds it; "# 17" is 17."""
    start = len(text) - len(_BEFORE.sub("", text))
    value = " ".join(text[start:].split()).rstrip(" :;,|")
    if re.search(r"\w", value):
        yield Normal(value=value, start=start, end=len(text.rstrip(" \n\t:;,|")))


def number_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields numbers, by the decimal sign of the document."""
    name = named(leaf)
    # "VAT 21 %" is no amount.
    is_amount = bool(name & (AMOUNTS | words_of("tax"))) and not name & _SHARES
    for found in values(text):
        if found.number is None or (is_amount and found.unit == "%"):
            continue
        number, certainty = found.number, 1.0
        if found.doubtful:
            separator = "," if "," in found.doubtful else "."
            if habits.decimal == separator:
                number = (abs(number) / 1000).copy_sign(number)
            certainty = 1.0 if habits.decimal else DOUBTED
        start, end = found.start, found.end
        # Bookkeepers write what is owed to somebody in brackets or with the minus behind it.
        bracketed = text[:start].rstrip().endswith("(") and text[end:].lstrip().startswith(")")
        if number > 0 and (bracketed or re.match(r"[-−](?!\s?[\w])", text[end:])):
            number = -number
        if scaled := _SCALED.match(text, end):
            number, end = number * _SCALE[scaled["scale"].lower()], scaled.end()
        yield Normal(value=_plain(number), start=start, end=end, certainty=certainty)


def integer_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields whole numbers."""
    return (found for found in number_in(text, leaf, habits) if isinstance(found.value, int))


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def date_in(text: str, _leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields dates as ISO 8601, by the order of the document."""
    for day in days(text):
        date, certainty = day.date, 1.0
        if day.swapped:
            date = day.date if habits.day_first else day.swapped
            certainty = 1.0 if habits.day_known else DOUBTED
        yield Normal(value=date.isoformat(), start=day.start, end=day.end, certainty=certainty)


def time_in(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    """Yields times of day, with their zone if it is said."""
    return (Normal(value=time, start=start, end=end) for start, end, time in times(text))


def moment_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields the date and the time of day."""
    for date in date_in(text, leaf, habits):
        # A date may look like a time of day, and the other way round.
        rest = text[: date.start] + " " * (date.end - date.start) + text[date.end :]
        for time in time_in(rest, leaf, habits):
            yield Normal(
                value=f"{date.value}T{time.value}",
                start=min(date.start, time.start),
                end=max(date.end, time.end),
                certainty=date.certainty,
            )


def email_in(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    """Yields mail addresses."""
    return (Normal(value=match[0], start=match.start(), end=match.end()) for match in EMAIL.finditer(text))


def uri_in(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    """Yields addresses of pages, with a scheme."""
    for match in _URI.finditer(text):
        scheme = "" if match[0].startswith("http") else "https://"
        yield Normal(value=scheme + match[0], start=match.start(), end=match.end())


def currency_in(text: str, _leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields currencies as codes of ISO 4217."""
    bare = text.strip().upper()
    if bare in CODES:
        yield Normal(value=bare, start=text.index(text.strip()), end=len(text.rstrip()))
        return
    for start, end, code, sure in currencies(text, habits.country):
        yield Normal(value=code, start=start, end=end, certainty=1.0 if sure else DOUBTED)


def phone_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields telephone numbers as E.164 where the country is known, else as written."""
    found = list(phonenumbers.PhoneNumberMatcher(text, habits.country or None))
    for match in found:
        number = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        yield Normal(value=number, start=match.start, end=match.end)
    # Without a country nobody knows which number it is: it stays as written.
    if not found and sum(char.isdigit() for char in text) >= 5:
        yield from string_in(text, leaf, habits)


def date_words_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields dates as the document writes them."""
    return (replace(one, value=_words(text, one), certainty=1.0) for one in date_in(text, leaf, habits))


def amount_words_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields amounts as the document writes them."""
    for one in number_in(text, leaf, habits):
        # A figure between words is part of an address or a name.
        if len(re.sub(r"\W", "", _words(text, one))) >= FILLS * len(re.sub(r"\W", "", text)):
            yield replace(one, value=_words(text, one), certainty=1.0)


def _words(text: str, one: Normal) -> str:
    return " ".join(text[one.start : one.end].split())
