"""Puts the characters of a PDF page into lines and words, by where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from triptych.workers.media.pdf_characters import Character

Word: TypeAlias = list[Character]

# A character stands on the line of the one before if they share this part of the lower one's height ...
MIN_SHARED = 0.3
# ... and are at most this many heights apart: more is another column or cell. Justified text has blanks of up to 1.
MAX_GAP = 1.2
# ... or this many where PDFium breaks the line.
MAX_BROKEN_GAP = 0.15
END = Character(text="\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Words that stand side by side.

    Attributes:
        words: From the first to the last.
        turn: Degrees clockwise by which the line is turned on the page before /Rotate.
    """

    words: list[Word]
    turn: int


def lines(characters: Iterable[Character]) -> Iterator[Line]:
    """Gives the lines in the file's order.

    PDFium's own line breaks are not enough: it closes up a hyphenated word over two lines, and takes columns or rows of
    a table for one line.

    Args:
        characters: Blanks and line breaks among them.
    """
    words: list[Word] = []
    word: Word = []
    last: Character | None = None
    reach = MAX_GAP
    for character in [*characters, END]:
        if character.text.isspace() and character is not END:
            if word:
                words.append(word)
                word = []
            if character.text in "\r\n":
                reach = MAX_BROKEN_GAP
            continue
        gap = _gap(last, character) if last is not None and character is not END else None
        if gap is None or gap > reach:
            if word:
                words.append(word)
                word = []
            if words:
                yield Line(words=words, turn=words[0][0].turn)
                words = []
        elif not word and reach < MAX_GAP and words:
            # PDFium breaks the line before a raised number, which stands at its word all the same.
            word = words.pop()
        word.append(character)
        last, reach = character, MAX_GAP


def _gap(one: Character, other: Character) -> float | None:
    """Gives how far apart two characters of a line are, in heights, whichever way it is written; None: of two lines."""
    if one.turn != other.turn:
        return None
    (start, end, low, high), (other_start, other_end, other_low, other_high) = _along(one), _along(other)
    height = max(1e-6, min(high - low, other_high - other_low))
    if min(high, other_high) - max(low, other_low) < MIN_SHARED * height:
        return None
    return max(other_start - end, start - other_end) / height


def _along(character: Character) -> tuple[float, float, float, float]:
    """Gives the character's extent along its line and across it."""
    left, bottom, right, top = character.line_box
    return (left, right, bottom, top) if character.turn % 180 == 0 else (bottom, top, left, right)
