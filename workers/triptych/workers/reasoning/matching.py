"""Finds a quote in recognized text: as it stands, as the same value, or with recognition-like differences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from triptych.v1.reasoning_pb2 import QuoteMatch
from triptych.workers.reasoning.folding import Folded, Text, cuts_word
from triptych.workers.reasoning.terms import NEGATIONS, content_terms, terms
from triptych.workers.reasoning.values import only_value

# Signs that a recognizer takes for one another; every other change of a digit is another number.
_LOOKALIKES = ("0oqd", "1li|!", "2z", "5s", "6bg", "8b", "9gq")
_SIGNS_PER_EDIT = 6
_LONG_NUMBER_DIGITS = 7
_MAX_FUZZY_PER_READING = 4
_NUMBER = re.compile(r"\bno\b\.?\s*[:#]?\s*(?=\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a quote stands in a text, and how well it fits.

    Attributes:
        start: In code points.
        end: Exclusive.
        match: `QUOTE_MATCH_EXACT` or `QUOTE_MATCH_FUZZY`.
    """

    start: int
    end: int
    match: QuoteMatch.ValueType


def exact_spans(quote: str, text: Text) -> Iterator[Span]:
    """Yields where a quote stands in a text, up to white space, case and typographic variants, as whole words."""
    forms = [(Folded(quote).text, text.plain), (Folded(quote).text, text.joined)]
    if sum(char.isdigit() for char in quote) >= _LONG_NUMBER_DIGITS:
        # A telephone or account number is grouped at will, and too long to come together by chance.
        forms.append((Folded(quote, join_digits=True).text, text.digits))
    for wanted, folded in forms:
        spans = list(_find(wanted, folded))
        yield from spans
        if spans:
            return


def _find(wanted: str, text: Folded) -> Iterator[Span]:
    found = text.text.find(wanted) if wanted else -1
    while found >= 0:
        start, end = text.source_span(found, found + len(wanted))
        accent = any(unicodedata.combining(char) for char in text.text[found + len(wanted) : found + len(wanted) + 1])
        if not (accent or cuts_word(text.source, start) or cuts_word(text.source, end)):
            yield Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_EXACT)
        found = text.text.find(wanted, found + 1)


def value_spans(quote: str, text: Text) -> Iterator[Span]:
    """Yields where the number or date that a quote consists of stands in a text in another spelling."""
    wanted = only_value(quote)
    for value in text.values if wanted else ():
        if wanted is not None and value.same_as(wanted):
            yield Span(start=value.start, end=value.end, match=QuoteMatch.QUOTE_MATCH_FUZZY)


def fuzzy_spans(quote: str, text: Text) -> Iterator[Span]:
    """Yields where a quote stands in a text with the differences that recognition makes, the best first.

    At most one edit in six signs, no two in a row (that is another word), none that makes another number.
    """
    wanted = Folded(quote).text
    if len(wanted) < _SIGNS_PER_EDIT:
        return
    hay = text.plain.text
    for _ in range(_MAX_FUZZY_PER_READING):
        found = fuzz.partial_ratio_alignment(wanted, hay, score_cutoff=60) if len(hay) >= len(wanted) else None
        if found is None:
            return
        start, end = _to_words(text.source, *text.plain.source_span(found.dest_start, found.dest_end))
        if _recognition_like(wanted, Folded(text.source[start:end]).text):
            yield Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_FUZZY)
        elif found.score < 80:
            return
        hay = hay[: found.dest_start] + "\0" * (found.dest_end - found.dest_start) + hay[found.dest_end :]


def restated_spans(claim: str, text: Text) -> Iterator[Span]:
    """Yields where a text has all content words of a claim in the claim's order and close together.

    Only function words and endings differ; a negation on one side alone is a contradiction, not a match.
    """
    wanted = [term.stem for term in content_terms(claim)]
    denied = negated(claim)
    if len(wanted) < 3 or not _may_have(wanted, text):
        return
    found = text.terms
    stems = [term.stem for term in found]
    for first in (i for i, stem in enumerate(stems) if stem == wanted[0]):
        at = first
        for stem in wanted[1:]:
            window = stems[at + 1 : at + 5]
            if stem not in window:
                break
            at += 1 + window.index(stem)
        else:
            start, end = found[first].start, found[at].end
            if negated(text.source[start:end]) == denied:
                yield Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_FUZZY)


def _may_have(stems: Sequence[str], text: Text) -> bool:
    """Whether a text may have these words: a stem but for its last sign begins a word ("company", "companies").

    Most pages are told apart by this without being cut into words. Accents stand between a folded text's letters.
    """
    plain = text.plain.text
    return not plain.isascii() or all(stem[:-1] in plain for stem in stems if stem.isascii() and stem.isalpha())


def negated(text: str) -> bool:
    """Whether a text says that something is not so; "No. 12" is a number."""
    text = _NUMBER.sub(" ", text)
    return any(term.stem in NEGATIONS or term.stem.endswith("n't") for term in terms(text)) or "n't" in text


def _to_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Moves a span's ends to the nearest ends of words, so that a window cut one sign off becomes whole."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    first = min(starts, key=lambda i: abs(i - start))
    last = min(ends, key=lambda i: abs(i - end))
    return (first, last) if first < last else (start, end)


def _recognition_like(wanted: str, found: str) -> bool:
    wanted, found = (text.replace("rn", "m").replace("vv", "w") for text in (wanted, found))
    edits = Levenshtein.editops(wanted, found)
    if len(edits) > max(1, len(wanted) // 3):
        return False
    changed: list[int] = []
    for edit in edits:
        left = wanted[edit.src_pos] if edit.tag != "insert" else ""
        right = found[edit.dest_pos] if edit.tag != "delete" else ""
        if _lookalikes(left, right):
            continue
        if any(char.isdigit() for char in left + right):
            return False
        sign = not (left + right).isalnum()
        if sign and (_beside_digit(wanted, edit.src_pos) or _beside_digit(found, edit.dest_pos)):
            return False
        if changed and edit.src_pos - changed[-1] <= 1 and not sign:
            return False
        changed.append(edit.src_pos)
    return len(changed) <= max(1, len(wanted) // _SIGNS_PER_EDIT)


def _beside_digit(text: str, at: int) -> bool:
    """Whether a sign at `at` may belong to a number: a point, a minus, a currency."""
    return any(char.isdigit() for char in text[max(0, at - 1) : at + 2]) and at < len(text)


def _lookalikes(left: str, right: str) -> bool:
    """Whether a recognizer takes a letter for a digit; two different digits are two numbers."""
    if not (left and right) or left.isdigit() == right.isdigit():
        return False
    return any(left in group and right in group for group in _LOOKALIKES)
