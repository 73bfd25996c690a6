"""Finds the answer to one question in what was recognized: what can be read off, a model's words, and their places."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.core.pipelines.plan import Prompt
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence
from triptych.v1.vision_pb2 import FinishReason, GenerationConfig, VisionResult
from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.children import Children, unit_of
from triptych.workers.reasoning.choosing import Choice, choose
from triptych.workers.reasoning.confidence import probability
from triptych.workers.reasoning.evidence import Locator
from triptych.workers.reasoning.generation import generate
from triptych.workers.reasoning.prompts import vision_spec
from triptych.workers.reasoning.readable import Candidate, candidates
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage, select
from triptych.workers.reasoning.timeline import Timeline

NOT_FOUND = "The documents do not say."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the documents say to one question.

    Attributes:
        status: Whether they say anything.
        text: The answer with "[e1]" behind every claim that was found, or `NOT_FOUND`.
        value: The answer without those; empty if there is none.
        evidence: Found claims first; "e1", "e2", ... in this answer.
        groundedness: Share of the claims that were found, 0 to 1.
        confidence: How likely it is right, 0 to 1; None: nobody knows.
        found_by: Who found it: "model", "label", "table".
        usage: Tokens that it took.
    """

    status: AnswerStatus.ValueType
    text: str = NOT_FOUND
    value: str = ""
    evidence: Sequence[Evidence] = ()
    groundedness: float | None = None
    confidence: float | None = None
    found_by: tuple[str, ...] = ()
    usage: TokenUsage = field(default_factory=TokenUsage)


class Finder:
    """Answers questions over the same readings.

    Args:
        readings: Everything that was recognized.
        found: All passages of it.
        children: Runs the child jobs.
        timeline: Told of every stage.
        turns: See `generate`.
        prompt: What the answering model is told; the question can stand in it.
        generation: Options of the answering model.
        prompt_tokens: How much of the documents the model sees, in estimated tokens.
        max_evidence_count: Pieces of evidence of an answer, at most.
        reads_off: Whether labels, tables and plain arithmetic are heard beside the model.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        found: Sequence[Passage],
        children: Children,
        timeline: Timeline,
        turns: asyncio.Semaphore,
        *,
        prompt: Prompt,
        generation: GenerationConfig,
        prompt_tokens: int,
        max_evidence_count: int,
        reads_off: bool = True,
    ) -> None:
        self._readings = readings
        self._passages = found
        self._children = children
        self._timeline = timeline
        self._turns = turns
        self._prompt = prompt
        self._generation = generation
        self._prompt_tokens = prompt_tokens
        self._max_evidence_count = max_evidence_count
        self._reads_off = reads_off

    async def find(self, question: str) -> Finding:
        """Answers one question. Several may be asked at once.

        What was worked out from rows is not asked of the model: it cannot add.

        Raises:
            StageFailed: The model failed.
            TriptychError: What a retry may cure, a time limit or a cancellation of a child.
        """
        asking = Asking(question)
        # The same may be asked of several documents at once.
        about = (question, *dict.fromkeys(reading.document_id for reading in self._readings))
        async with self._timeline.stage("retrieval"):
            # Ranking and searching a long document takes a while: not on the loop that other questions share.
            shown, read = await self._children.compute(unit_of("retrieval", *about), lambda: self._look(asking))
        worked_out = bool(read) and read[0].computed
        generated = await self._ask(question, shown, read) if shown and not worked_out else VisionResult()
        async with self._timeline.stage("verify"):
            choice = await self._children.compute(
                unit_of("verify", *about), lambda: self._choose(asking, shown, read, generated)
            )
        if choice is None:
            return Finding(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, usage=generated.usage)
        cut = "model" in choice.found_by and generated.finish_reason == FinishReason.FINISH_REASON_LENGTH
        return Finding(
            status=AnswerStatus.ANSWER_STATUS_PARTIAL if cut else AnswerStatus.ANSWER_STATUS_ANSWERED,
            text=choice.grounding.text,
            value=choice.grounding.value,
            evidence=choice.grounding.evidence,
            groundedness=choice.grounding.groundedness,
            confidence=probability(choice.signals),
            found_by=choice.found_by,
            usage=generated.usage,
        )

    def _look(self, asking: Asking) -> tuple[Sequence[Passage], list[Candidate]]:
        shown = select(self._passages, asking.question, self._prompt_tokens)
        return shown, candidates(self._readings, shown, asking) if self._reads_off else []

    async def _ask(self, question: str, shown: Sequence[Passage], read: Sequence[Candidate]) -> VisionResult:
        system = self._prompt.filled(question=question.strip())
        fields = [(candidate.label, candidate.value) for candidate in read if candidate.label]
        spec = vision_spec(system, self._readings, shown, question, self._generation, fields)
        return await generate(spec, self._children, self._timeline, self._turns, stage="answer")

    def _choose(
        self, asking: Asking, shown: Sequence[Passage], read: Sequence[Candidate], generated: VisionResult
    ) -> Choice | None:
        locator = Locator(self._readings, shown, asking.question, check=self._children.check)
        return choose(asking, self._readings, shown, read, generated, locator, self._max_evidence_count)
