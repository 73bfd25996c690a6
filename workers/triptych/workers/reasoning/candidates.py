"""What labels, tables and the model say a value is, each with how likely it is right alone."""

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
from triptych.workers.reasoning.value_readers import Normal

# How likely each is right alone, for a model whose answers come without a confidence of their own.
LABEL_SURE, LABEL_LIKELY, LABEL_LIKE = 0.9, 0.6, 0.5
MODEL_EXACT, MODEL_FUZZY, MODEL_JUDGED = 0.6, 0.5, 0.4
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


def of_finding(
    finding: Finding, leaf: Leaf, habits: Mapping[str, Habits], readings: Sequence[Reading]
) -> Candidate | None:
    """Makes a candidate of the model's answer; None if it has none of this kind, or its words are in no document."""
    located = [one for one in finding.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
    document = located[0].document_id if located else ""
    own = habits.get(document, Habits())
    judged = leaf.kind in ("boolean", "choice")
    if not (located or judged):
        return None
    # What the document says counts, not how the model writes it; of several places it is the model who joined them.
    text = located[0].quote if len(located) == 1 and not judged else finding.value
    found = normal(text, leaf, own) or spelled_out(text, leaf)
    if found is None:
        return None
    exact = bool(located) and all(one.quote_match == QuoteMatch.QUOTE_MATCH_EXACT for one in located)
    if len(located) == 1 and not judged:
        located = [_narrowed(located[0], found, readings)]
    alone = MODEL_EXACT if exact else MODEL_FUZZY if located else MODEL_JUDGED
    likely = finding.confidence if finding.confidence is not None else alone * recognition(located)
    return Candidate(
        value=found.value,
        raw=" ".join(" ".join(one.quote.split()) for one in located),
        likely=likely * found.certainty,
        by="model",
        document=document,
        evidence=located,
    )


def _narrowed(evidence: Evidence, found: Normal, readings: Sequence[Reading]) -> Evidence:
    """Gives the evidence of the value alone, without what stands around it in the quote."""
    page = evidence.page
    if found.end - found.start == len(evidence.quote) or not evidence.HasField("page"):
        return evidence
    for reading in readings:
        if (reading.document_id, reading.page_number) == (evidence.document_id, page.page_number):
            span = (page.text_start + found.start, page.text_start + found.end)
            return anchored(reading, Span(start=span[0], end=span[1], match=evidence.quote_match))
    return evidence


def spanned(reading: Reading, spans: Sequence[tuple[int, int]]) -> list[Evidence]:
    """Gives the evidence of spans of a reading's text, word for word."""
    match = QuoteMatch.QUOTE_MATCH_EXACT
    return [anchored(reading, Span(start=start, end=end, match=match)) for start, end in spans]


def recognition(evidence: Sequence[Evidence]) -> float:
    """Gives the least confidence of recognition under some evidence; 1 where the text is the document's own."""
    return min((one.confidence for one in evidence if one.HasField("confidence")), default=1.0)
