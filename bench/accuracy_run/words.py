"""Compares what was heard with what was said, as evaluations of speech recognition do.

Texts are normalised first: English by Whisper's own normaliser (Radford et al. 2022, appendix C: spelling, numbers,
contractions), others by case, punctuation and blanks. Languages without blanks are compared by characters.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from rapidfuzz.distance import Levenshtein
from whisper_normalizer.english import EnglishTextNormalizer

BY_CHARACTER = frozenset({"zh", "zh-Hant", "ja", "th"})
# Signs that look alike, and those that nobody sees.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad\u0640]")
_ALIKE = str.maketrans(
    dict.fromkeys("’‘‚´`", "'")
    | dict.fromkeys("“”„«»", '"')
    | dict.fromkeys("–—‐‑−⸗", "-")
    | {"…": "...", "\u00a0": " ", "ſ": "s", "ꝛ": "r"}
)
_BRACKETS = re.compile(r"\[[^\]]*\]|<[^>]*>")
_english = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How far what was heard is from what was said.

    Attributes:
        errors: Insertions, deletions and substitutions, the fewest that explain it.
        length: Words (or characters) that were said.
        by_character: Whether these are characters.
    """

    errors: int
    length: int
    by_character: bool

    @property
    def rate(self) -> float:
        """Errors per word."""
        return self.errors / max(1, self.length)


def compare(references: Iterable[str], heard: str, language: str) -> Comparison:
    """Compares with the reference that fits best.

    Args:
        references: What was said; where several spellings are right, all of them.
        heard: What was heard.
        language: BCP-47 tag.
    """
    return min((_compare(said, heard, language) for said in references), key=lambda found: found.rate)


def word_count(text: str) -> int:
    """Gives how many words a text has, whatever its language."""
    return len(normalised(text, "").split())


def normalised(text: str, language: str) -> str:
    """Gives a text without what makes no difference in speech."""
    text = plain(text)
    if language == "en":
        return str(_english(text))
    text = _BRACKETS.sub(" ", text).lower().replace("ё", "е")
    if language == "zh":
        text = simplified(text)
    # Punctuation, symbols, blanks and controls.
    return " ".join("".join(" " if unicodedata.category(char)[0] in "PSZC" else char for char in text).split())


def plain(text: str) -> str:
    """Gives a text with signs that look alike made one, and without those that nobody sees."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text.translate(_ALIKE)).translate(_ALIKE))


def _compare(said: str, heard: str, language: str) -> Comparison:
    pair: list[Sequence[str]] = [normalised(text, language).split() for text in (said, heard)]
    by_character = language in BY_CHARACTER
    if by_character:
        pair = ["".join(words) for words in pair]
    return Comparison(errors=Levenshtein.distance(*pair), length=len(pair[0]), by_character=by_character)


def simplified(text: str) -> str:
    """Gives a Chinese text in simple characters, if zhconv is installed."""
    converter = _converter()
    return converter.convert(text, "zh-cn") if converter else text


@cache
def _converter():
    try:
        import zhconv
    except ImportError:
        print("zhconv is not installed: traditional characters count as wrong where simple ones stand", file=sys.stderr)
        return None
    return zhconv
