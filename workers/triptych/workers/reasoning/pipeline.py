"""Answers a question over documents, or extracts what a schema asks for: recognize, ask the model, find its words."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from triptych.core.schema_values import asks_for_rows, leaves, wanted_values
from triptych.v1.job_pb2 import JobEvent
from triptych.v1.ocr_pb2 import OcrMode
from triptych.v1.reasoning_pb2 import Answer, ReasoningResult, ReasoningSpec
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.extraction import Extraction, extract
from triptych.workers.reasoning.finding import Finder, Finding
from triptych.workers.reasoning.ingest import gather
from triptych.workers.reasoning.request import DEFAULT_EVIDENCE, checked
from triptych.workers.reasoning.retrieval import passages
from triptych.workers.reasoning.timeline import Timeline

# What a model of 0.5 billion parameters reads in about two seconds on a CPU, and still follows.
PROMPT_TOKENS = 1200


async def answer(
    spec: ReasoningSpec,
    children: Children,
    report: Callable[[JobEvent], Awaitable[None]],
    *,
    prompt_tokens: int = PROMPT_TOKENS,
    has_layout: bool = True,
) -> ReasoningResult:
    """Answers a question over documents, with evidence that was found in the recognized words.

    Cancelling the task cancels the children that run.

    Args:
        spec: As the caller sent it.
        children: Runs the child jobs.
        report: Told of progress and of every stage that ends.
        prompt_tokens: How much of the documents the model sees, in estimated tokens.
        has_layout: Whether tables can be found here: rows of a list are looked for in them.

    Raises:
        FieldInvalid: The request is wrong.
        FeatureDisabled: Something that is not offered yet.
        StageFailed: A document cannot be processed, or the model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    request = checked(spec)
    config = request.config
    schema = json.loads(request.output_json_schema or "null")
    steps = 3
    if schema is not None:
        wanted = wanted_values(schema)
        if has_layout and not config.ocr.mode and asks_for_rows(wanted):
            config.ocr.mode = OcrMode.OCR_MODE_LAYOUT
        # Each question is three: what to show, the model's answer, its words found again.
        steps = 1 + 3 * sum(1 for _ in leaves(wanted))
    timeline = Timeline(report, total=len(request.documents) + 1 + steps)
    gathered = await gather(request, children, timeline)
    readings = [reading for one in gathered for reading in one.readings]
    max_evidence_count = config.max_evidence_count if config.HasField("max_evidence_count") else DEFAULT_EVIDENCE
    finder = Finder(
        readings,
        await children.compute("retrieval", lambda: passages(readings)),
        children,
        timeline,
        generation=config.generation,
        prompt_tokens=prompt_tokens,
        max_evidence_count=max_evidence_count,
    )
    result = ReasoningResult(documents=[one.report for one in gathered])
    if schema is not None:
        async with timeline.stage("extract"):
            extraction = await extract(
                schema,
                finder,
                readings,
                instructions=request.question,
                min_confidence=config.min_confidence,
                max_evidence_count=max_evidence_count,
            )
        _extracted(extraction, result)
    else:
        _answered(await finder.find(request.question), result)
    result.stages.extend(timeline.stages)
    return result


def _answered(finding: Finding, result: ReasoningResult) -> None:
    result.answer.CopyFrom(
        Answer(
            status=finding.status,
            text=finding.text,
            groundedness=finding.groundedness,
            confidence=finding.confidence,
        )
    )
    result.evidence.extend(finding.evidence)
    result.usage.CopyFrom(finding.usage)


def _extracted(extraction: Extraction, result: ReasoningResult) -> None:
    result.answer.CopyFrom(
        Answer(
            status=extraction.status,
            text=extraction.text,
            output_json=extraction.output_json,
            groundedness=extraction.groundedness,
            confidence=extraction.confidence,
        )
    )
    result.values.extend(extraction.values)
    result.evidence.extend(extraction.evidence)
    result.usage.CopyFrom(extraction.usage)
