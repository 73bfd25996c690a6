"""Cuts a document's text into the pieces between which a copy may begin and end."""

from __future__ import annotations

import unicodedata

# These join what is written on both sides of them: 1,234.56, 2024-00123, 12:30, o'clock, a@b.org.
_JOINERS = frozenset(".,:;'’/@_-–+&#%=")
# Scripts without spaces between words; there a copy may begin at any character.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # Han radicals, kana, bopomofo
    (0x3190, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def pieces(text: str) -> list[str]:
    """Gives words, single signs and runs of space that make up the text.

    Signs inside a word or a number belong to it, so that no part of an amount is taken for the amount.
    """
    found: list[str] = []
    kinds: list[str] = []
    for index, character in enumerate(text):
        kind = _kind(character)
        if kind == "sign" and character in _JOINERS and _joins(text, index):
            kind = "word"
        # A mark belongs to what it stands on.
        joined = kind == "mark" or (kind in ("word", "space") and kinds and kinds[-1] == kind)
        if joined and found:
            found[-1] += character
        else:
            found.append(character)
            kinds.append("word" if kind == "mark" else kind)
    return found


def _joins(text: str, index: int) -> bool:
    around = text[index - 1 : index], text[index + 1 : index + 2]
    return all(side and _kind(side) in ("word", "mark") for side in around)


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    category = unicodedata.category(character)[0]
    if category == "M":
        return "mark"
    if category not in "LN":
        return "sign"
    code = ord(character)
    return "character" if any(first <= code <= last for first, last in _UNSPACED) else "word"
