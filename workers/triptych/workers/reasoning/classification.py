"""Says of each document which of a few kinds it is, and shows the words that speak for it, if there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue, Evidence, QuoteMatch
from triptych.workers.reasoning.anchors import anchored
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.generation import generate, told
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.prompts import document_text
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage, passages, select
from triptych.workers.reasoning.run import Outcome, Run, total
from triptych.workers.reasoning.terms import content_terms

_MAX_OUTPUT_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What one document is; label "": nothing could be read in it."""

    document_id: str
    label: str = ""
    evidence: Evidence | None = None
    usage: TokenUsage


async def classify(run: Run) -> Outcome:
    """Gives the kind of every document: JSON by document, the same for people, evidence where words speak for it.

    The model is held to the labels. Its choice alone is no evidence: groundedness is the share of the documents in
    which a line has words of the label or its description.

    Raises:
        StageFailed: The model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    # An archive has no words of its own; what is in it has.
    holders = {one.report.parent_document_id for one in run.gathered}
    documents = [one for one in run.gathered if one.readings or one.report.document_id not in holders]
    run.timeline.expect(3 * (len(documents) - len(run.request.documents)))
    kinds = await together(_kind(run, one.report.document_id, one.readings) for one in documents)
    known = [kind for kind in kinds if kind.label]
    usage = total(kind.usage for kind in kinds)
    if not known:
        return Outcome(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND, usage=usage)
    evidence: list[Evidence] = []
    values, lines = [], []
    for kind in known:
        value = AnswerValue(
            json_pointer=_pointer(kind.document_id), status=AnswerStatus.ANSWER_STATUS_ANSWERED, found_by=["model"]
        )
        cited = ""
        if kind.evidence is not None and len(evidence) < run.max_evidence_count:
            kind.evidence.evidence_id = f"e{len(evidence) + 1}"
            kind.evidence.json_pointer = value.json_pointer
            value.evidence_ids.append(kind.evidence.evidence_id)
            evidence.append(kind.evidence)
            cited = f" [{kind.evidence.evidence_id}]"
        values.append(value)
        lines.append(f"{kind.document_id}: {kind.label}{cited}" if len(kinds) > 1 else f"{kind.label}{cited}")
    whole = len(known) == len(kinds)
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED if whole else AnswerStatus.ANSWER_STATUS_PARTIAL,
        text="\n".join(lines),
        output_json=json.dumps({kind.document_id: kind.label for kind in known}, ensure_ascii=False),
        evidence=evidence,
        values=values,
        groundedness=sum(kind.evidence is not None for kind in known) / len(known),
        usage=usage,
    )


async def _kind(run: Run, document_id: str, readings: Sequence[Reading]) -> _Kind:
    options = run.plan.outcome.options
    choices: Mapping[str, str] = options["choices"]
    about = " ".join(f"{label} {text}" for label, text in choices.items())
    async with run.timeline.stage("retrieval"):
        shown = await run.children.compute(
            f"retrieval:{document_id}", lambda: select(passages(readings), about, run.prompt_tokens)
        )
    if not shown:
        return _Kind(document_id=document_id, usage=TokenUsage())
    listed = "\n".join(f"{label}: {text}" for label, text in choices.items())
    spec = told(
        options["prompt"].filled(choices=listed),
        f"{_heading(readings)}{document_text(readings, shown)}\n\nKind:",
        run.request.config.generation,
        max_output_tokens=_MAX_OUTPUT_TOKENS,
    )
    spec.config.output_choices.extend(choices)
    generated = await generate(spec, run.children, run.timeline, run.turns, stage="classify")
    label = generated.text.strip()
    async with run.timeline.stage("verify"):
        evidence = await run.children.compute(
            f"verify:{document_id}", lambda: best_line(readings, shown, f"{label} {choices.get(label, '')}")
        )
    return _Kind(document_id=document_id, label=label, evidence=evidence, usage=generated.usage)


def _pointer(key: str) -> str:
    return f"/{key.replace('~', '~0').replace('/', '~1')}"


def _heading(readings: Sequence[Reading]) -> str:
    """Says what no words of a transcript say: that it was heard."""
    return "The transcript of a recording.\n" if any(mark.end_ms for mark in readings[0].marks) else ""


def best_line(readings: Sequence[Reading], shown: Sequence[Passage], words: str) -> Evidence | None:
    """Gives the line of the passages that has most of these words; None if none has any."""
    wanted = {term.stem for term in content_terms(words)}
    best: tuple[int, Reading, tuple[int, int]] | None = None
    for passage in shown:
        reading = readings[passage.reading]
        for line in sorted(passage.lines):
            start, end = reading.lines[line]
            shared = len(wanted & {term.stem for term in content_terms(reading.text[start:end])})
            if shared and (best is None or shared > best[0]):
                best = (shared, reading, (start, end))
    if best is None:
        return None
    _, reading, (start, end) = best
    return anchored(reading, Span(start=start, end=end, match=QuoteMatch.QUOTE_MATCH_EXACT))
