"""Says whether words of a form name what a question asks for: the same word, a short form of it, or its translation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from triptych.workers.reasoning.terms import content_terms, stem
from triptych.workers.reasoning.vocabulary import meanings

_BOX_NUMBER = re.compile(r"\b\d{1,2}[a-z]?(?=[A-Z])")
# And before a blank: "17 WGT", "d Control number".
_BOX = re.compile(r"^\s*(?:\d{1,2}[a-z]?|[a-z])[.)]?\s+(?=[A-Z])")
# A word this long may be misread or spelled otherwise in one letter.
_LONG = 6


def named(label: str, wanted: Sequence[str], question: str) -> frozenset[str]:
    """Gives which of the wanted stems a label names.

    Args:
        label: As recognized.
        wanted: Stems of the question's content words.
        question: The question; initials of words next to each other are found in it.
    """
    found: set[str] = set()
    initials = _initials(question)
    for word in label_words(label):
        root = stem(word)
        of_word = _senses(root)
        for other in wanted:
            if of_word & _senses(other) or _short_form(word, other) or _respelled(root, other):
                found.add(other)
        if word.isupper():
            found |= initials.get(word.casefold(), frozenset()) & set(wanted)
    return frozenset(found)


def share_named(label: str, wanted: Sequence[str], question: str, neutral: frozenset[str]) -> float:
    """Gives how much of what a label says is wanted, 0 to 1.

    Args:
        label: As recognized.
        wanted: See `named`.
        question: See `named`.
        neutral: Stems that say nothing of their own here: "date" before a date.
    """
    asked = frozenset().union(*(_senses(word) for word in wanted))
    shares = []
    for word in content_label_words(label):
        says = meanings(stem(word))
        if stem(word) in neutral or (says and says <= neutral):
            continue
        # A compound says several things: "Vervaldatum" is no "Factuurdatum".
        own = says - neutral
        shares.append(len(own & asked) / len(own) if own else float(bool(named(word, wanted, question))))
    return sum(shares) / len(shares) if shares else float(bool(named(label, wanted, question)))


def label_words(label: str) -> list[str]:
    """Gives the words of a label, without numbers; "#" is one."""
    # Cards and tax forms put the number of a box right before its label: 4dLIC#.
    label = _BOX.sub("", _BOX_NUMBER.sub(" ", label)).replace("№", "#")
    return re.findall(r"[^\W\d_]+|#", label)


def content_label_words(label: str) -> list[str]:
    """Gives those that carry a subject."""
    return [word for word in label_words(label) if word == "#" or content_terms(word)]


def _senses(word: str) -> frozenset[str]:
    """Gives the stems that a word stands for: its own, and those of its translation."""
    return frozenset({word}) | meanings(word)


def _short_form(word: str, other: str) -> bool:
    """Whether a word of a form is a short form of a stem: LIC, Exp., WGT, qty."""
    if word == "#":
        return other == "number"
    short = word.casefold()
    if len(short) < 3 or len(short) >= len(other):
        return False
    if other.startswith(short):
        return True
    # Without its vowels.
    return len(short) <= 4 and short[0] == other[0] and not re.search("[aeiou]", short) and _in_order(short, other)


def _respelled(root: str, other: str) -> bool:
    if min(len(root), len(other)) < _LONG:
        return False
    return Levenshtein.distance(root, other, score_cutoff=1) <= 1


def _in_order(short: str, word: str) -> bool:
    letters = iter(word)
    return all(letter in letters for letter in short)


@lru_cache(maxsize=64)
def _initials(question: str) -> dict[str, frozenset[str]]:
    """Gives, by initials, the stems of runs of two to four words of a question: "dob", "po"."""
    words: list[str] = re.findall(r"[^\W\d_]+", question)
    found: dict[str, frozenset[str]] = {}
    for start in range(len(words)):
        for end in range(start + 2, min(len(words), start + 4) + 1):
            run: Iterable[str] = words[start:end]
            found["".join(word[0] for word in run).casefold()] = frozenset(stem(word) for word in run)
    return found
