"""Finds the fields of a form that a question names: a label, and the value beside or under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.workers.reasoning.layout import RUNNING_TEXT_CHARS, Row, box_of, rows
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.terms import content_terms

# A label must say most of what the question says, and half of it must be the question's. Pairs found with less were
# wrong as often as right, and a small model believes them.
QUESTION_SHARE, LABEL_SHARE = 0.6, 0.5
# A value stands under its label within so many line heights.
LINES_BELOW = 1.5
MAX_FIELDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A label with its value.

    Attributes:
        label: As recognized, without its colon.
        value: As recognized.
        share: Share of the question's words that the label has, 0 to 1.
    """

    label: str
    value: str
    share: float


def asked_fields(readings: Sequence[Reading], shown: Sequence[Passage], question: str) -> list[Field]:
    """Gives the fields of the shown passages whose labels the question names, the best first, at most `MAX_FIELDS`."""
    wanted = {term.stem for term in content_terms(question)}
    found: list[Field] = []
    for index in sorted({passage.reading for passage in shown}):
        if readings[index].quads:
            lines = frozenset(line for passage in shown if passage.reading == index for line in passage.lines)
            found += _fields(readings[index], lines, wanted)
    return sorted(found, key=lambda field: -field.share)[:MAX_FIELDS]


def _fields(reading: Reading, lines: frozenset[int], wanted: set[str]) -> list[Field]:
    found: list[Field] = []
    page = rows(reading)
    for row, below in zip(page, [*page[1:], None], strict=True):
        for place, line in enumerate(row.lines):
            text = _text(reading, line)
            share = _share(text, wanted) if line in lines else 0.0
            value = _value(reading, row, place, below) if share else ""
            if value:
                found.append(Field(label=text.rstrip(" :"), value=value, share=share))
    return found


def _share(label: str, wanted: set[str]) -> float:
    """Gives the share of the question that a line names; 0 if it is no label of it."""
    words = {term.stem for term in content_terms(label) if not term.stem.isdigit()}
    named = words & wanted
    if not named or len(label) >= RUNNING_TEXT_CHARS or len(named) < LABEL_SHARE * len(words):
        return 0.0
    share = len(named) / len(wanted)
    return share if share >= QUESTION_SHARE else 0.0


def _value(reading: Reading, row: Row, place: int, below: Row | None) -> str:
    """Gives the value of the label at a place of its row; empty if none or two come into question."""
    label = _text(reading, row.lines[place])
    follower = row.lines[place + 1] if place + 1 < len(row.lines) else None
    right = _text(reading, follower) if follower is not None else ""
    under = _under(reading, row.lines[place], follower, below)
    colon = label.endswith(":")
    # Most values have digits and most labels none; without them only a colon tells the two apart.
    if _may_be_value(right) and _may_be_value(under) and not colon:
        return ""
    if _may_be_value(right) or (colon and len(row.lines) == 2 and right and not right.endswith(":")):
        return right
    if _may_be_value(under) or (colon and not right and not under.endswith(":")):
        return under
    return ""


def _under(reading: Reading, line: int, follower: int | None, below: Row | None) -> str:
    """Gives the first cell of the next row that stands under a line: left of where the line's neighbour begins."""
    box = box_of(reading.quads[line])
    height = box.bottom - box.top
    if below is None or below.top - box.bottom >= LINES_BELOW * height:
        return ""
    end = box_of(reading.quads[follower]).left if follower is not None else float("inf")
    for other in below.lines:
        cell = box_of(reading.quads[other])
        if box.left - height <= cell.left and (cell.left + cell.right) / 2 < end:
            return _text(reading, other)
    return ""


def _may_be_value(text: str) -> bool:
    return any(char.isdigit() for char in text) and not text.endswith(":")


def _text(reading: Reading, line: int) -> str:
    start, end = reading.lines[line]
    return reading.text[start:end].strip()
