"""Documents by their names: which one a question means, and where an answer that names one has its support."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from triptych.v1.reasoning_pb2 import Evidence, QuoteMatch
from triptych.workers.reasoning.anchors import anchored
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.terms import content_terms

# "on the driver licence", "in contract.pdf": only what is named so is looked for among the names.
_PHRASE = re.compile(r"\b(?:on|in|from) (?:the |this |that )?([^,?;]+)", re.IGNORECASE)
# Shorter words of a file's name are abbreviations that mean anything.
_MIN_LETTERS = 3
# One letter of seven.
_ALIKE = 0.85


def meant(question: str, documents: Sequence[Sequence[Reading]]) -> Sequence[Reading]:
    """Gives the one document that a question means by a word of its name; nothing if none or several have it.

    Args:
        question: The caller's.
        documents: The readings of each.
    """
    words = {term.stem for match in _PHRASE.finditer(question) for term in content_terms(match[1])}
    found = [readings for readings in documents if words & _words(readings[0].title)]
    return found[0] if len(found) == 1 else ()


def titled(text: str, documents: Sequence[Sequence[Reading]]) -> Sequence[Reading]:
    """Gives the document whose name an answer is, with or without the ending; nothing if it is none."""
    said = text.strip().casefold()
    found = [readings for readings in documents if said in _spellings(readings[0].title)]
    return found[0] if len(found) == 1 else ()


def support(question: str, readings: Sequence[Reading]) -> Evidence | None:
    """Gives the line of a document that has most of a question's words, even misheard; None: none has half of them."""
    wanted = {term.stem for term in content_terms(question)}
    best, most = None, max(0, (len(wanted) - 1) // 2)
    for reading in readings:
        for start, end in reading.lines:
            there = {term.stem for term in content_terms(reading.text[start:end])}
            shared = sum(any(_alike(word, other) for other in there) for word in wanted)
            if shared > most:
                best, most = (reading, Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_EXACT)), shared
    return anchored(*best) if best else None


def _alike(word: str, other: str) -> bool:
    """Whether two stems are the same up to what recognition does to a name."""
    return word == other or Levenshtein.normalized_similarity(word, other, score_cutoff=_ALIKE) > 0


def _words(title: str) -> set[str]:
    stems = (term.stem for term in content_terms(re.sub(r"[_\W]+", " ", _without_ending(title))))
    return {stem for stem in stems if len(stem) >= _MIN_LETTERS}


def _spellings(title: str) -> set[str]:
    return {title.casefold(), _without_ending(title).casefold()}


def _without_ending(title: str) -> str:
    return title.rpartition(".")[0] or title
