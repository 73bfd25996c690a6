"""Finds the value of a label by where it stands: behind it in its line, beside it or under it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.layout import RUNNING_TEXT_CHARS
from triptych.workers.reasoning.normalization import kind_of, normal
from triptych.workers.reasoning.pairs import Sheet
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.terms import content_terms
from triptych.workers.reasoning.value_names import ALIKE, LIKE, Wanted, likeness
from triptych.workers.reasoning.value_readers import FILLS, Normal
from triptych.workers.reasoning.vocabulary import words_of

_MAX_LABEL_WORDS = 8
# What may stand between a label and its value.
_LABEL_ENDS = " .:#)\t\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A value beside its label.

    Attributes:
        reading: Index of the reading.
        start: Start of the value's words in its text, in code points.
        end: End, exclusive.
        value: Normalized.
        certainty: 1, or less if the words can be read in another way too.
        exact: Whether the label says what is asked for and nothing else, in its words or, where no other label of the
            document does, in words that are alike.
        sure: Whether nothing else at that place could be the value.
        told: Whether it is the only value of its kind in a sentence that has all words of the label, not beside it.
        likeness: Of the label to what is asked for, 0 to 1; of what no label names, 1.
    """

    reading: int
    start: int
    end: int
    value: object
    certainty: float
    exact: bool
    sure: bool
    told: bool = False
    likeness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    likeness: float
    colon: bool
    # Where the rest of the label's line begins, in its text.
    rest: int


def labelled(readings: Sequence[Reading], habits: Mapping[str, Habits], wanted: Wanted) -> list[Hit]:
    """Gives the values beside labels of what is wanted, in document order.

    Args:
        readings: Everything that was recognized.
        habits: Of every document, by id.
        wanted: A value, not a list.
    """
    found: list[Hit] = []
    if isinstance(wanted.leaf, Leaf) and kind_of(wanted.leaf) != "boolean":
        for index, reading in enumerate(readings):
            found += _Page(index, reading, habits[reading.document_id], wanted, wanted.leaf).hits()
    named = {readings[hit.reading].document_id for hit in found if hit.exact and hit.likeness == 1}
    # "Subtotal" may be what is called untaxed, but not where something else is called so.
    return [
        replace(hit, exact=False, sure=False)
        if hit.likeness < 1 and readings[hit.reading].document_id in named
        else hit
        for hit in found
    ]


@lru_cache(maxsize=65536)
def _beginnings(text: str) -> tuple[tuple[int, frozenset[str]], ...]:
    """Gives (end, words) of the beginnings of a line that may be a label before a value."""
    found = []
    for term in content_terms(text)[:_MAX_LABEL_WORDS]:
        if term.stem[:1].isdigit():
            break
        if text[term.end : term.end + 1] not in _LABEL_ENDS:
            # "invoice_number_1" is one word.
            continue
        # "No." and "#" belong to the label.
        end = term.end + len(text[term.end :]) - len(text[term.end :].lstrip(_LABEL_ENDS))
        found.append((end, words_of(text[:end])))
    return tuple(found)


def _behind_colon(text: str) -> int | None:
    """Gives where the words behind the colon of a line begin, if a label stands before it; None if there is none."""
    head, colon, tail = text.partition(":")
    return len(head) + 1 if colon and head.strip() and not tail[:1].strip() else None


