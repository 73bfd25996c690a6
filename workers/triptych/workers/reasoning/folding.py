"""Recognized text as a search compares it: without case, typographic variants and white space."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

from triptych.workers.reasoning.terms import Term, terms
from triptych.workers.reasoning.values import Value, values

_VARIANTS = {ord(char): "-" for char in "‐‑‒–—−⸗"} | {ord(char): "'" for char in '’‘‚´`“”„«»"'}
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_NO_BLANKS = re.compile(r"[\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]")


class Folded:
    """A text without case, typographic variants and white space, each sign knowing where it came from.

    Attributes:
        text: The folded signs.
        origin: Index in the source text of each.
        source: The text itself.
    """

    def __init__(self, source: str, *, join_hyphenated: bool = False, join_digits: bool = False) -> None:
        signs: list[str] = []
        self.origin = array("I")
        self.source = source
        skip = _hyphens_at_line_ends(source) if join_hyphenated else frozenset()
        for index, char in enumerate(source):
            if index in skip:
                continue
            folded = fold(char)
            # A blank between digits stays: "1 23" is not "12 3".
            if not (folded or join_digits) and _between_digits(source, index):
                folded = " "
            signs += folded
            for _ in folded:
                self.origin.append(index)
        self.text = "".join(signs)

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """Gives the span of the source that a span of the folded text came from."""
        return self.origin[start], self.origin[end - 1] + 1


class Text:
    """A recognized text with all that a search needs of it, made once each."""

    def __init__(self, source: str) -> None:
        self.source = source

    @cached_property
    def plain(self) -> Folded:
        """As it stands."""
        return Folded(self.source)

    @cached_property
    def joined(self) -> Folded:
        """With words put together that a line end divides."""
        return Folded(self.source, join_hyphenated=True)

    @cached_property
    def digits(self) -> Folded:
        """Without blanks between digits."""
        return Folded(self.source, join_digits=True)

    @cached_property
    def terms(self) -> Sequence[Term]:
        """Its words."""
        return terms(self.source)

    @cached_property
    def by_stem(self) -> Mapping[str, list[Term]]:
        """Its words by their stems, each in order."""
        found: dict[str, list[Term]] = {}
        for term in self.terms:
            found.setdefault(term.stem, []).append(term)
        return found

    @cached_property
    def values(self) -> Sequence[Value]:
        """Its numbers and dates."""
        return list(values(self.source))


@lru_cache(maxsize=65536)
def fold(char: str) -> str:
    """Gives what a sign is compared by; nothing for white space and what cannot be seen.

    Decomposed, so that it does not matter whether an accent is a sign of its own; Hangul is not, because a syllable
    would then begin like another one.
    """
    if char.isspace() or _INVISIBLE.match(char):
        return ""
    if not _HANGUL.match(char):
        char = unicodedata.normalize("NFKD", char.translate(_VARIANTS))
    return "".join(char.casefold().translate(_VARIANTS).split())


def _between_digits(text: str, index: int) -> bool:
    if not text[index].isspace() or index == 0:
        return False
    after = index + 1
    while after < len(text) and text[after].isspace():
        after += 1
    return text[index - 1].isdigit() and after < len(text) and text[after].isdigit()


def _hyphens_at_line_ends(text: str) -> frozenset[int]:
    return frozenset(match.start() for match in re.finditer(r"(?<=[^\W\d_])[-‐\u00ad](?=\s*\n\s*[^\W\d_])", text))


def cuts_word(text: str, at: int) -> bool:
    """Whether a cut of the text at `at` goes through a word or a number."""
    if at <= 0 or at >= len(text):
        return False
    left, right = text[at - 1], text[at]
    if left.isalnum() and right.isalnum():
        return not (_NO_BLANKS.match(left) or _NO_BLANKS.match(right))
    if left.isdigit() and right in ".,":
        return text[at + 1 : at + 2].isdigit()
    if left in ".," and right.isdigit():
        return text[at - 2 : at - 1].isdigit()
    # A minus sign belongs to its number, a hyphen ("INV-100") does not.
    return left in "-−" and right.isdigit() and not text[at - 2 : at - 1].strip()
