"""Finds again, in the recognized words, what an answer claims; what cannot be found is said to be not found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from triptych.v1.reasoning_pb2 import Evidence, QuoteMatch
from triptych.workers.reasoning.anchors import anchored
from triptych.workers.reasoning.claims import Claim, claims, forms, uncitable
from triptych.workers.reasoning.folding import Text
from triptych.workers.reasoning.layout import rows
from triptych.workers.reasoning.matching import Span, exact_spans, fuzzy_spans, negated, restated_spans, value_spans
from triptych.workers.reasoning.proximity import Labels
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.terms import content_terms

# From the surest to the least sure; the first that finds anything decides.
_FINDERS: tuple[Callable[[str, Text], Iterable[Span]], ...] = (
    exact_spans,
    value_spans,
    fuzzy_spans,
    restated_spans,
)
# Words of judgement: found somewhere on a page, they prove nothing.
_VERDICT = re.compile(r"(yes|no|true|false|ja|nein|oui|non|si|s[ií]|nee|both|neither)\b[.,!]?", re.IGNORECASE)
_DENIAL = re.compile(r"(no|false|nein|non|nee)\b[.,!]?", re.IGNORECASE)
# What the model was shown is likelier what it copied from.
_SHOWN_BONUS = 0.5
# A line that has so many of the question's words is what "yes" rests on.
_SUPPORT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """An answer with what it rests on.

    Attributes:
        value: The answer's words.
        text: The same with "[e1]" behind every claim that was found; an "[e1]" of the words themselves is "(e1)".
        evidence: Found claims first, each in the answer's order.
        groundedness: Share of the claims that were found, 0 to 1.
    """

    value: str
    text: str
    evidence: list[Evidence]
    groundedness: float


class Locator:
    """Finds claims in the readings of one request.

    Args:
        readings: Everything that was recognized.
        shown: The passages that the model saw.
        question: The caller's; a value that stands several times is taken next to the question's words.
        check: Called for every claim and reading; what it raises ends the search.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        shown: Sequence[Passage],
        question: str,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._readings = readings
        self._question = question
        self._check = check
        self._texts = [reading.once(_searchable) for reading in readings]
        self._labels: dict[int, Labels] = {}
        self._shown = [frozenset[int]() for _ in readings]
        for passage in shown:
            self._shown[passage.reading] |= passage.lines

    def find(self, claim: str, taken: list[tuple[int, Span]] | None = None) -> Evidence | None:
        """Gives the evidence of a claim; None if its words stand nowhere.

        Args:
            claim: Its words.
            taken: Places that others have already: it gets another, which is added to them.
        """
        if _VERDICT.fullmatch(claim.strip()):
            return None
        wanted = list(forms(claim, self._question))
        for finder in _FINDERS:
            for form in wanted:
                places = [
                    (index, span) for index in range(len(self._texts)) for span in self._spans(finder, form, index)
                ]
                if _says_little(form):
                    places = [(i, span) for i, span in places if self._labels_of(i).near(span.start, span.end)]
                if places:
                    places = [place for place in places if place not in (taken or ())]
                    if not places:
                        return None
                    # max() keeps the first of equals: document order.
                    index, span = max(places, key=lambda place: self._weight(*place))
                    if taken is not None:
                        taken.append((index, span))
                    return anchored(self._readings[index], span)
        return None

    def _spans(self, finder: Callable[[str, Text], Iterable[Span]], form: str, index: int) -> Iterable[Span]:
        self._check()
        return finder(form, self._texts[index])

    def support(self, wanted: Sequence[str], said: str) -> Evidence | None:
        """Gives the line that has most of some words, for an answer that stands nowhere itself: "yes".

        Args:
            wanted: Stems of the question's content words.
            said: The answer.

        Returns:
            None if no line has most of them, or one that has as many says the contrary.
        """
        best, place = _SUPPORT * len(set(wanted)), None
        contrary = 0.0
        denied = (_DENIAL.fullmatch(said.strip()) is not None) != _asks_not(self._question)
        for index, reading in enumerate(self._readings):
            for line in sorted(self._shown[index]):
                start, end = reading.lines[line]
                score = len({term.stem for term in content_terms(reading.text[start:end])} & set(wanted))
                if not score or score < best:
                    continue
                if self._denies(index, line) != denied:
                    contrary = max(contrary, score)
                elif place is None or score > best:
                    best, place = score, (index, start, end)
        if place is None or contrary >= best:
            return None
        index, start, end = place
        return anchored(self._readings[index], Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_EXACT))

    def _denies(self, index: int, line: int) -> bool:
        """Whether a line says no: itself, or a bare "no" in its row."""
        reading = self._readings[index]
        texts = {one: reading.text[slice(*reading.lines[one])] for one in reading.once(_row_mates)[line]}
        return negated(texts[line]) or any(_DENIAL.fullmatch(text.strip()) for text in texts.values())

    def nearness(self, evidence: Evidence) -> float:
        """Gives how near the question's words stand to a place, 0 to 1: in its row, above it, or elsewhere."""
        for index, reading in enumerate(self._readings):
            anchor = evidence.page if evidence.HasField("page") else None
            if reading.document_id != evidence.document_id or anchor is None:
                continue
            if anchor.page_number == reading.page_number:
                return min(1.0, self._labels_of(index).score(anchor.text_start, anchor.text_end))
        return 0.5

    def _weight(self, index: int, span: Span) -> float:
        lines = {mark.line for mark in self._readings[index].marks_between(span.start, span.end)}
        shown = bool(lines) and lines <= self._shown[index]
        return self._labels_of(index).score(span.start, span.end) + _SHOWN_BONUS * shown

    def _labels_of(self, index: int) -> Labels:
        if index not in self._labels:
            self._labels[index] = Labels(self._readings[index], self._texts[index], self._question)
        return self._labels[index]


