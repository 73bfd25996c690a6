"""Finds the fields of a form that a question names: a label, and the value behind, beside or under it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.workers.reasoning.asking import NUMBER_WORDS, Asking
from triptych.workers.reasoning.layout import RUNNING_TEXT_CHARS
from triptych.workers.reasoning.pairs import Sheet
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.shapes import Shape, fits
from triptych.workers.reasoning.values import values

# A label must say most of what the question says, and half of it must be the question's. Pairs found with less were
# wrong as often as right, and a small model believes them.
QUESTION_SHARE, LABEL_SHARE = 0.6, 0.5
# Where the value has a form that hardly anything else on a page has, half of the question is enough.
_TELLING = frozenset({Shape.DATE, Shape.PHONE, Shape.EMAIL, Shape.IBAN, Shape.VAT_NUMBER, Shape.URL})
# A value has more in words with digits than a label with a number in it.
VALUE_SHARE = 0.4
MAX_FIELDS = 3
# "17 WGT 165 lb", "Invoice INV-100".
_NUMBER_BEHIND = re.compile(r".*?[^\W\d_]{2,}[\s.]+(?P<value>[^\s:]*\d[^\s:]*(?:\s[a-zI]{1,3}\b\.?)?)")
_NUMBER_FIRST = re.compile(r"[^\s:]*\d[^\s:]*(?:\s[\d().+/-]+(?!\S))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A label with its value.

    Attributes:
        label: As recognized, without its colon.
        value: As recognized.
        share: Share of the question's words that the label has, 0 to 1.
        label_share: Share of the label's words that the question has, 0 to 1.
        reading: Index of the reading.
        start: Where the value begins in its text, in code points.
        end: Where it ends, exclusive.
    """

    label: str
    value: str
    share: float
    label_share: float
    reading: int
    start: int
    end: int


def asked_fields(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> list[Field]:
    """Gives the fields of the shown passages whose labels the question names, the best first, at most `MAX_FIELDS`."""
    found: list[Field] = []
    for index in sorted({passage.reading for passage in shown}):
        if readings[index].quads:
            lines = frozenset(line for passage in shown if passage.reading == index for line in passage.lines)
            found += _Page(index, readings[index], asking).fields(lines)
    # sorted() keeps the page's order of equals.
    best = sorted(found, key=lambda field: _rank(field, asking))
    return list({field.value: field for field in reversed(best)}.values())[::-1][:MAX_FIELDS]


def _rank(field: Field, asking: Asking) -> tuple[float, float, float]:
    # Of several totals the largest is the last.
    amount = amount_of(field.value) if asking.sums else None
    return -field.share, -field.label_share, -(amount or 0)


def _value_share(text: str) -> float:
    """Gives the share of a text's signs that are in words with digits, dates counted whole."""
    spans = list(Shape.DATE.spans(text))
    if spans:
        return sum(end - start for start, end in spans) / len(text)
    words = text.split()
    return sum(len(word) for word in words if any(char.isdigit() for char in word)) / max(1, len("".join(words)))


def amount_of(text: str) -> float | None:
    """Gives the number of a text's first value; None if there is none."""
    found = next((value for value in values(text) if value.number is not None), None)
    return float(found.number) if found is not None and found.number is not None else None


class _Page:
    """Looks for the fields of one page."""

    def __init__(self, index: int, reading: Reading, asking: Asking) -> None:
        self._index = index
        self._reading = reading
        self._sheet = Sheet(reading)
        self._asking = asking

    def fields(self, lines: frozenset[int]) -> Iterator[Field]:
        """Yields the fields whose labels are among some lines."""
        for at, row in enumerate(self._sheet.rows):
            for place, line in enumerate(row.lines):
                if line in lines:
                    yield from self._of(at, place, line)

    def _of(self, at: int, place: int, line: int) -> Iterator[Field]:
        start, end = self._reading.lines[line]
        if (cut := self._cut(start, end)) is not None:
            share = self._share(self._reading.text[start : cut[0]], alone=False)
            if share:
                yield self._field(start, cut[0], *cut, share=share)
            return
        share = self._share(self._sheet.text(line), alone=True)
        found = self._sheet.values_of(at, place, self) if share else []
        # Of two nobody knows which.
        if len(found) == 1:
            yield self._field(start, end, *self._reading.lines[found[0]], share=share)

    def _field(self, label_start: int, label_end: int, start: int, end: int, *, share: float) -> Field:
        text = self._reading.text
        label = text[label_start:label_end].strip().rstrip(" :#")
        start, end = next(self._shaped(start, end), (start, end))
        start += len(text[start:end]) - len(text[start:end].lstrip("#: "))
        return Field(
            label=label,
            value=text[start:end].strip(),
            share=share,
            label_share=self._asking.label_share(text[label_start:label_end]),
            reading=self._index,
            start=start,
            end=end,
        )

    def _cut(self, start: int, end: int) -> tuple[int, int] | None:
        """Gives the value of a line that has its label before it: behind a sign, or of the form that is asked for."""
        text = self._reading.text[start:end]
        sign = re.match(r"[^:#|]{2,40}?\s*[:#]+[\s#:]*(?=[^\s:#])", text)
        if sign is not None and not text[: sign.end()].strip(" :").startswith("http"):
            if not self._has_value(text[sign.end() :]):
                return None
            number = _NUMBER_FIRST.match(text[sign.end() :]) if self._asking.shape is Shape.NUMBER else None
            return start + sign.end(), start + sign.end() + number.end() if number else end
        if self._asking.shape is Shape.NUMBER:
            number = _NUMBER_BEHIND.match(text)
            return (start + number.start("value"), start + number.end("value")) if number else None
        for left, right in self._shaped(start, end):
            if re.search(r"[^\W\d_]{2}", self._reading.text[start:left]):
                return left, right
        return None

    def _shaped(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yields where values of the form that is asked for stand; a number may be any word with digits."""
        shape = self._asking.shape
        if shape is None or shape is Shape.NUMBER:
            return
        for left, right in shape.spans(self._reading.text[start:end]):
            yield start + left, start + right

    def _share(self, label: str, *, alone: bool) -> float:
        """Gives the share of the question that a label names; 0 if it is no label of it."""
        words = self._asking.named_by(label)
        # "Number" alone is the number of anything.
        if (words <= NUMBER_WORDS and len(self._asking.words) > 1) or len(label) >= RUNNING_TEXT_CHARS + (
            10 if alone else 20
        ):
            return 0.0
        # "INV-100" is a value itself.
        if self._asking.label_share(label) < LABEL_SHARE or (alone and _value_share(label) >= VALUE_SHARE):
            return 0.0
        share = len(words) / len(self._asking.words)
        least = 0.5 if self._asking.shape in _TELLING else QUESTION_SHARE
        return share if share >= least else 0.0

    def is_value(self, text: str) -> bool:
        """See `Kind.is_value`."""
        digits = any(char.isdigit() for char in text) and not text.endswith(":")
        return digits and self._has_value(text) and _value_share(text) >= VALUE_SHARE

    def may_be_value(self, text: str) -> bool:
        """See `Kind.may_be_value`."""
        return bool(text) and not text.endswith(":") and self._has_value(text)

    def same(self, one: str, other: str) -> bool:
        """See `Kind.same`."""
        return one == other

    def _has_value(self, text: str) -> bool:
        """Whether a text has a value of the form that is asked for; a date or an amount is no number of something."""
        if self._asking.identifier and (fits(text, Shape.DATE) or re.search("[$€£¥₹%]", text)):
            return False
        return fits(text, self._asking.shape)
