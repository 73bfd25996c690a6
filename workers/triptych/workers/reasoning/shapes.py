"""Forms of values by which a question's answer is told from other words: a date, an amount, a telephone number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from triptych.workers.reasoning.days import days
from triptych.workers.reasoning.values import values

EMAIL = re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PATTERNS = {
    "email": EMAIL,
    "url": re.compile(
        r"(?:https?://|www\.)[^\s|,;]+|(?<![@\w])[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|eu|de|nl|fr|io)\b\S*"
    ),
    "phone": re.compile(r"(?<![\w/.,-])(?:\+|\(\+?)?\d[\d ()./-]{5,20}\d(?![\w/]|[.,-]\d)"),
    "iban": re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){2,8}(?!\w)"),
    "vat number": re.compile(r"(?<!\w)[A-Z]{2}[ ]?[A-Z]?\d[\dA-Z.]{6,12}(?!\w)"),
    "year": re.compile(r"(?<![\d/.,-])(?:1[4-9]|20)\d\d(?![\d/]|[.,-]\d)"),
    "percent": re.compile(r"\d+(?:[.,]\d+)?\s?%"),
    "number": re.compile(r"\d+(?:[.,]\d+)*"),
}
# Figures beside these are part of a word, a date or a number of something.
_BEFORE_AMOUNT, _BEHIND_AMOUNT = re.compile(r"[\w.,/-]$"), re.compile(r"[\w/]|[.,-]\d|\s?%")


class Shape(Enum):
    """Form of a value."""

    EMAIL = "email"
    URL = "url"
    PHONE = "phone"
    IBAN = "iban"
    VAT_NUMBER = "vat number"
    YEAR = "year"
    DATE = "date"
    PERCENT = "percent"
    AMOUNT = "amount"
    NUMBER = "number"

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields where values of this form stand in a text."""
        if self is Shape.DATE:
            yield from ((day.start, day.end) for day in days(text))
        elif self is Shape.AMOUNT:
            yield from _amounts(text)
        else:
            for match in _PATTERNS[self.value].finditer(text):
                if self is not Shape.PHONE or _may_be_phone(match[0]):
                    yield match.span()


def _amounts(text: str) -> Iterator[tuple[int, int]]:
    for value in values(text):
        alone = not (_BEFORE_AMOUNT.search(text[: value.start][-1:]) or _BEHIND_AMOUNT.match(text, value.end))
        if value.number is not None and value.unit != "%" and alone:
            yield value.start, value.end


# The first that fits decides: from what can only be meant so to what may be meant so.
_ASKED = (
    (Shape.EMAIL, r"\be-?mail"),
    (Shape.URL, r"\b(web ?site|web address|url|homepage)\b"),
    (Shape.IBAN, r"\biban\b"),
    (Shape.VAT_NUMBER, r"\b(vat|tax|btw|ust)[ -]?(number|no|nummer|reg\w*)\b"),
    (Shape.PHONE, r"\b(phone|telephone|fax|mobile|cell)\b"),
    (Shape.YEAR, r"\b(which|what) (\w+ )?year\b"),
    (Shape.PERCENT, r"\b(percentage|per ?cent)\b"),
    (Shape.DATE, r"\b(date|birthday|deadline|due)\b.*\?|^(on )?(which|what) day\b|^when (is|was|does|did|will|do)\b"),
    (
        Shape.AMOUNT,
        r"\b(how much|amount|(sub-?)?total|sum|price|cost|charges?|balance|tax|fee|tip|salary|wages?|discount)\b",
    ),
    (Shape.NUMBER, r"\b(how (many|much|far|old|long|tall|heavy)|number|weight|height|hoeveel|wieviele?|combien)\b"),
)
_ASKED_PATTERNS = tuple((shape, re.compile(pattern, re.IGNORECASE)) for shape, pattern in _ASKED)
_NO_AMOUNT = re.compile(r"\b(number|id|code|name|who|year|which)\b", re.IGNORECASE)
# "Total due" is an amount.
_AMOUNT_DUE = re.compile(r"\b(amount|total|balance)\b.*\bdue\b", re.IGNORECASE)
_DAY = re.compile(r"\b(date|when)\b", re.IGNORECASE)
_NO_VALUE = re.compile(r"^(who|whose|whom|which|why)\b|\b(name|title|description|address)\b", re.IGNORECASE)
_TEMPORAL = frozenset({Shape.DATE, Shape.YEAR})


def shape_asked(question: str) -> Shape | None:
    """Gives the form that an answer must have; None: any."""
    for shape, pattern in _ASKED_PATTERNS:
        if not pattern.search(question):
            continue
        if shape is Shape.DATE and _AMOUNT_DUE.search(question) and not _DAY.search(question):
            return Shape.AMOUNT
        if shape is Shape.AMOUNT and _NO_AMOUNT.search(question):
            continue
        if shape not in _TEMPORAL and shape not in CERTAIN and _NO_VALUE.search(question):
            return None
        return shape
    return None


def fits(text: str, shape: Shape | None) -> bool:
    """Whether a text has a value of a form."""
    return shape is None or next(shape.spans(text), None) is not None


def trimmed(text: str, shape: Shape | None) -> str:
    """Gives the one value of a form that a text has; the text itself if it has none or several."""
    if shape is None or shape is Shape.NUMBER:
        return text
    spans = list(shape.spans(text))
    return text[spans[0][0] : spans[0][1]] if len(spans) == 1 else text


CERTAIN = frozenset({Shape.EMAIL, Shape.URL, Shape.IBAN, Shape.VAT_NUMBER, Shape.PHONE})


def _may_be_phone(text: str) -> bool:
    digits = sum(char.isdigit() for char in text)
    grouped = re.search(r"[ ()./+-]", text.strip()) is not None
    return 7 <= digits <= 15 and (grouped or digits >= 9) and not fits(text, Shape.DATE)
