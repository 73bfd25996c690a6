"""Compares the text of a page with what stands on it, by its bag of words: reading order does not count.

Words are compared without case and without punctuation at their edges; hyphens at ends of lines are closed up. Every
Chinese, Japanese, Korean or Thai character is a word of its own.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from accuracy_run.words import plain, simplified

# Written without blanks: there they say nothing.
WITHOUT_BLANKS = frozenset({"zh", "zh-Hant", "ja", "th"})
# CJK from the radicals to the unified ideographs, their later blocks, Hangul, Thai.
_ALONE = re.compile("([\u2e80-\u9fff\uac00-\ud7a3\u0e00-\u0e7f\uf900-\ufaff\U00020000-\U0003ffff])")
_BEFORE_WORD = re.compile(r"^[^\w$€£%#+-]+")
_AFTER_WORD = re.compile(r'[^\w%"]+$')
_HYPHEN_AT_END = re.compile(r"(\w)-\s*\n\s*(\w)")
# Old German prints write the umlaut as a small e above.
_E_ABOVE = re.compile("([aouAOU])\u0364")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How many words two bags share.

    Attributes:
        shared: Words in both, each as often as in the bag that has fewer of it.
        true: Words that stand on the page.
        found: Words that were read.
    """

    shared: int
    true: int
    found: int

    @property
    def recall(self) -> float:
        """Share of the true words that was read."""
        return self.shared / max(1, self.true)

    @property
    def precision(self) -> float:
        """Share of the words read that are true."""
        return self.shared / max(1, self.found)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.recall * self.precision / (self.recall + self.precision) if self.shared else 0.0


def overlap(true: str, found: str, language: str) -> Overlap:
    """Compares two texts.

    Args:
        true: What stands on the page.
        found: What was read.
        language: BCP-47 tag; may be empty.
    """
    bags = [Counter(_words(_comparable(text, language))) for text in (true, found)]
    return Overlap(shared=(bags[0] & bags[1]).total(), true=bags[0].total(), found=bags[1].total())


def normalised(text: str) -> str:
    """Gives a text without case, line breaks, and signs that nobody tells apart."""
    text = unicodedata.normalize("NFC", _E_ABOVE.sub("\\1\u0308", plain(text)))
    return " ".join(_HYPHEN_AT_END.sub(r"\1\2", text).split()).casefold()


def _comparable(text: str, language: str) -> str:
    text = normalised(text)
    if language.startswith("zh") and language != "zh-Hant":
        text = simplified(text)
    return text.replace(" ", "") if language in WITHOUT_BLANKS else text


def _words(text: str) -> list[str]:
    parts = _ALONE.sub(r" \1 ", normalised(text)).split()
    words = [_AFTER_WORD.sub("", _BEFORE_WORD.sub("", part)) or part for part in parts]
    return [word for word in words if re.search(r"\w", word)]
