"""How one document writes: its decimal separator, the order of day and month, its country and its currency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from triptych.workers.reasoning.days import days
from triptych.workers.reasoning.monies import beside_figure, currencies

_DECIMALS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?P<group>[.,' ])\d{3})*(?P<point>[.,])\d{1,2}(?![\d.,]*\d)")
_US_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY DC"
)
# Each says in which country a document is at home; the first group is its code, unless the pattern stands for one.
_COUNTRIES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\b(?:{'|'.join(_US_STATES.split())}),?\s+\d{{5}}(?:-\d{{4}})?\b"), "US"),
    (re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}\b"), "GB"),
    (re.compile(r"\b(?:United States|U\.S\.A\.|USA)\b"), "US"),
    (re.compile(r"\b(?:United Kingdom|England)\b"), "GB"),
    (re.compile(r"\b(?:Germany|Deutschland)\b"), "DE"),
    (re.compile(r"\bFrance\b"), "FR"),
    (re.compile(r"\b(?:Spain|España)\b"), "ES"),
    (re.compile(r"\b(?:Netherlands|Nederland)\b"), "NL"),
    (re.compile(r"\b(?:Italy|Italia)\b"), "IT"),
    (re.compile(r"\b(?:Switzerland|Schweiz|Suisse)\b"), "CH"),
    (re.compile(r"\b(?:Austria|Österreich)\b"), "AT"),
    (re.compile(r"\bMalaysia\b"), "MY"),
    # Bank account and tax numbers.
    (re.compile(r"\b([A-Z]{2})\d{2}(?:\s?\d{4}){3,6}\b"), ""),
    (re.compile(r"\b(AT|BE|CH|DE|DK|ES|FI|FR|IE|IT|LU|NL|PL|PT|SE)U?\d{8,12}\b"), ""),
)
# Frequent little words that only one of the languages has.
_LANGUAGES = {
    "de": "und der die das von mit für bis auf ist wir sie nicht rechnung",
    "fr": "et le les des du pour avec vous nous est facture votre",
    "es": "y el los las por con para su usted fecha factura",
    "it": "il gli della di per con sono fattura che",
    "nl": "het een van voor met wij uw niet factuur zijn",
    "pt": "os as um uma para com não você seu fatura",
    "en": "the and of to for with is you your our this",
}
_MIN_WORDS = 3
# By then a document has told how it writes.
_MAX_CHARS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a document's own figures and words tell of how it writes.

    Attributes:
        decimal: Sign before decimals, "." or ","; empty: nobody knows.
        day_first: Whether the day stands before the month in dates of numbers.
        day_known: Whether that is known; else it is a guess.
        country: ISO 3166 code where it is at home; empty: nobody knows, or there are several.
        currency: ISO 4217 code of its amounts; empty: none, or several.
    """

    decimal: str = ""
    day_first: bool = True
    day_known: bool = False
    country: str = ""
    currency: str = ""


def habits(texts: Iterable[str]) -> Habits:
    """Gives the habits of a document of which these are the pages."""
    text = "\n".join(texts)[:_MAX_CHARS]
    country = _country(text)
    found = {code for start, end, code, _ in currencies(text, country) if beside_figure(text, start, end)}
    currency = next(iter(found)) if len(found) == 1 else ""
    first, known = _day_order(text, country, currency)
    return Habits(decimal=_decimal(text), day_first=first, day_known=known, country=country, currency=currency)


def _decimal(text: str) -> str:
    votes = Counter(match["point"] for match in _DECIMALS.finditer(text) if match["group"] != match["point"])
    if not votes:
        return ""
    point, count = votes.most_common(1)[0]
    return point if count >= 0.8 * votes.total() else ""


def _country(text: str) -> str:
    found = {code or match[1] for pattern, code in _COUNTRIES for match in pattern.finditer(text)}
    return next(iter(found)) if len(found) == 1 else ""


def _day_order(text: str, country: str, currency: str) -> tuple[bool, bool]:
    """Gives (whether the day stands first, whether that is known)."""
    votes = {day.day_first for day in days(text) if day.day_first is not None}
    if len(votes) == 1:
        return votes.pop(), True
    if not votes and country:
        return country != "US", True
    if not votes and language(text) not in ("", "en"):
        return True, True
    return currency != "USD", False


def language(text: str) -> str:
    """Gives the language of a text, of the few whose dates have one order, and English; empty: nobody knows."""
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    counts = {code: sum(words[word] for word in some.split()) for code, some in _LANGUAGES.items()}
    best, second = sorted(counts, key=lambda code: -counts[code])[:2]
    return best if counts[best] >= _MIN_WORDS and counts[best] > counts[second] else ""
