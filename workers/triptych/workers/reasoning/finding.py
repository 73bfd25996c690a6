"""Finds the answer to one question in what was recognized: what can be read off, a model's words, and their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.core.errors import TriptychError
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence
from triptych.v1.vision_pb2 import FinishReason, GenerationConfig, VisionResult
from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.choosing import Choice, choose, uncited
from triptych.workers.reasoning.confidence import probability
from triptych.workers.reasoning.evidence import Locator
from triptych.workers.reasoning.ingest import stage_failed
from triptych.workers.reasoning.prompts import vision_spec
from triptych.workers.reasoning.readable import Candidate, candidates
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage, select
from triptych.workers.reasoning.timeline import Timeline, fill

NOT_FOUND = "The documents do not say."
# Less sure answers are not given. docs/answers.md tells what that costs and what it saves.
MIN_CONFIDENCE = 0.3


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
        generation: Options of the answering model.
        prompt_tokens: How much of the documents the model sees, in estimated tokens.
        max_evidence_count: Pieces of evidence of an answer, at most.
        min_confidence: Less sure answers are not given.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        found: Sequence[Passage],
        children: Children,
        timeline: Timeline,
        *,
        generation: GenerationConfig,
        prompt_tokens: int,
        max_evidence_count: int,
        min_confidence: float = MIN_CONFIDENCE,
    ) -> None:
        self._readings = readings
        self._passages = found
        self._children = children
        self._timeline = timeline
        self._generation = generation
        self._prompt_tokens = prompt_tokens
        self._max_evidence_count = max_evidence_count
        self._min_confidence = min_confidence

    async def find(self, question: str) -> Finding:
        """Answers one question. Several may be asked at once.

        What was worked out from rows is not asked of the model: it cannot add.

        Raises:
            StageFailed: The model failed.
            TriptychError: What a retry may cure, a time limit or a cancellation of a child.
        """
        asking = Asking(question)
        async with self._timeline.stage("retrieval"):
            # Ranking and searching a long document takes a while: not on the loop that other questions share.
            shown, read = await self._children.compute("retrieval", lambda: self._look(asking))
        worked_out = bool(read) and read[0].computed
        generated = await self._ask(question, shown, read) if shown and not worked_out else VisionResult()
        async with self._timeline.stage("verify"):
            choice = await self._children.compute("verify", lambda: self._choose(asking, shown, read, generated))
        sure = probability(choice.signals) if choice is not None else 0.0
        if choice is None or sure < self._min_confidence:
            return Finding(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, usage=generated.usage)
        cut = "model" in choice.found_by and generated.finish_reason == FinishReason.FINISH_REASON_LENGTH
        return Finding(
            status=AnswerStatus.ANSWER_STATUS_PARTIAL if cut else AnswerStatus.ANSWER_STATUS_ANSWERED,
            text=choice.grounding.text,
            value=uncited(choice.grounding),
            evidence=choice.grounding.evidence,
            groundedness=choice.grounding.groundedness,
            confidence=sure,
            found_by=choice.found_by,
            usage=generated.usage,
        )

    def _look(self, asking: Asking) -> tuple[Sequence[Passage], list[Candidate]]:
        shown = select(self._passages, asking.question, self._prompt_tokens)
        return shown, candidates(self._readings, shown, asking)

    async def _ask(self, question: str, shown: Sequence[Passage], read: Sequence[Candidate]) -> VisionResult:
        fields = [(candidate.label, candidate.value) for candidate in read if candidate.label]
        job = JobSpec(vision=vision_spec(self._readings, shown, question, self._generation, fields))
        try:
            async with self._timeline.stage("answer") as entry:
                outcome = await self._children.run(job, stage="answer")
                fill(entry, outcome)
        except TriptychError as error:
            raise stage_failed("answer", error) from error
        return outcome.result.vision

    def _choose(
        self, asking: Asking, shown: Sequence[Passage], read: Sequence[Candidate], generated: VisionResult
    ) -> Choice | None:
        locator = Locator(self._readings, shown, asking.question)
        return choose(asking, self._readings, shown, read, generated, locator, self._max_evidence_count)
