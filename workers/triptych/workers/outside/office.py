"""Where one attempt's prompts leave from: to whom, under which rule, and in whose name."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from triptych.core.policy import Rule
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers import metrics
from triptych.workers.batcher import Done
from triptych.workers.outside.ask import Ask, Sender, Why

if TYPE_CHECKING:
    from triptych.workers.engines.generation import Prompt
    from triptych.workers.outside.outside import Outside

Answered: TypeAlias = Done[VisionResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Sends an attempt's prompts out."""

    outside: Outside
    rule: Rule
    sender: Sender

    def ask(self, model: str, prompt: Prompt, why: Why, deadline: float | None) -> Future[Answered]:
        """Sends a prompt to a model outside; gives the future of its answer."""
        metrics.ROUTES.labels(why).inc()
        ask = Ask(prompt=prompt, rule=self.rule, sender=self.sender, why=why, deadline=deadline)
        return self.outside.submit(model, ask)

    def busy(self) -> bool:
        """Whether the model that helps out has all the calls under way that it may have: one more would wait there."""
        return self.outside.busy(self.rule.models[0])
