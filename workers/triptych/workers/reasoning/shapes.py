"""Forms of values by which a question's answer is told from other words: a date, an amount, a telephone number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|CAD|AUD|INR|RM)"
_DIGITS = r"\d{1,3}(?:[ '’.,]\d{3})+(?:[.,]\d{1,4})?|\d+(?:[.,]\d+)?"
_MONTH = (
    r"(?:jan|feb|fév|fev|mar|mär|mrt|maa|apr|avr|abr|may|mai|mei|jun|jui|jul|aug|aoû|aou|ago|sep|set|oct|okt|ott|out|nov|"
    r"dec|dez|déc|dic)[a-zéû]*\.?"
)
_DATE = (
    r"(?<![\w.,/-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?[-\s]?(?:of\s|de\s)?{_MONTH}[-\s,]*(?:de\s)?(?:\d{{4}}|\d\d)"
    rf"|{_MONTH}[-\s]*\d{{1,2}}(?:st|nd|rd|th)?(?:,\s*|\s+)\d{{4}})(?![\w/-])"
)


class Shape(Enum):
    """Form of a value; the value is what one looks like."""

    EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
    URL = re.compile(r"(?:https?://|www\.)[^\s|,;]+|(?<![@\w])[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|eu|de|nl|fr|io)\b\S*")
    PHONE = re.compile(r"(?<![\w/.,-])(?:\+|\(\+?)?\d[\d ()./-]{5,20}\d(?![\w/]|[.,-]\d)")
    IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){2,8}(?!\w)")
    VAT_NUMBER = re.compile(r"(?<!\w)[A-Z]{2}[ ]?[A-Z]?\d[\dA-Z.]{6,12}(?!\w)")
    YEAR = re.compile(r"(?<![\d/.,-])(?:1[4-9]|20)\d\d(?![\d/]|[.,-]\d)")
    DATE = re.compile(_DATE, re.IGNORECASE)
    PERCENT = re.compile(r"\d+(?:[.,]\d+)?\s?%")
    AMOUNT = re.compile(
        rf"(?<![\w.,/-])-?{_CURRENCY}?\s?-?(?:{_DIGITS})(?:\s?{_CURRENCY}(?!\w))?(?![\w/]|[.,-]\d|\s?%)"
    )
    NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields where values of this form stand in a text."""
        # The day of a date is no amount.
        dates = [match.span() for match in Shape.DATE.value.finditer(text)] if self is Shape.AMOUNT else []
        for match in self.value.finditer(text):
            start, end = match.span()
            found = match[0]
            if any(first < end and start < last for first, last in dates):
                continue
            if self is Shape.PHONE and not _may_be_phone(found):
                continue
            yield start + len(found) - len(found.lstrip()), end - len(found) + len(found.rstrip())


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
