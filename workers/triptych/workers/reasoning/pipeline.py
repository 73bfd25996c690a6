"""Answers a question over documents: recognize, choose what matters, ask the model, find its words again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from triptych.v1.job_pb2 import JobEvent
from triptych.v1.reasoning_pb2 import Answer, ReasoningResult, ReasoningSpec
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.finding import MIN_CONFIDENCE, Finder, Finding
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
    config = request.config
    timeline = Timeline(report, total=len(request.documents) + 4)
    gathered = await gather(request, children, timeline)
    readings = [reading for one in gathered for reading in one.readings]
    finder = Finder(
        readings,
        await children.compute("retrieval", lambda: passages(readings)),
        children,
        timeline,
        generation=config.generation,
        prompt_tokens=prompt_tokens,
        max_evidence_count=config.max_evidence_count if config.HasField("max_evidence_count") else DEFAULT_EVIDENCE,
        min_confidence=config.min_confidence if config.HasField("min_confidence") else MIN_CONFIDENCE,
    )
    finding = await finder.find(request.question)
    return ReasoningResult(
        answer=_answer(finding),
        evidence=finding.evidence,
        documents=[one.report for one in gathered],
        stages=timeline.stages,
        usage=finding.usage,
    )


def _answer(finding: Finding) -> Answer:
    return Answer(
        status=finding.status,
        text=finding.text,
        groundedness=finding.groundedness,
        confidence=finding.confidence,
    )
