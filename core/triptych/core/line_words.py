"""The words of a text line with their places: those that the engine gave, otherwise shared out by length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.core.page_geometry import Corners, corners, part
from triptych.core.pieces import width
from triptych.v1.ocr_pb2 import TextLine

# Chinese and Japanese are written without blanks: there each character is a word.
_WITHOUT_BLANKS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
CHARACTER_WITHOUT_BLANKS = re.compile(f"[{_WITHOUT_BLANKS}]")
WORD = re.compile(rf"{CHARACTER_WITHOUT_BLANKS.pattern}|[^\s{_WITHOUT_BLANKS}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWord:
    """One word.

    Attributes:
        corners: Each number from 0 to 1 over the page.
        confidence: 0 to 1; None where there is none.
        spaced: Whether a blank stands between it and the next word of the line.
    """

    text: str
    corners: Corners
    confidence: float | None
    spaced: bool


def words_of(line: TextLine) -> list[LineWord]:
    """Gives the words of a line in the order in which they are read; none if it has no text.

    Args:
        line: Its polygon, and those of its words, have corners (`check_pages`).
    """
    return list(_given(line) if line.words else _shared(line))


def is_right_to_left(text: str) -> bool:
    """Whether a text is of a script that is written from right to left: by its first strong character, as in UAX 9."""
    for char in text:
        strong = unicodedata.bidirectional(char)
        if strong in {"L", "R", "AL"}:
            return strong != "L"
    return False


def _given(line: TextLine) -> Iterator[LineWord]:
    text, at = line.text, 0
    for number, word in enumerate(line.words):
        found = text.find(word.text, at)
        at = found + len(word.text) if found >= 0 else at
        # Where the line does not have the word, one takes it for a word of its own.
        spaced = number + 1 < len(line.words) and (found < 0 or text[at : at + 1].isspace())
        confidence = word.confidence if word.HasField("confidence") else _confidence(line)
        yield LineWord(text=word.text, corners=corners(word.polygon), confidence=confidence, spaced=spaced)


def _shared(line: TextLine) -> Iterator[LineWord]:
    text, whole = line.text.strip(), corners(line.polygon)
    columns, mirrored = max(1, width(text)), is_right_to_left(text)
    start, before = 0, 0
    for match in WORD.finditer(text):
        start += width(text[before : match.start()])
        end = start + width(match[0])
        span = (1 - end / columns, 1 - start / columns) if mirrored else (start / columns, end / columns)
        spaced = text[match.end() : match.end() + 1].isspace()
        yield LineWord(text=match[0], corners=part(whole, *span), confidence=_confidence(line), spaced=spaced)
        start, before = end, match.end()


def _confidence(line: TextLine) -> float | None:
    return line.confidence if line.HasField("confidence") else None
