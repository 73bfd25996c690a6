"""The order in which the characters of a word stand on the page, from left to right.

A PDF has its text as it stands there; readers find out from the characters themselves in which order to read them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby

from triptych.core.line_words import is_right_to_left

_ZERO_WIDTH_JOINER = "\u200d"
# Latin ligatures, and the shapes of Arabic letters: whoever searches types the letters.
_SHAPES = ((0xFB00, 0xFB06), (0xFB13, 0xFB17), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC))


def visual(word: str) -> list[str]:
    """Gives the letters of a word, each with its marks, from left to right.

    A word whose first letter is of a script from right to left is turned round, but for numbers and letters of other
    scripts in it: UAX 9 for a single word.
    """
    letters = list(clusters(word))
    if not is_right_to_left(word):
        return letters
    runs = [list(run) for _, run in groupby(letters, key=_keeps_order)]
    # Readers turn round what a code stands for as well: the marks come first in it.
    return [
        letter if _keeps_order(letter) else letter[::-1]
        for run in reversed(runs)
        for letter in (run if _keeps_order(run[0]) else reversed(run))
    ]


def clusters(text: str) -> Iterator[str]:
    """Yields the letters of a text with their marks; shapes of letters as the letters. Controls are left out."""
    cluster = ""
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cs"}:
            continue
        plain = unicodedata.normalize("NFKC", char) if _is_shape(char) else char
        joins = unicodedata.category(char) in {"Mn", "Me", "Mc", "Cf"} or cluster.endswith(_ZERO_WIDTH_JOINER)
        if cluster and not joins:
            yield cluster
            cluster = ""
        cluster += plain
    if cluster:
        yield cluster


def _keeps_order(letter: str) -> bool:
    return unicodedata.bidirectional(letter[0]) in {"L", "EN", "AN"}


def _is_shape(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _SHAPES)
