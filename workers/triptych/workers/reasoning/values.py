"""Numbers and dates that are the same though spelled differently, where the spelling leaves no doubt."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from triptych.workers.reasoning.days import days
from triptych.workers.reasoning.monies import CURRENCY_OF, SIGNS

_CURRENCY = "|".join(map(re.escape, sorted((*SIGNS, *set(CURRENCY_OF.values())), key=len, reverse=True)))
_DIGITS = r"\d{1,3}(?:[ '’\u00a0]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
_NUMBER = re.compile(
    rf"(?<![\w.,])(?<!\w[-/])(?P<sign>[-−]?)(?:(?P<before>{_CURRENCY})\s?)?(?P<inner>[-−]?)"
    # "30/02/2024" is no day, and no number.
    rf"(?!\d\d?(?P<dash>[-/.])\d\d?(?P=dash)(?:\d\d){{1,2}}(?!\d))(?P<digits>{_DIGITS})(?![.,]?\d)"
    rf"(?:\s?(?P<after>(?:{_CURRENCY}|%)(?!\w)))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number or a date in a text.

    Attributes:
        start: Start in the text, in code points.
        end: End in the text, exclusive.
        date: The day, if it is a date.
        number: The number, if it is one.
        unit: Currency code or "%"; empty if none stands there.
        doubtful: Digits as written, if the separator may be of decimals or of thousands ("1,234").
    """

    start: int
    end: int
    date: datetime.date | None = None
    number: Decimal | None = None
    unit: str = ""
    doubtful: str = ""

    def same_as(self, other: Value) -> bool:
        """Whether both say the same, beyond doubt; a unit that only one of them has is no contradiction."""
        if self.date or other.date:
            return self.date == other.date
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.doubtful and other.doubtful and self.doubtful != other.doubtful:
            return False
        return self.number == other.number


def values(text: str) -> Iterator[Value]:
    """Yields the dates, then the numbers of a text; a date whose day and month may be swapped is left out."""
    taken = days(text)
    for day in taken:
        if day.certain:
            yield Value(start=day.start, end=day.end, date=day.date)
    for match in _NUMBER.finditer(text):
        if any(day.start < match.end() and match.start() < day.end for day in taken):
            continue
        number, doubtful = _number(match["digits"])
        negative = "-" in (match["sign"], match["inner"]) or "−" in (match["sign"], match["inner"])
        unit = match["before"] or match["after"] or ""
        yield Value(
            start=match.start(),
            end=match.end(),
            number=-number if negative else number,
            unit=CURRENCY_OF.get(unit, unit),
            doubtful=doubtful,
        )


def only_value(text: str) -> Value | None:
    """Gives the value that a text consists of, or None if it says more than that."""
    stripped = text.strip().rstrip(".")
    return next((value for value in values(stripped) if (value.start, value.end) == (0, len(stripped))), None)


def spelled(number: Decimal, like: str) -> str:
    """Writes a number with the currency of another one."""
    written = only_value(like)
    if written is None or not written.unit:
        return str(number)
    signs = re.sub(r"[-−\d.,'’\s]+", "", like)
    return f"{signs}{number}" if like.lstrip("-−").startswith(signs) else f"{number} {signs}"


def _number(digits: str) -> tuple[Decimal, str]:
    """Reads digits with separators: (number, the digits if one separator could be either kind)."""
    plain = re.sub(r"[ '’\u00a0]", "", digits)
    separators = re.findall(r"[.,]", plain)
    if not separators:
        return Decimal(plain), ""
    last = separators[-1]
    if len(set(separators)) == 1:
        grouped = re.fullmatch(r"[1-9]\d{0,2}(?:[.,]\d{3})+", plain) is not None
        if len(separators) > 1 or grouped:
            return Decimal(re.sub(r"[.,]", "", plain)), plain if len(separators) == 1 else ""
        return Decimal(plain.replace(last, ".")), ""
    whole, _, part = plain.rpartition(last)
    return Decimal(re.sub(r"[.,]", "", whole) + "." + part), ""
