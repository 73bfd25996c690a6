"""Decides what a value is, from what labels, tables and the model say of it, and how likely that is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triptych.core.schema_values import Leaf
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence, QuoteMatch
from triptych.workers.reasoning.anchors import anchored
from triptych.workers.reasoning.columns import Filled
from triptych.workers.reasoning.finding import Finding
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.labelled import Hit
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.normalization import normal, spelled_out
from triptych.workers.reasoning.readings import Reading

# How likely each is right alone, for a model whose answers come without a confidence of their own.
LABEL_SURE, LABEL_LIKELY, LABEL_LIKE = 0.9, 0.6, 0.5
MODEL_EXACT, MODEL_FUZZY, MODEL_JUDGED = 0.6, 0.5, 0.4
# Nothing that was read by machines is surer.
MOST = 0.98
_NOT_FOUND = AnswerStatus.ANSWER_STATUS_NOT_FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one value.

    Attributes:
        status: Whether there is one.
        value: Normalized; None if there is none.
        raw: The document's own words.
        confidence: How likely it is right, 0 to 1; None without a value.
        evidence: What it rests on; of a conflict all sides, the likeliest first.
        found_by: "model", "label", "table".
    """

    status: AnswerStatus.ValueType = _NOT_FOUND
    value: Any = None
    raw: str = ""
    confidence: float | None = None
    evidence: Sequence[Evidence] = ()
    found_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A value that somebody found.

    Attributes:
        value: Normalized.
        raw: The document's own words; empty if they are nowhere.
        likely: How likely it is right if nobody else is heard, 0 to 1, recognition included.
        by: Who found it.
        document: Id of the document; empty if nobody knows.
        evidence: Where.
    """

    value: Any
    raw: str
    likely: float
    by: str
    document: str = ""
    evidence: list[Evidence] = field(default_factory=list)


def of_hit(hit: Hit, readings: Sequence[Reading]) -> Candidate:
    """Makes a candidate of a value beside a label."""
    alone = LABEL_SURE if hit.sure else LABEL_LIKELY if hit.exact else LABEL_LIKE
    evidence = spanned(readings[hit.reading], [(hit.start, hit.end)])
    return Candidate(
        value=hit.value,
        raw=" ".join(evidence[0].quote.split()),
        likely=alone * hit.certainty * recognition(evidence),
        by="label",
        document=readings[hit.reading].document_id,
        evidence=evidence,
    )


def of_cell(filled: Filled, readings: Sequence[Reading]) -> Outcome:
    """Makes an outcome of a cell: nobody else is asked for it."""
    reading = readings[filled.reading]
    spans = list(filled.cell.spans)
    if len(spans) == 1:
        # The cell's words within the text are what the cell's own text joins with single blanks.
        words = reading.text[spans[0][0] : spans[0][1]]
        at = words.find(filled.cell.text[filled.value.start : filled.value.end])
        if at >= 0:
            spans = [(spans[0][0] + at, spans[0][0] + at + filled.value.end - filled.value.start)]
    evidence = spanned(reading, spans)
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        value=filled.value.value,
        raw=filled.cell.text[filled.value.start : filled.value.end],
        confidence=filled.confidence * recognition(evidence),
        evidence=evidence,
        found_by=("table",),
    )


def of_finding(finding: Finding, leaf: Leaf, habits: Mapping[str, Habits]) -> Candidate | None:
    """Makes a candidate of the model's answer; None if it has none of this kind, or its words are in no document."""
    located = [one for one in finding.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
    document = located[0].document_id if located else ""
    own = habits.get(document, Habits())
    quote = " ".join(" ".join(one.quote.split()) for one in located)
    judged = leaf.kind in ("boolean", "choice")
    # What the document says counts, not how the model writes it; of several places it is the model who joined them.
    texts = [finding.value, quote] if judged else [quote] if len(located) == 1 else [finding.value]
    found = next((one for text in texts if (one := normal(text, leaf, own) or spelled_out(text, leaf))), None)
    if found is None or not (located or judged):
        return None
    exact = bool(located) and all(one.quote_match == QuoteMatch.QUOTE_MATCH_EXACT for one in located)
    alone = MODEL_EXACT if exact else MODEL_FUZZY if located else MODEL_JUDGED
    likely = finding.confidence if finding.confidence is not None else alone * recognition(located)
    return Candidate(
        value=found.value,
        raw=quote,
        likely=likely * found.certainty,
        by="model",
        document=document,
        evidence=located,
    )


def settled(labels: Sequence[Candidate], hits: Sequence[Hit]) -> bool:
    """Whether the labels alone decide: a sure one in some document, and no other exact one that says another thing."""
    exact = [label for label, hit in zip(labels, hits, strict=True) if hit.exact]
    return any(hit.sure for hit in hits) and (_one(exact) or _contradict(exact))


def weighed(labels: Sequence[Candidate], hits: Sequence[Hit], model: Candidate | None) -> Outcome:
    """Gives what the value is.

    1. Documents whose exact labels say different things contradict each other, whatever the model says; so do documents
       whose sentences about it have different values, if the model gives one of these.
    2. Whoever agrees makes it surer: the likelihood that all of them are wrong is the product.
    3. Labels that only resemble what is wanted are heard where the model says the same, and nowhere else.
    4. Where an exact label and the model disagree, the likelier holds, and is less so the likelier the other is.
    5. Two exact labels of one document with different values, and a model that says neither: a conflict.
    """
    exact = [label for label, hit in zip(labels, hits, strict=True) if hit.exact]
    if _contradict(exact):
        return _conflict(exact)
    told = [label for label, hit in zip(labels, hits, strict=True) if hit.told]
    if model and not exact and _contradict(told) and any(_same(one.value, model.value) for one in told):
        return _conflict(sorted(told, key=lambda one: not _same(one.value, model.value)))
    agreeing = [label for label in labels if model and _same(label.value, model.value)]
    if model and (agreeing or not exact):
        return _given([model, *agreeing[:1]])
    if not exact:
        return Outcome()
    if not _one(exact):
        return _conflict(exact if model is None else [model, *exact])
    if model is None:
        return _given(exact[:1])
    best, other = sorted((max(exact, key=lambda label: label.likely), model), key=lambda one: -one.likely)
    odds = best.likely * (1 - other.likely) / max(1e-6, (1 - best.likely) * other.likely)
    return _given([best], doubted=odds / (1 + odds))


def spanned(reading: Reading, spans: Sequence[tuple[int, int]]) -> list[Evidence]:
    """Gives the evidence of spans of a reading's text, word for word."""
    match = QuoteMatch.QUOTE_MATCH_EXACT
    return [anchored(reading, Span(start=start, end=end, match=match)) for start, end in spans]


def recognition(evidence: Sequence[Evidence]) -> float:
    """Gives the least confidence of recognition under some evidence; 1 where the text is the document's own."""
    return min((one.confidence for one in evidence if one.HasField("confidence")), default=1.0)


def _given(candidates: Sequence[Candidate], *, doubted: float = 1.0) -> Outcome:
    """Makes an outcome of candidates that agree; they are different people, so what they miss is independent."""
    wrong = 1.0
    for candidate in candidates:
        wrong *= 1 - candidate.likely
    first = next((one for one in candidates if one.evidence), candidates[0])
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        value=first.value,
        raw=first.raw,
        confidence=min(MOST, 1 - wrong, doubted),
        evidence=first.evidence,
        found_by=tuple(sorted({one.by for one in candidates})),
    )


