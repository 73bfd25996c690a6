"""Finds the answer to one question in what was recognized: chosen passages, a model, and its words found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.core.pipelines.plan import Prompt
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence
from triptych.v1.vision_pb2 import FinishReason, GenerationConfig, VisionResult
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.evidence import Grounding, Locator, ground
from triptych.workers.reasoning.generation import generate
from triptych.workers.reasoning.prompts import says_not_found, tidy, vision_spec
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
        prompt: What the answering model is told; the question can stand in it.
        generation: Options of the answering model.
        prompt_tokens: How much of the documents the model sees, in estimated tokens.
        max_evidence_count: Pieces of evidence of an answer, at most.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        found: Sequence[Passage],
        children: Children,
        timeline: Timeline,
        *,
        prompt: Prompt,
        generation: GenerationConfig,
        prompt_tokens: int,
        max_evidence_count: int,
    ) -> None:
        self._readings = readings
        self._passages = found
        self._children = children
        self._timeline = timeline
        self._prompt = prompt
        self._generation = generation
        self._prompt_tokens = prompt_tokens
        self._max_evidence_count = max_evidence_count

    async def find(self, question: str) -> Finding:
        """Answers one question. Several may be asked at once.

        Raises:
            StageFailed: The model failed.
            TriptychError: What a retry may cure, a time limit or a cancellation of a child.
        """
        async with self._timeline.stage("retrieval"):
            # Ranking and searching a long document takes a while: not on the loop that other questions share.
            shown = await self._children.compute(
                "retrieval", lambda: select(self._passages, question, self._prompt_tokens)
            )
        generated = await self._ask(question, shown) if shown else VisionResult()
        async with self._timeline.stage("verify"):
            grounding = await self._children.compute("verify", lambda: self._verify(question, shown, generated.text))
        if grounding is None:
            return Finding(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, usage=generated.usage)
        cut = generated.finish_reason == FinishReason.FINISH_REASON_LENGTH
        return Finding(
            status=AnswerStatus.ANSWER_STATUS_PARTIAL if cut else AnswerStatus.ANSWER_STATUS_ANSWERED,
            text=grounding.text,
            value=tidy(generated.text, question),
            evidence=grounding.evidence,
            groundedness=grounding.groundedness,
            found_by=("model",),
            usage=generated.usage,
        )

    async def _ask(self, question: str, shown: Sequence[Passage]) -> VisionResult:
        system = self._prompt.filled(question=question.strip())
        spec = vision_spec(system, self._readings, shown, question, self._generation)
        return await generate(spec, self._children, self._timeline, stage="answer")

    def _verify(self, question: str, shown: Sequence[Passage], text: str) -> Grounding | None:
        """Gives the grounding of the model's words; None if they say that there is no answer."""
        if says_not_found(text):
            return None
        locator = Locator(self._readings, shown, question)
        return ground(tidy(text, question), locator, max_evidence_count=self._max_evidence_count)
