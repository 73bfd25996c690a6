"""Words as the search sees them: folded, stemmed lightly, numbers in one spelling."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_TERM = re.compile(r"\d+(?:[.,'’]\d+)*|[^\W\d_]+(?:['’](?:s|t)\b)?|[$€£¥₹%]")
_CJK = re.compile(r"[\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
NEGATIONS = frozenset({"not", "no", "never", "none", "without", "cannot", "kein", "nicht", "pas", "non", "niet", "nao"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One word of a text.

    Attributes:
        stem: What it is compared by.
        start: Start in the text, in code points.
        end: End in the text, exclusive.
    """

    stem: str
    start: int
    end: int


def terms(text: str) -> list[Term]:
    """Cuts a text into terms; every character of a script without blanks is one."""
    found: list[Term] = []
    for match in _TERM.finditer(text):
        if _CJK.search(match[0]):
            found += [
                Term(stem=char, start=match.start() + i, end=match.start() + i + 1) for i, char in enumerate(match[0])
            ]
        else:
            found.append(Term(stem=stem(match[0]), start=match.start(), end=match.end()))
    return found


def content_terms(text: str) -> list[Term]:
    """Gives the terms that carry a subject."""
    return [term for term in terms(text) if term.stem not in _STOP]


def stem(word: str) -> str:
    """Folds case and accents, drops the commonest English endings, joins the groups of a number.

    A light form of Porter's stemmer: wrong joins cost more here than missed ones.
    """
    word = word.casefold()
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    if word[0].isdigit():
        return re.sub(r"(?<=\d)[,'’](?=\d{3}(?!\d))", "", word)
    word = re.sub(r"['’][st]$", "", word)
    for ending, instead, shortest in (("ies", "y", 5), ("ing", "", 6), ("ed", "", 5), ("es", "", 5), ("s", "", 4)):
        if word.endswith(ending) and len(word) >= shortest and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


# Words that carry no subject: they neither rank a passage nor label a value.
_STOP_WORDS = (
    "a", "about", "according", "all", "an", "and", "any", "are", "as", "at", "be", "been", "both", "by", "can",
    "could", "das", "de", "den", "der", "des", "did", "die", "do", "does", "du", "each", "el", "en", "est",
    "et", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "in", "into", "is", "ist", "it",
    "its", "la", "las", "le", "les", "list", "los", "many", "me", "much", "my", "of", "on", "or", "our",
    "say", "says", "she", "so", "tell", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "un", "una", "und", "used", "was", "we", "were", "what", "when", "where",
    "which", "who", "whom", "whose", "why", "will", "with", "would", "y", "you", "your",
    "combien", "cual", "cuanto", "een", "er", "het", "hoch", "hoeveel", "que", "quel", "quelle", "viel", "viele",
    "wann", "wat", "welche", "welcher", "welk", "welke", "wer", "wie", "wieviel", "zijn",
)  # fmt: skip
_STOP = frozenset(stem(word) for word in _STOP_WORDS)
