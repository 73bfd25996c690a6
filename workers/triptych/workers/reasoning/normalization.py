"""Turns words of a document into the value that a schema asks for: a number, an ISO date, a code, a choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import phonenumbers
from rapidfuzz import fuzz, process

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.days import days, times
from triptych.workers.reasoning.folding import Folded
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.monies import CODES, currencies
from triptych.workers.reasoning.value_names import readable, words_of
from triptych.workers.reasoning.values import values

# What a value is worth that could be read in another way too, beside one that could not.
DOUBTED = 0.6
# A typed value makes up most of what stands at its place; a sentence with a number in it is no number.
FILLS = 0.6
# What is longer is running text, in which nothing says what belongs to what.
MAX_CHARS = 2000
_AMOUNTS = frozenset({"<amount>", "<total>", "<price>", "<subtotal>"})
_COUNTED = words_of("words letters number quantity currency")
_SHARES = words_of("rate percent percentage share")
# A choice may be spelled a little differently; below this it is another word (Levenshtein ratio, 0 to 100).
_CHOICE_RATIO = 85
_EMAIL = re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_URI = re.compile(r"(?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:)]|(?<![@\w])[a-z0-9-]+(?:\.[a-z0-9-]+)+/?(?![\w@])")
_YES = frozenset(["yes", "y", "true", "ja", "oui", "si", "sí", "x", "✓", "✔", "☑", "☒", "checked", "sim"])
_NO = frozenset(["no", "n", "false", "nein", "non", "nee", "não", "☐", "unchecked", "not"])
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


def kind_of(leaf: Leaf) -> str:
    """Gives what kind of value it is: the schema's, or of a string what it is called.

    "currency" and "phone" are normalized; "date in words" and "amount in words" stay as the document writes them, but a
    string that is called so and has no date or amount is another one.
    """
    if leaf.kind != "string":
        return leaf.kind
    named = _named(leaf)
    if "<date>" in named:
        return "date in words"
    if named & _AMOUNTS and not named & _COUNTED:
        return "amount in words"
    return next((kind for kind in ("currency", "phone") if f"<{kind}>" in named), "string")


def _named(leaf: Leaf) -> frozenset[str]:
    return words_of(readable(leaf)) | words_of(leaf.name)


def normal(text: str, leaf: Leaf, habits: Habits) -> Normal | None:
    """Gives the value in a text; None if there is none of this kind, or there are several.

    Args:
        text: Words of a document: a cell, what stands beside a label, a model's answer.
        leaf: What is wanted.
        habits: Of the document; they say what "01/02/2024" and "1,234" are.
    """
    if kind_of(leaf) != "string" and len(text) > MAX_CHARS:
        return None
    found = list(dict.fromkeys(_distinct(_READERS[kind_of(leaf)](text, leaf, habits))))
    return found[0] if len(found) == 1 else None


def spelled_out(text: str, leaf: Leaf) -> Normal | None:
    """Gives the words for a date that is no day: "May 2019", "within 30 days"."""
    worded = kind_of(leaf) == "date in words" and any(char.isdigit() for char in text)
    return next(_string(text, leaf, Habits()), None) if worded else None


def _distinct(found: Iterator[Normal]) -> Iterator[Normal]:
    seen: list[Any] = []
    for one in found:
        if one.value not in seen:
            seen.append(one.value)
            yield one


def _string(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    value = " ".join(text.split()).strip(" :;,|")
    if re.search(r"\w", value):
        start = len(text) - len(text.lstrip(" \n\t:;,|"))
        yield Normal(value=value, start=start, end=len(text.rstrip(" \n\t:;,|")))


def _number(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    named = _named(leaf)
    # "VAT 21 %" is no amount.
    is_amount = bool(named & (_AMOUNTS | {"<tax>"})) and not named & _SHARES
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


def _integer(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    return (found for found in _number(text, leaf, habits) if isinstance(found.value, int))


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _boolean(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    words = re.findall(r"\w+|[^\w\s]", text.casefold())
    first = next((word for word in words if word in _YES or word in _NO), "")
    if first and words.index(first) <= 1:
        yield Normal(value=first in _YES, start=0, end=len(text))


def _date(text: str, _leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    for day in days(text):
        date, certainty = day.date, 1.0
        if day.swapped:
            date = day.date if habits.day_first else day.swapped
            certainty = 1.0 if habits.day_known else DOUBTED
        yield Normal(value=date.isoformat(), start=day.start, end=day.end, certainty=certainty)


def _time(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    return (Normal(value=time, start=start, end=end) for start, end, time in times(text))


def _moment(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    for date in _date(text, leaf, habits):
        # A date may look like a time of day, and the other way round.
        rest = text[: date.start] + " " * (date.end - date.start) + text[date.end :]
        for time in _time(rest, leaf, habits):
            yield Normal(
                value=f"{date.value}T{time.value}",
                start=min(date.start, time.start),
                end=max(date.end, time.end),
                certainty=date.certainty,
            )


def _email(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    return (Normal(value=match[0], start=match.start(), end=match.end()) for match in _EMAIL.finditer(text))


def _uri(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    for match in _URI.finditer(text):
        scheme = "" if match[0].startswith("http") else "https://"
        yield Normal(value=scheme + match[0], start=match.start(), end=match.end())


def _currency(text: str, _leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    bare = text.strip().upper()
    if bare in CODES:
        yield Normal(value=bare, start=text.index(text.strip()), end=len(text.rstrip()))
        return
    for start, end, code, sure in currencies(text, habits.country):
        yield Normal(value=code, start=start, end=end, certainty=1.0 if sure else DOUBTED)


def _phone(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    found = list(phonenumbers.PhoneNumberMatcher(text, habits.country or None))
    for match in found:
        number = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        yield Normal(value=number, start=match.start, end=match.end)
    # Without a country nobody knows which number it is: it stays as written.
    if not found and sum(char.isdigit() for char in text) >= 5:
        yield from _string(text, leaf, habits)


def _date_words(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    return (replace(one, value=_words(text, one), certainty=1.0) for one in _date(text, leaf, habits))


def _amount_words(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    for one in _number(text, leaf, habits):
        # A figure between words is part of an address or a name.
        if len(re.sub(r"\W", "", _words(text, one))) >= FILLS * len(re.sub(r"\W", "", text)):
            yield replace(one, value=_words(text, one), certainty=1.0)


def _words(text: str, one: Normal) -> str:
    return " ".join(text[one.start : one.end].split())


def _choice(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    whole = {"start": 0, "end": len(text)}
    numbers = [one for one in leaf.choices if isinstance(one, int | float) and not isinstance(one, bool)]
    if numbers:
        yield from (found for found in _number(text, leaf, habits) if found.value in numbers)
    if any(isinstance(choice, bool) for choice in leaf.choices):
        yield from (found for found in _boolean(text, leaf, habits) if found.value in leaf.choices)
    labels = {_folded(choice): choice for choice in leaf.choices if isinstance(choice, str)}
    wanted = _folded(text)
    if not (labels and wanted):
        return
    if wanted in labels:
        yield Normal(value=labels[wanted], **whole)
        return
    # One of the choices among other words, not within another choice.
    named = {label for label in labels if label and re.search(rf"(?<!\w){re.escape(label)}(?!\w)", wanted)}
    named = {label for label in named if not any(label != other and label in other for other in named)}
    near = process.extract(wanted, list(labels), scorer=fuzz.ratio, score_cutoff=_CHOICE_RATIO, limit=2)
    for label in named or {label for label, _, _ in near}:
        yield Normal(value=labels[label], certainty=1.0 if named else 0.8, **whole)


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", _spaced(text)).strip()


def _spaced(text: str) -> str:
    return " ".join(Folded(word).text for word in re.sub(r"_", " ", text).split())


_Reader = Callable[[str, Leaf, Habits], Iterator[Normal]]
_READERS: dict[str, _Reader] = {
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "date-time": _moment,
    "email": _email,
    "uri": _uri,
    "date in words": _date_words,
    "amount in words": _amount_words,
    "currency": _currency,
    "phone": _phone,
    "choice": _choice,
}
