"""Prompts that a local model and one outside may see: the other one helps where the first is busy or unsure."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from triptych.core.errors import JobCancelled, TimedOut, TriptychError
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers import metrics
from triptych.workers.outside.ask import Why
from triptych.workers.outside.office import Answered, Office
from triptych.workers.outside.relay import Relay

if TYPE_CHECKING:
    from triptych.workers.engines.generation import Prompt

log = logging.getLogger("triptych.routing")


class _Helped(Relay[Answered]):
    """A prompt that the local model and one outside may see, in either order."""

    def __init__(self, office: Office, prompt: Prompt, deadline: float | None, why: Why) -> None:
        super().__init__()
        self._office = office
        self._prompt = prompt
        self._deadline = deadline
        self._why = why
        self._told = False

    def _ask_outside(self) -> None:
        # What has to satisfy a schema may turn out not to: it is told when that is known.
        late = bool(self._office.sender.schema)
        prompt = replace(self._prompt, on_text=_untold if late else self._tell)
        future = self._office.ask(self._office.rule.models[0], prompt, self._why, self._deadline)
        self.follow(future, self._heed_outside)

    def _tell(self, text: str, token_count: int) -> None:
        self._told = True
        self._prompt.on_text(text, token_count)

    def _heed_outside(self, future: Future[Answered]) -> None:
        error = future.exception()
        if error is None and future.result().value.text.strip():
            if not self._told:
                self._give(future)
            else:
                self.end(future)
            return
        # Nothing said is no help either: it must not take the place of what the local model says.
        helpless = error is None or (isinstance(error, Exception) and not isinstance(error, JobCancelled | TimedOut))
        # What was told cannot be taken back, and who is stopped or late needs nothing any more.
        if not helpless or self._told or self.unwanted:
            self.end(future)
            return
        said = "nothing" if error is None else str(error) if isinstance(error, TriptychError) else type(error).__name__
        log.warning("no help from outside: the local model answers", extra={"why": self._why, "said": said})
        metrics.ROUTES.labels("local").inc()
        try:
            self._go_on_here()
        except Exception as stopped:  # noqa: BLE001 - a station that is stopped: the item's own failure
            self.set_exception(stopped)

    def _give(self, future: Future[Answered]) -> None:
        """Ends with an answer of which nothing was told yet."""
        result = future.result().value
        self._prompt.on_text(result.text, result.usage.output_token_count)
        self.end(future)

    def _go_on_here(self) -> None:
        raise NotImplementedError


class Overflow(_Helped):
    """Asks outside, as the local engine is busy; the local model answers if there is no help."""

    def __init__(self, office: Office, prompt: Prompt, deadline: float | None, here: Here) -> None:
        super().__init__(office, prompt, deadline, "overflow")
        self._here = here
        self._ask_outside()

    def _go_on_here(self) -> None:
        self.follow(self._here(self._prompt), self.end)


class Escalation(_Helped):
    """Asks the local model, and one outside if that is not sure; the unsure answer stands if there is no help.

    Text is told when it is known whose it will be: at the end, or as it comes from outside.
    """

    def __init__(self, office: Office, prompt: Prompt, deadline: float | None, here: Here, below: float) -> None:
        super().__init__(office, prompt, deadline, "escalation")
        self._below = below
        self._unsure: Future[Answered] | None = None
        self.follow(here(replace(prompt, on_text=_untold)), self._heed_local)

    def _heed_local(self, future: Future[Answered]) -> None:
        if future.cancelled() or future.exception():
            self.end(future)
            return
        result = future.result().value
        if is_sure(result, self._below) or self.unwanted or self._prompt.stopped():
            self._give(future)
            return
        self._unsure = future
        self._ask_outside()

    def _go_on_here(self) -> None:
        assert self._unsure is not None
        self._give(self._unsure)


class Here(Protocol):
    """Has a prompt answered by the local model."""

    def __call__(self, prompt: Prompt, /) -> Future[Answered]:
        """Gives the future of its result."""


def _untold(_text: str, _token_count: int) -> None:
    """Where text goes that must not be told yet."""


def is_sure(result: VisionResult, below: float) -> bool:
    """Whether a local model is sure enough of what it said; one that does not tell is."""
    return not result.HasField("confidence") or result.confidence >= below
