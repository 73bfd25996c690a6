"""Finds the value of a label by where it stands: behind it in its line, beside it or under it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.layout import RUNNING_TEXT_CHARS, Row, box_of, placed
from triptych.workers.reasoning.normalization import kind_of, normal
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.terms import content_terms
from triptych.workers.reasoning.value_names import Wanted
from triptych.workers.reasoning.value_readers import FILLS, Normal
from triptych.workers.reasoning.vocabulary import own_words, words_of

# Least share of common words (Jaccard) of what is asked for and what labels it.
LIKE = 0.5
# A label in other words than what is wanted: all that is asked for, unless another one has the very words.
ALIKE = 0.95
_MAX_LABEL_WORDS = 8
# A value stands under its label within so many line heights.
LINES_BELOW = 1.5
# So many rows below a value are looked at for whether it is the first of a column.
_COLUMN_ROWS = 3
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


def labelled(
    readings: Sequence[Reading], pages: Sequence[Sequence[Row]], habits: Mapping[str, Habits], wanted: Wanted
) -> list[Hit]:
    """Gives the values beside labels of what is wanted, in document order.

    Args:
        readings: Everything that was recognized.
        pages: Rows of every reading.
        habits: Of every document, by id.
        wanted: A value, not a list.
    """
    found: list[Hit] = []
    if isinstance(wanted.leaf, Leaf) and kind_of(wanted.leaf) != "boolean":
        for index, (reading, page) in enumerate(zip(readings, pages, strict=True)):
            found += _Page(index, reading, habits[reading.document_id], wanted, wanted.leaf).hits(page)
    named = {readings[hit.reading].document_id for hit in found if hit.exact and hit.likeness == 1}
    # "Subtotal" may be what is called untaxed, but not where something else is called so.
    return [
        replace(hit, exact=False, sure=False)
        if hit.likeness < 1 and readings[hit.reading].document_id in named
        else hit
        for hit in found
    ]


def likeness(text: str, wanted: Wanted) -> float:
    """Gives how well a label names what is wanted, 0 to 1.

    The share of words that it has in common with the likest of the names, those that are alike being one; 1 if its own
    words are all of a name and nothing else, `ALIKE` at most if only words that are alike are.
    """
    words = words_of(text)
    like = max((len(words & names) / len(words | names) for names in wanted.labels), default=0.0) if words else 0.0
    return ALIKE if like == 1 and own_words(text) not in wanted.own else like


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


class _Page:
    def __init__(self, index: int, reading: Reading, habits: Habits, wanted: Wanted, leaf: Leaf) -> None:
        self._index = index
        self._reading = reading
        self._habits = habits
        self._wanted = wanted
        self._leaf = leaf
        self._typed = kind_of(leaf) != "string"
        self._placed = placed(reading)

    def hits(self, page: Sequence[Row]) -> Iterator[Hit]:
        names = frozenset().union(*self._wanted.labels)
        for at, row in enumerate(page):
            for place, line in enumerate(row.lines):
                text = self._text(line)
                if names & words_of(text):
                    found = list(self._values(text, row, place, page[at + 1 : at + 2 + _COLUMN_ROWS]))
                    yield from found or self._told(line)

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
        head, colon, tail = text.partition(":")
        if colon and tail[:1].strip() == "":
            like = likeness(head, self._wanted)
            return _Label(likeness=like, colon=True, rest=len(head) + 1) if like >= LIKE else None
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

    def _values(self, text: str, row: Row, place: int, below: Sequence[Row]) -> Iterator[Hit]:
        label, line = self._label(text), row.lines[place]
        if label is None:
            return
        start, end = self._reading.lines[line]
        if self._reading.text[start + label.rest : end].strip(" .:"):
            hit = self._hit(label, start + label.rest, end)
            if hit is not None and (label.colon or self._typed or self._digits(hit, first_word=True)):
                yield hit
            return
        follower = row.lines[place + 1] if place + 1 < len(row.lines) else None
        right, lower = self._of_line(label, follower), self._lower(label, line, follower, below)
        if right and lower and not label.colon and right.value != lower.value:
            # Two that may be it, and nothing to tell which.
            right, lower = (replace(hit, sure=False) for hit in (right, lower))
            yield from (right, lower)
        elif hit := right or lower:
            yield hit

    def _lower(self, label: _Label, line: int, follower: int | None, below: Sequence[Row]) -> Hit | None:
        """Gives the value under a label; none if there are several below each other: a column of a table."""
        if not (self._placed and below):
            return None
        first = self._under(line, follower, below[0])
        return None if first is None or self._goes_on(label, first, below) else self._of_line(label, first)

    def _goes_on(self, label: _Label, first: int, below: Sequence[Row]) -> bool:
        """Whether another value of the kind stands below the first one, in the same column."""
        box = box_of(self._reading.quads[first])
        for above, row in pairwise(below):
            if row.top - above.bottom >= LINES_BELOW * (box.bottom - box.top):
                return False
            for line in row.lines:
                other = box_of(self._reading.quads[line])
                if other.left < box.right and box.left < other.right and self._of_line(label, line):
                    return True
        return False

    def _under(self, line: int, follower: int | None, below: Row) -> int | None:
        """Gives the first line of the next row that stands under a line: left of where the line's neighbour begins."""
        box = box_of(self._reading.quads[line])
        height = box.bottom - box.top
        if below.top - box.bottom >= LINES_BELOW * height:
            return None
        end = box_of(self._reading.quads[follower]).left if follower is not None else float("inf")
        for other in below.lines:
            cell = box_of(self._reading.quads[other])
            if box.left - height <= cell.left and (cell.left + cell.right) / 2 < end:
                return other
        return None

    def _of_line(self, label: _Label, line: int | None) -> Hit | None:
        if line is None or self._text(line).endswith(":"):
            return None
        start, end = self._reading.lines[line]
        hit = self._hit(label, start, end)
        # Most strings with digits are values, and most labels have none; without them only a colon tells the two apart.
        return hit if hit and (self._typed or label.colon or self._digits(hit)) else None

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

    def _digits(self, hit: Hit, *, first_word: bool = False) -> bool:
        words = self._reading.text[hit.start : hit.end]
        return any(char.isdigit() for char in (words.split()[0] if first_word else words))

    def _text(self, line: int) -> str:
        start, end = self._reading.lines[line]
        return self._reading.text[start:end]
