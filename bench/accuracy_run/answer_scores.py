"""Compares an answer with those that are right.

ANLS is the similarity of Biten et al. 2019 (ST-VQA): 1 less the edit distance over the longer text's length, 0 from a
half on. An answer is exact if it has the letters and digits of a right one; lenient if it is exact, has a right one
in it, or is the same amount or date in another spelling.
"""

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accuracy_run.words import plain
from rapidfuzz.distance import Levenshtein

BOOLEAN = "boolean"
_TOO_FAR = 0.5
_AMOUNT_ALONE = re.compile(r"(rm|usd|eur|\W)*[\d.,]+\W*")
_DATE_FORMATS = (
    "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%d.%m.%Y",
    "%d.%m.%y", "%d %B %Y", "%B %d %Y", "%d %b %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y", "%b%d/%y", "%Y/%m/%d",
    "%d %b %y", "%d%b%Y",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right an answer is, 0 to 1 each."""

    anls: float
    exact: float
    lenient: float


def score(said: str, right: Sequence[str], kind: str = "") -> Score:
    """Compares with the right answer that fits best.

    Args:
        said: The answer; empty if there is none.
        right: All that are right.
        kind: Of the question; of a `BOOLEAN` one only the first word counts.
    """
    text = folded(said)
    exact = any(_signs(text) == _signs(folded(one)) for one in right)
    if kind == BOOLEAN:
        exact = exact or _first_word(text) in {_first_word(folded(one)) for one in right}
    lenient = exact or any(_same_value(said, text, one) or stands_in(folded(one), text) for one in right)
    return Score(anls=1.0 if exact else max((_anls(text, folded(one)) for one in right), default=0.0),
                 exact=float(exact), lenient=float(lenient))  # fmt: skip


def folded(text: str) -> str:
    """Gives a text as it is compared: without case, doubled blanks, and punctuation at its ends."""
    return re.sub(r"\s+", " ", plain(text)).strip().casefold().strip(' .:;"')


def stands_in(part: str, text: str) -> bool:
    """Whether a folded text stands in another as whole words, and not as a part of a number."""
    return bool(part) and re.search(rf"(?<![\w.,]){re.escape(part)}(?!\w|[.,]\d)", text) is not None


def amount(text: str) -> float | None:
    """Gives the longest number of a text, whichever sign its decimals are set off by; None: there is none."""
    found = re.findall(r"[-(]?\d[\d.,\' ]*", plain(text))
    if not found:
        return None
    digits = re.sub(r"[ '(]", "", max(found, key=len)).rstrip(".,")
    if "," in digits and "." in digits:
        point_last = digits.rfind(".") > digits.rfind(",")
        digits = digits.replace(",", "") if point_last else digits.replace(".", "").replace(",", ".")
    elif "," in digits:
        digits = digits.replace(",", "." if re.search(r",\d{1,2}$", digits) else "")
    elif digits.count(".") > 1:
        digits = digits.replace(".", "")
    try:
        return round(float(digits), 2)
    except ValueError:
        return None


def dates(text: str) -> set[datetime.date]:
    """Gives every day that a text, or its first word, may mean."""
    text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", plain(text).strip().replace(",", " "))
    text = re.sub(r"\s+", " ", text)
    found = set()
    for form in _DATE_FORMATS:
        for part in (text, text.split(" ")[0]):
            try:
                found.add(datetime.datetime.strptime(part, form).date())  # noqa: DTZ007 - days have no zone
            except ValueError:
                continue
    return found


def _same_value(said: str, text: str, right: str) -> bool:
    if re.fullmatch(r"[$€£]?[\d.,]+", right.strip()) and _AMOUNT_ALONE.fullmatch(text):
        wanted = amount(right)
        if wanted is not None and wanted == amount(text):
            return True
    return bool(dates(right) & dates(said))


def _anls(text: str, right: str) -> float:
    distance = Levenshtein.distance(text, right) / max(1, len(text), len(right))
    return 1 - distance if distance < _TOO_FAR else 0.0


def _first_word(text: str) -> str:
    return re.sub(r"\W", "", next(iter(text.split()), ""))


def _signs(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def mean(figures: Iterable[float]) -> float:
    """Gives their mean; NaN of none."""
    values = list(figures)
    return sum(values) / len(values) if values else float("nan")
