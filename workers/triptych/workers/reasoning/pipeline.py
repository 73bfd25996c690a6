"""Runs a reasoning job: the stages of its pipeline, one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence

from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.pipelines.plan import Plan
from triptych.core.pipelines.requests import applied, chosen
from triptych.core.schema_values import asks_for_rows, leaves, wanted_values
from triptych.v1.job_pb2 import JobEvent
from triptych.v1.ocr_pb2 import OcrMode
from triptych.v1.reasoning_pb2 import Answer, AnswerStatus, AnswerValue, PipelineRef, ReasoningResult, ReasoningSpec
from triptych.workers.reasoning.across import find
from triptych.workers.reasoning.children import Children, unit_of
from triptych.workers.reasoning.classification import classify
from triptych.workers.reasoning.extraction import extract
from triptych.workers.reasoning.finding import NOT_FOUND, Finder
from triptych.workers.reasoning.ingest import gather
from triptych.workers.reasoning.minutes import minutes
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.request import checked
from triptych.workers.reasoning.retrieval import Passage, passages
from triptych.workers.reasoning.run import Outcome, Run
from triptych.workers.reasoning.summary import summarize
from triptych.workers.reasoning.timeline import Timeline

# Retrieval, the model, verification.
_STAGES_OF_A_QUESTION = 3


async def answer(
    spec: ReasoningSpec,
    children: Children,
    report: Callable[[JobEvent], Awaitable[None]],
    pipelines: Pipelines,
    *,
    has_layout: bool = True,
) -> ReasoningResult:
    """Runs the pipeline that a request names; what it tells of the documents was found in the recognized words.

    Cancelling the task cancels the children that run.

    Args:
        spec: As the caller sent it.
        children: Runs the child jobs.
        report: Told of progress and of every stage that ends.
        pipelines: As their files are now.
        has_layout: Whether tables can be found here: rows of a list are looked for in them.

    Raises:
        FieldInvalid: The request is wrong, or the file of its pipeline.
        FeatureDisabled: Something that is not offered yet.
        StageFailed: A document cannot be processed, or the model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    plan = await asyncio.to_thread(chosen, spec, pipelines)
    # A large schema takes a while to read: not on the loop that other jobs share.
    request = await asyncio.to_thread(lambda: checked(applied(spec, plan)))
    run = Run(
        request=request,
        plan=plan,
        children=children,
        timeline=Timeline(report, total=len(request.documents) + 1 + _step_count(request, plan)),
    )
    if has_layout:
        _ask_for_tables(request)
    for stage in plan.stages:
        await STAGES[stage.name](run)
    outcome = run.outcome
    assert outcome is not None, "every plan has a stage that gives one"
    return ReasoningResult(
        answer=_answer(outcome),
        evidence=outcome.evidence,
        documents=[one.report for one in run.gathered],
        stages=run.timeline.stages,
        usage=outcome.usage,
        values=outcome.values,
        pipeline=PipelineRef(name=plan.name, digest=plan.digest),
    )


async def _read(run: Run) -> None:
    run.gathered = await gather(run.request, run.children, run.timeline)
    run.readings = [reading for one in run.gathered for reading in one.readings]
    run.passages = await run.children.compute("passages", lambda: passages(run.readings))


async def _retrieve(_run: Run) -> None:
    """What is wanted of the documents is only known to the stage that asks: it chooses."""


async def _answer_question(run: Run) -> None:
    asked = 0

    async def finder(readings: Sequence[Reading]) -> Finder:
        nonlocal asked
        asked += 1
        if asked > 1:
            run.timeline.expect(_STAGES_OF_A_QUESTION)
        unit = unit_of("passages", *(reading.document_id for reading in readings))
        return _finder(run, readings, await run.children.compute(unit, lambda: passages(readings)))

    finding = await find(
        run.request.question,
        run.readings,
        finder,
        max_evidence_count=run.max_evidence_count,
        complete=not any(one.report.HasField("error") for one in run.gathered),
    )
    run.outcome = Outcome(
        status=finding.status,
        text=finding.text,
        evidence=finding.evidence,
        groundedness=finding.groundedness,
        confidence=finding.confidence,
        usage=finding.usage,
    )


