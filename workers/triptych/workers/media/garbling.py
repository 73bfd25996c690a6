"""Tells text from what a font without a proper mapping makes of it: letters in the wrong places of the alphabet."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

# Letters in 1,000 of running text: about the mean of English, German, French, Spanish, Italian, Portuguese, Dutch,
# Polish, Czech, Swedish, Danish, Finnish and Turkish, accents removed.
_PER_THOUSAND = {
    "a": 89, "b": 14, "c": 28, "d": 41, "e": 131, "f": 13, "g": 19, "h": 25, "i": 76, "j": 8, "k": 24, "l": 44, "m": 29,
    "n": 72, "o": 65, "p": 23, "q": 4, "r": 63, "s": 60, "t": 64, "u": 39, "v": 17, "w": 10, "x": 2, "y": 13, "z": 14,
}  # fmt: skip
_BITS = {letter: -math.log2(count / 1000) for letter, count in _PER_THOUSAND.items()}
# Fewer letters say nothing: part lists and formulas have strange ones.
MIN_LETTERS = 200
# Bits a letter. The public texts, in eight languages, have 4.1 to 4.7 (a pangram); the same with the alphabet shifted
# by one to 25 places, 4.8 up.
MAX_BITS = 4.75


def is_garbled(text: str) -> bool:
    """Whether a text in Latin letters is no text in any language.

    Args:
        text: All of a page's.
    """
    plain = unicodedata.normalize("NFKD", text).lower()
    letters = Counter(letter for letter in plain if letter in _BITS)
    count = letters.total()
    if count < MIN_LETTERS or 2 * count < sum(character.isalpha() for character in plain):
        return False
    return sum(_BITS[letter] * number for letter, number in letters.items()) / count > MAX_BITS