def ground(answer: str, locator: Locator, *, max_evidence_count: int) -> Grounding:
    """Locates every claim of an answer.

    A claim that is not found becomes evidence without a document or a place: its quote is the answer's words and its
    match `QUOTE_MATCH_NONE`. The text does not cite it.
    """
    parts = claims(answer)
    found: list[tuple[Claim, Evidence]] = []
    missing: list[Evidence] = []
    for claim in parts:
        evidence = locator.find(claim.text)
        if evidence is None:
            missing.append(Evidence(quote=claim.text, quote_match=QuoteMatch.QUOTE_MATCH_NONE))
        else:
            found.append((claim, evidence))
    kept = [evidence for _, evidence in found] + missing
    for number, evidence in enumerate(kept, start=1):
        evidence.evidence_id = f"e{number}"
    text = uncitable(answer)
    for claim, evidence in reversed(found[:max_evidence_count]):
        text = f"{text[: claim.end]} [{evidence.evidence_id}]{text[claim.end :]}"
    return Grounding(
        value=answer,
        text=text,
        evidence=kept[:max_evidence_count],
        groundedness=len(found) / len(parts) if parts else 0.0,
    )


def _searchable(reading: Reading) -> Text:
    return Text(reading.text)


def _asks_not(question: str) -> bool:
    """Whether a question asks for what is not so; "Do not guess." beside it does not count."""
    asked = re.findall(r"[^.!?\n]*\?", question)
    return negated(asked[-1] if asked else question)


def _row_mates(reading: Reading) -> dict[int, tuple[int, ...]]:
    """Gives the lines of the row of every line."""
    return {line: row.lines for row in rows(reading) for line in row.lines}


def _says_little(form: str) -> bool:
    """Whether a form is so short that it stands anywhere by chance: it must then have a label of the question near."""
    signs = re.sub(r"\W", "", form)
    return len(signs) <= 2 or (signs.isdigit() and len(signs) <= 3) or not content_terms(form)
