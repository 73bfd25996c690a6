"""Numbers and dates that are the same though spelled differently, where the spelling leaves no doubt."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

_CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF|CAD|AUD|RM"
_DIGITS = r"\d{1,3}(?:[ '’\u00a0]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
_NUMBER = re.compile(
    rf"(?<![\w.,])(?<!\w[-/])(?P<sign>[-−]?)(?:(?P<before>{_CURRENCY})\s?)?(?P<inner>[-−]?)(?P<digits>{_DIGITS})(?![.,]?\d)"
    rf"(?:\s?(?P<after>(?:{_CURRENCY}|%)(?!\w)))?"
)
_SAME_CURRENCY = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATES = (
    re.compile(r"(?<![\w.,-])(?P<year>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?![\w-])"),
    re.compile(r"(?<![\w.,-])(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<year>\d{4})(?![\w-])"),
    re.compile(
        rf"(?<!\w)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-\s.]*(?:of\s+)?{_MONTH}[-\s,]*(?P<year>\d{{4}})(?!\w)",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<!\w){_MONTH}[-\s]*(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,]+(?P<year>\d{{4}})(?!\w)", re.IGNORECASE),
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
    taken: list[tuple[int, int]] = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            taken.append(match.span())
            if (date := _date(match)) is not None:
                yield Value(start=match.start(), end=match.end(), date=date)
    for match in _NUMBER.finditer(text):
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        number, doubtful = _number(match["digits"])
        negative = "-" in (match["sign"], match["inner"]) or "−" in (match["sign"], match["inner"])
        unit = match["before"] or match["after"] or ""
        yield Value(
            start=match.start(),
            end=match.end(),
            number=-number if negative else number,
            unit=_SAME_CURRENCY.get(unit, unit),
            doubtful=doubtful,
        )


def only_value(text: str) -> Value | None:
    """Gives the value that a text consists of, or None if it says more than that."""
    stripped = text.strip().rstrip(".")
    return next((value for value in values(stripped) if (value.start, value.end) == (0, len(stripped))), None)


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


def _date(match: re.Match[str]) -> datetime.date | None:
    parts = match.groupdict()
    year = int(parts["year"])
    if parts.get("a"):
        a, b = int(parts["a"]), int(parts["b"])
        if a <= 12 and b <= 12 and a != b and parts["sep"] != ".":
            return None
        # Points are written day first; otherwise the number over 12 is the day.
        day, month = (a, b) if parts["sep"] == "." or a > 12 else (b, a)
    else:
        day = int(parts["d"])
        month = int(parts["m"]) if parts.get("m") else _MONTHS.index(parts["month"][:3].lower()) + 1
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