class _Page:
    def __init__(self, index: int, reading: Reading, habits: Habits, wanted: Wanted, leaf: Leaf) -> None:
        self._index = index
        self._reading = reading
        self._habits = habits
        self._wanted = wanted
        self._leaf = leaf
        self._typed = kind_of(leaf) != "string"
        self._sheet = Sheet(reading)

    def hits(self) -> Iterator[Hit]:
        names = frozenset().union(*self._wanted.labels)
        for at, row in enumerate(self._sheet.rows):
            for place, line in enumerate(row.lines):
                text = self._text(line)
                if names & words_of(text):
                    yield from list(self._values(text, at, place, line)) or self._told(line)

    def _told(self, line: int) -> Iterator[Hit]:
        said = words_of(self._text(line))
        if not self._typed or not any(words <= said for words in self._wanted.labels):
            return
        start, end = self._reading.lines[line]
        found = normal(self._reading.text[start:end], self._leaf, self._habits)
        if found is not None and kind_of(self._leaf) != "choice":
            yield self._made(start, found, likeness=0, told=True)

    def _label(self, text: str) -> _Label | None:
        """Gives how a line begins with a label of what is wanted; None if it does not."""
        if (rest := _behind_colon(text)) is not None:
            like = likeness(text[:rest], self._wanted)
            return _Label(likeness=like, colon=True, rest=rest) if like >= LIKE else None
        like = likeness(text, self._wanted)
        if like >= LIKE and len(text) < RUNNING_TEXT_CHARS and not self._has_value(text):
            return _Label(likeness=like, colon=False, rest=len(text))
        best: _Label | None = None
        for end, words in _beginnings(text):
            if not any(words <= names for names in self._wanted.labels):
                break
            like = likeness(text[:end], self._wanted)
            # The longest: "Customer ID 7" is no customer.
            if end < len(text) and like >= LIKE:
                best = _Label(likeness=like, colon=False, rest=end)
        return best

    def _has_value(self, text: str) -> bool:
        return self._normal(text) is not None if self._typed else any(char.isdigit() for char in text)

    def _values(self, text: str, at: int, place: int, line: int) -> Iterator[Hit]:
        label = self._label(text)
        if label is None:
            return
        start, end = self._reading.lines[line]
        if self._reading.text[start + label.rest : end].strip(" .:"):
            hit = self._hit(label, start + label.rest, end)
            if hit is not None and (label.colon or self._typed or self._begins_with_digits(hit)):
                yield hit
            return
        found, row = self._sheet.values_of(at, place, self), self._sheet.rows[at].lines
        for other in found:
            # What stands under a heading of a table may be one of many, where a label of its own names another.
            heads = len(row) > 2 and other not in row
            like = replace(label, likeness=min(label.likeness, ALIKE)) if heads else label
            if (hit := self._hit(like, *self._reading.lines[other])) is not None:
                yield replace(hit, sure=hit.sure and len(found) == 1)

    def is_value(self, text: str) -> bool:
        """See `Kind.is_value`."""
        found = None if text.endswith(":") else self._normal(text)
        return found is not None and (self._typed or any(char.isdigit() for char in text[found.start : found.end]))

    def may_be_value(self, text: str) -> bool:
        """See `Kind.may_be_value`."""
        return not text.endswith(":") and self._normal(text) is not None

    def same(self, one: str, other: str) -> bool:
        """See `Kind.same`."""
        found = [self._normal(text) for text in (one, other)]
        return found[0] is not None and found[1] is not None and found[0].value == found[1].value

    def _hit(self, label: _Label, start: int, end: int) -> Hit | None:
        found = self._normal(self._reading.text[start:end])
        return self._made(start, found, likeness=label.likeness) if found else None

    def _made(self, start: int, found: Normal, *, likeness: float, told: bool = False) -> Hit:
        return Hit(
            reading=self._index,
            start=start + found.start,
            end=start + found.end,
            value=found.value,
            certainty=found.certainty,
            exact=likeness >= ALIKE,
            sure=likeness >= ALIKE,
            told=told,
            likeness=likeness,
        )

    def _normal(self, text: str) -> Normal | None:
        found = normal(text, self._leaf, self._habits)
        if found is None or not self._typed:
            return found
        signs = len(re.sub(r"\W", "", text))
        return found if len(re.sub(r"\W", "", text[found.start : found.end])) >= FILLS * signs else None

    def _begins_with_digits(self, hit: Hit) -> bool:
        return any(char.isdigit() for char in self._reading.text[hit.start : hit.end].split()[0])

    def _text(self, line: int) -> str:
        start, end = self._reading.lines[line]
        return self._reading.text[start:end]
