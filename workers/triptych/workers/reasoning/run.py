"""One run of a pipeline: what its stages hand on to each other, and what the last one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from triptych.core.pipelines.plan import Plan
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue, Evidence, ReasoningSpec
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.generation import MAX_AT_ONCE
from triptych.workers.reasoning.ingest import Gathered
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.request import DEFAULT_EVIDENCE
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pipeline gives.

    Attributes:
        status: Whether there is anything.
        text: For people, with "[e1]" behind what was found.
        output_json: Structured; empty without a schema.
        evidence: What it rests on, "e1", "e2", ...
        values: What is known of each value of `output_json`.
        groundedness: Share of the claims that were found, 0 to 1; None: there are none.
        confidence: How likely it is right, 0 to 1; None: nobody knows.
        usage: Tokens that it took.
    """

    status: AnswerStatus.ValueType
    text: str = ""
    output_json: str = ""
    evidence: Sequence[Evidence] = ()
    values: Sequence[AnswerValue] = ()
    groundedness: float | None = None
    confidence: float | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)


@dataclass(slots=True, kw_only=True)
class Run:
    """A request on its way through the stages of its plan.

    Attributes:
        request: With what the plan says where the caller said nothing.
        plan: Its stages.
        children: Runs the child jobs.
        timeline: Told of every stage.
        gathered: What became of the documents; from stage "read" on.
        readings: Everything that was recognized; from stage "read" on.
        passages: All of it in passages; from stage "read" on.
        outcome: From the stage that gives it on.
        turns: Of the questions to the model.
    """

    request: ReasoningSpec
    plan: Plan
    children: Children
    timeline: Timeline
    gathered: list[Gathered] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    outcome: Outcome | None = None
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))

    @property
    def prompt_tokens(self) -> int:
        """How much of the documents the model sees at a time, in estimated tokens."""
        return int(self.plan.outcome.options.get("prompt_tokens", PROMPT_TOKENS))

    @property
    def max_evidence_count(self) -> int:
        """Pieces of evidence at most."""
        config = self.request.config
        return config.max_evidence_count if config.HasField("max_evidence_count") else DEFAULT_EVIDENCE


# What a model of 0.5 billion parameters reads in about two seconds on a CPU, and still follows.
PROMPT_TOKENS = 1200


def total(usages: Iterable[TokenUsage]) -> TokenUsage:
    """Adds tokens up."""
    found = TokenUsage()
    for usage in usages:
        for name in usage.DESCRIPTOR.fields_by_name:
            setattr(found, name, getattr(found, name) + getattr(usage, name))
    return found