def _conflict(candidates: Sequence[Candidate]) -> Outcome:
    sides: list[list[Candidate]] = []
    for candidate in candidates:
        side = next((some for some in sides if _same(some[0].value, candidate.value)), None)
        if side is None:
            sides.append([candidate])
        elif all(one.document != candidate.document for one in side):
            side.append(candidate)
    # sorted() keeps the order of equals: that of the request.
    sides = sorted(sides, key=lambda side: -len(side))
    first = sides[0][0]
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_CONFLICTING,
        value=first.value,
        raw=first.raw,
        confidence=first.likely * len(sides[0]) / sum(map(len, sides)),
        evidence=[one for side in sides for candidate in side for one in candidate.evidence],
        found_by=tuple(sorted({one.by for side in sides for one in side})),
    )


def _one(candidates: Sequence[Candidate]) -> bool:
    return bool(candidates) and all(_same(one.value, candidates[0].value) for one in candidates)


def _contradict(candidates: Sequence[Candidate]) -> bool:
    """Whether two documents, each of one mind, say different things."""
    documents: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        documents.setdefault(candidate.document, []).append(candidate)
    clear = [some for some in documents.values() if _one(some)]
    return len(clear) > 1 and not all(_same(some[0].value, clear[0][0].value) for some in clear)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return "".join(filter(str.isalnum, one.casefold())) == "".join(filter(str.isalnum, other.casefold()))
    return bool(one == other)
