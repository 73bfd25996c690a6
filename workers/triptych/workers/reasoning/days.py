"""Dates and times of day in a text, as people of several languages write them, with every way to read them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.workers.reasoning.terms import stem

_MONTH_NAMES = (
    "january jan januar jänner janvier janv enero ene gennaio gen januari janeiro",
    "february feb februar février févr fév febrero febbraio februari fevereiro fev",
    "march mar märz mär mrz mars marzo maart mrt março",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag mei maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août agosto ago augustus",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro",
)
_MONTHS = {stem(name): number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_YEAR = r"(?P<year>\d{4}|['’]?\d{2})(?![\d:]|[.,]\d)"
_OF = r"(?:\s+(?:of|de|del|di))?"
_PATTERNS = (
    re.compile(r"(?<![\w.,-])(?P<year>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?![\w-])"),
    re.compile(rf"(?<![\w.,/-])(?P<a>\d{{1,2}})\s?(?P<sep>[-/.])\s?(?P<b>\d{{1,2}})\s?(?P=sep)\s?{_YEAR}(?![-/.]?\w)"),
    re.compile(
        rf"(?<![\w.,])(?P<d>\d{{1,2}})(?:st|nd|rd|th|º|er)?\.?{_OF}[-\s./]{{0,3}}(?P<month>[^\W\d_]{{3,10}})\.?{_OF}"
        rf"[-\s,./]{{0,3}}{_YEAR}(?!\w)"
    ),
    re.compile(
        rf"(?<!\w)(?P<month>[^\W\d_]{{3,10}})\.?[-\s./]{{0,3}}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-\s,/]{{1,3}}{_YEAR}(?!\w)"
    ),
    re.compile(r"(?P<year>\d{4})\s?年\s?(?P<m>\d{1,2})\s?月\s?(?P<d>\d{1,2})\s?日"),
)
_TIME = re.compile(
    r"(?<![\d:.])(?P<h>\d{1,2})(?:[:.h](?P<m>\d{2})(?::(?P<s>\d{2}))?)?\s?(?P<half>[ap]\.?m\b\.?)?"
    r"\s?(?P<zone>Z\b|UTC\b|GMT\b|[+-]\d{2}:?\d{2}\b)?(?![\d:])",
    re.IGNORECASE,
)
# Two digits of a year are of 1969 to 2068, as POSIX has it.
_CENTURY_TURN = 69


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A date in a text.

    Attributes:
        start: Start in the text, in code points.
        end: End, exclusive.
        date: The day; if day and month may be swapped, with the day written first.
        swapped: The day with the month written first, if both are possible and differ.
        day_first: How a date of numbers must be read that cannot be read otherwise; None of others.
        certain: Whether it can be read in no other way: neither are day and month swapped nor is the century left out.
    """

    start: int
    end: int
    date: datetime.date
    swapped: datetime.date | None = None
    day_first: bool | None = None
    certain: bool = True


def days(text: str) -> list[Day]:
    """Gives the dates of a text, in order."""
    found: list[Day] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if not any(day.start < match.end() and match.start() < day.end for day in found):
                found += _read(match)
    return sorted(found, key=lambda day: day.start)


def times(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields (start, end, time) of the times of day in a text: "14:30:00", with the zone if it is said."""
    for match in _TIME.finditer(text):
        hour, minute, second = (int(match[name] or 0) for name in "hms")
        if not (match["m"] or match["half"]) or hour > 23 or minute > 59 or second > 59:
            continue
        if match["half"]:
            hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
        zone = (match["zone"] or "").upper()
        zone = "Z" if zone in ("Z", "UTC", "GMT") else f"{zone[:3]}:{zone[-2:]}" if zone else ""
        yield match.start(), match.end(), f"{hour:02}:{minute:02}:{second:02}{zone}"


def _read(match: re.Match[str]) -> Iterator[Day]:
    parts, (start, end) = match.groupdict(), match.span()
    short = parts["year"].lstrip("'’")
    whole = len(short) == 4
    year = int(short) if whole else int(short) + (2000 if int(short) < _CENTURY_TURN else 1900)
    if "a" in parts:
        a, b = int(parts["a"]), int(parts["b"])
        first, second = _date(year, b, a), _date(year, a, b)
        if parts["sep"] == ".":
            second = None
        order = bool(first) if bool(first) != bool(second) and parts["sep"] != "." else None
        swapped = second if first and second and first != second else None
        if date := first or second:
            yield Day(start=start, end=end, date=date, swapped=swapped, day_first=order, certain=whole and not swapped)
        return
    month = int(parts["m"]) if parts.get("m") else _MONTHS.get(stem(parts["month"]), 0)
    if date := _date(year, month, int(parts["d"])):
        yield Day(start=start, end=end, date=date, certain=whole)


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
