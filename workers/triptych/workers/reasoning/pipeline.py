"""Answers a question over documents: recognize, choose what matters, ask the model, find its words again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import JobEvent, JobSpec
from triptych.v1.reasoning_pb2 import Answer, AnswerStatus, ReasoningResult, ReasoningSpec
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.evidence import Grounding, Locator, ground
from triptych.workers.reasoning.ingest import gather, stage_failed
from triptych.workers.reasoning.prompts import says_not_found, tidy, vision_spec
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.request import DEFAULT_EVIDENCE, checked
from triptych.workers.reasoning.retrieval import Passage, passages, select
from triptych.workers.reasoning.timeline import Timeline, fill

# What a model of 0.5 billion parameters reads in about two seconds on a CPU, and still follows.
PROMPT_TOKENS = 1200
NOT_FOUND = "The documents do not say."


async def answer(
    spec: ReasoningSpec,
    children: Children,
    report: Callable[[JobEvent], Awaitable[None]],
    *,
    prompt_tokens: int = PROMPT_TOKENS,
) -> ReasoningResult:
    """Answers a question over documents, with evidence that was found in the recognized words.

    Cancelling the task cancels the children that run.

    Args:
        spec: As the caller sent it.
        children: Runs the child jobs.
        report: Told of progress and of every stage that ends.
        prompt_tokens: How much of the documents the model sees, in estimated tokens.

    Raises:
        FieldInvalid: The request is wrong.
        FeatureDisabled: Something that is not offered yet.
        StageFailed: A document cannot be processed, or the model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    request = checked(spec)
    timeline = Timeline(report, total=len(request.documents) + 4)
    gathered = await gather(request, children, timeline)
    readings = [reading for one in gathered for reading in one.readings]
    async with timeline.stage("retrieval"):
        # Ranking and searching a long document takes a while: not on the loop that other questions share.
        shown = await children.compute("retrieval", lambda: select(passages(readings), request.question, prompt_tokens))
    generated = await _ask(request, readings, shown, children, timeline) if shown else VisionResult()
    async with timeline.stage("verify"):
        grounding = await children.compute("verify", lambda: _verify(request, readings, shown, generated.text))
    return ReasoningResult(
        answer=_answer(grounding, generated),
        evidence=grounding.evidence if grounding else [],
        documents=[one.report for one in gathered],
        stages=timeline.stages,
        usage=generated.usage,
    )


async def _ask(
    request: ReasoningSpec,
    readings: Sequence[Reading],
    shown: Sequence[Passage],
    children: Children,
    timeline: Timeline,
) -> VisionResult:
    job = JobSpec(vision=vision_spec(readings, shown, request.question, request.config.generation))
    try:
        async with timeline.stage("answer") as entry:
            outcome = await children.run(job, stage="answer")
            fill(entry, outcome)
    except TriptychError as error:
        raise stage_failed("answer", error) from error
    return outcome.result.vision


def _verify(
    request: ReasoningSpec, readings: Sequence[Reading], shown: Sequence[Passage], text: str
) -> Grounding | None:
    """Gives the grounding of the model's words; None if they say that there is no answer."""
    if says_not_found(text):
        return None
    config = request.config
    limit = config.max_evidence_count if config.HasField("max_evidence_count") else DEFAULT_EVIDENCE
    locator = Locator(readings, shown, request.question)
    return ground(tidy(text, request.question), locator, max_evidence_count=limit)


def _answer(grounding: Grounding | None, generated: VisionResult) -> Answer:
    if grounding is None:
        return Answer(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND)
    cut = generated.finish_reason == FinishReason.FINISH_REASON_LENGTH
    status = AnswerStatus.ANSWER_STATUS_PARTIAL if cut else AnswerStatus.ANSWER_STATUS_ANSWERED
    return Answer(status=status, text=grounding.text, groundedness=grounding.groundedness)