async def _extract(run: Run) -> None:
    async with run.timeline.stage("extract"):
        extraction = await extract(
            json.loads(run.request.output_json_schema),
            # It looks beside labels and in tables itself, for what a schema says of a value.
            _finder(run, run.readings, run.passages, reads_off=False),
            run.readings,
            run.children,
            instructions=run.request.question,
            min_confidence=run.request.config.min_confidence,
            max_evidence_count=run.max_evidence_count,
        )
    run.outcome = Outcome(
        status=extraction.status,
        text=extraction.text,
        output_json=extraction.output_json,
        evidence=extraction.evidence,
        values=extraction.values,
        groundedness=extraction.groundedness,
        confidence=extraction.confidence,
        usage=extraction.usage,
    )


async def _summarize(run: Run) -> None:
    run.outcome = await summarize(run)


async def _classify(run: Run) -> None:
    run.outcome = await classify(run)


async def _minutes(run: Run) -> None:
    run.outcome = await minutes(run)


async def _verify(run: Run) -> None:
    """Its words were looked for by the stage that gave the outcome; here it is held to the plan's thresholds."""
    assert run.outcome is not None, "the order of stages was checked"
    run.outcome = held(
        run.outcome,
        min_confidence=run.request.config.min_confidence,
        min_groundedness=run.plan.options("verify").get("min_groundedness", 0),
    )


STAGES: Mapping[str, Callable[[Run], Awaitable[None]]] = {
    "read": _read,
    "retrieve": _retrieve,
    "answer": _answer_question,
    "extract": _extract,
    "summarize": _summarize,
    "classify": _classify,
    "minutes": _minutes,
    "verify": _verify,
}


def _step_count(request: ReasoningSpec, plan: Plan) -> int:
    """Gives how many stages there will be after the documents; those that find more to do say so."""
    retrieves = plan.has("retrieve") and bool(request.question.strip())
    match plan.outcome.name:
        case "extract":
            return 1 + _STAGES_OF_A_QUESTION * sum(
                1 for _ in leaves(wanted_values(json.loads(request.output_json_schema)))
            )
        case "summarize":
            return retrieves + 2
        case "classify":
            return 3 * len(request.documents)
        case "minutes":
            return 2
    return _STAGES_OF_A_QUESTION


def _ask_for_tables(request: ReasoningSpec) -> None:
    """Has tables found where a schema asks for rows, unless the caller chose how to read."""
    ocr, schema = request.config.ocr, request.output_json_schema
    if schema and not ocr.mode and asks_for_rows(wanted_values(json.loads(schema))):
        ocr.mode = OcrMode.OCR_MODE_LAYOUT


def held(outcome: Outcome, *, min_confidence: float, min_groundedness: float) -> Outcome:
    """Gives an outcome; below a threshold one without an answer, whose values are all said to be not found.

    What nobody knows of it does not hold it back.
    """
    unsure = outcome.confidence is not None and outcome.confidence < min_confidence
    ungrounded = outcome.groundedness is not None and outcome.groundedness < min_groundedness
    if not (unsure or ungrounded):
        return outcome
    missing = AnswerStatus.ANSWER_STATUS_NOT_FOUND
    values = [AnswerValue(json_pointer=value.json_pointer, status=missing) for value in outcome.values]
    return Outcome(status=missing, text=NOT_FOUND, values=values, usage=outcome.usage)


def _finder(run: Run, readings: Sequence[Reading], found: Sequence[Passage], *, reads_off: bool = True) -> Finder:
    return Finder(
        readings,
        found,
        run.children,
        run.timeline,
        run.turns,
        prompt=run.plan.outcome.options["prompt"],
        generation=run.request.config.generation,
        prompt_tokens=run.prompt_tokens,
        max_evidence_count=run.max_evidence_count,
        reads_off=reads_off,
    )


def _answer(outcome: Outcome) -> Answer:
    return Answer(
        status=outcome.status,
        text=outcome.text,
        output_json=outcome.output_json,
        groundedness=outcome.groundedness,
        confidence=outcome.confidence,
    )
