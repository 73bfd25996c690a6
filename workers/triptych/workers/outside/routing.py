"""Chooses who answers a prompt: the local model, or one outside that is named, helps out, or is surer."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from triptych.core.blobs import digest_of
from triptych.core.errors import FeatureDisabled
from triptych.core.policy import CLASS_NAMES, Box, Rule
from triptych.core.sources import inputs
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import GenerationConfig, VisionResult
from triptych.workers import metrics
from triptych.workers.outside.ask import Sender
from triptych.workers.outside.helping import Escalation, Overflow, is_sure
from triptych.workers.outside.local_wait import LocalWait
from triptych.workers.outside.office import Answered, Office
from triptych.workers.route import Route

if TYPE_CHECKING:
    from triptych.workers.attempt import Attempt
    from triptych.workers.engines.generation import Prompt
    from triptych.workers.outside.outside import Outside

_PAGE: Box = (0.0, 0.0, 1.0, 1.0)


class Models(Protocol):
    """Where the stations of local models are had."""

    def get(self, name: str = "", /) -> Route[Prompt, VisionResult]:
        """Gives the station of a model; empty: the default one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    model: ModelRef


class Routing:
    """What the jobs of one worker have in common: who is outside, and how busy the local engines are. Thread-safe.

    Args:
        outside: The models outside.
        default: Model of jobs that name none.
    """

    def __init__(self, outside: Outside, default: str) -> None:
        self.outside = outside
        self.default = default
        self._lock = threading.Lock()
        self._waits: defaultdict[str, LocalWait] = defaultdict(LocalWait)

    def wait(self, model: str) -> LocalWait:
        """Gives what is known of the wait for a local model."""
        with self._lock:
            return self._waits[model]


class Routes:
    """The models that one attempt may use: those of its worker, and those outside that the policy allows.

    Args:
        routing: Of the worker.
        models: Its local ones.
        attempt: Of a vision job.
    """

    def __init__(self, routing: Routing, models: Models, attempt: Attempt) -> None:
        self._routing = routing
        self._models = models
        self._attempt = attempt

    def get(self, name: str = "", /) -> Route[Prompt, VisionResult]:
        """Gives the way to a model.

        Raises:
            EgressDenied: It is outside, and the policy keeps the job's bytes here.
            FeatureDisabled: It is outside, and the job asks for what no protocol can.
            TriptychError: There is no such model here, see `Loan.get`.
        """
        outside, attempt = self._routing.outside, self._attempt
        name = name or self._routing.default
        config = attempt.spec.vision.config
        if (entry := outside.catalog.get(name)).remote is not None:
            allowed = outside.policy.allowed(attempt.tenant, attempt.data_class, name)
            if held := _held_here(config):
                raise FeatureDisabled(f"{held} is not offered by models outside: name one that is here")
            ref = outside.catalog.ref(name, f"remote/{entry.remote.host}")
            return _ByName(self._office(allowed), name, ref)
        station = self._models.get(name)
        rule = outside.policy.of(attempt.tenant).rule(attempt.data_class)
        if not outside.policy.tenants:
            return station
        office = None if rule is None or _held_here(config) else self._office(rule)
        return _LocalFirst(station, office, self._routing.wait(name))

    def _office(self, rule: Rule) -> Office:
        attempt, policy = self._attempt, self._routing.outside.policy.of(self._attempt.tenant)
        own = {digest_of(source.blob) for _, source in inputs(attempt.spec)}
        images = [part.image for turn in attempt.spec.vision.messages for part in turn.parts if part.HasField("image")]
        sender = Sender(
            tenant=attempt.tenant,
            policy=policy,
            job_id=attempt.job_id,
            data_class=CLASS_NAMES[policy.class_of(attempt.data_class)],
            documents=tuple(sorted({*attempt.documents, *own})),
            crops=tuple(_crop(list(image.crop_box)) for image in images),
            quotes_pages=not own.issuperset(attempt.documents),
            schema=attempt.spec.vision.config.output_json_schema,
        )
        return Office(outside=self._routing.outside, rule=rule, sender=sender)


class _ByName:
    """A model outside that the caller named."""

    may_leave = True

    def __init__(self, office: Office, name: str, model: ModelRef) -> None:
        self.engine = _Named(model=model)
        self._office = office
        self._name = name

    def submit(
        self,
        item: Prompt,
        *,
        lane: int,  # noqa: ARG002 - as `Station.submit`
        deadline: float | None,
        tenant: str = "",  # noqa: ARG002
        weight: float = 1.0,  # noqa: ARG002
    ) -> Future[Answered]:
        return self._office.ask(self._name, item, "named", deadline)

    def stands(self, _known: VisionResult) -> bool:
        return True


class _LocalFirst:
    """A local model, with one outside that helps out where the policy says so."""

    def __init__(self, station: Route[Prompt, VisionResult], office: Office | None, wait: LocalWait) -> None:
        self.engine = _Named(model=station.engine.model)
        self._station = station
        self._office = office
        self._wait = wait

    @property
    def may_leave(self) -> bool:
        rule = self._office.rule if self._office else None
        return rule is not None and (rule.overflow_after_s is not None or rule.escalate_below is not None)

    def submit(
        self, item: Prompt, *, lane: int, deadline: float | None, tenant: str = "", weight: float = 1.0
    ) -> Future[Answered]:
        def here(prompt: Prompt) -> Future[Answered]:
            self._wait.begin()
            try:
                future = self._station.submit(prompt, lane=lane, deadline=deadline, tenant=tenant, weight=weight)
            except BaseException:
                self._wait.end()
                raise
            future.add_done_callback(lambda _: self._wait.end())
            return future

        if self._office is None:
            metrics.ROUTES.labels("local").inc()
            return here(item)
        rule = self._office.rule
        after_s = rule.overflow_after_s
        if after_s is not None and self._wait.estimate_s() > after_s and not self._office.busy():
            return Overflow(self._office, item, deadline, here)
        metrics.ROUTES.labels("local").inc()
        if rule.escalate_below is None:
            return here(item)
        return Escalation(self._office, item, deadline, here, rule.escalate_below)

    def stands(self, known: VisionResult) -> bool:
        below = self._office.rule.escalate_below if self._office else None
        # It may be of a job whose bytes had to stay here.
        return below is None or is_sure(known, below)


def _held_here(config: GenerationConfig) -> str:
    """Names the first thing asked for that only local engines can hold an answer to; empty if there is none."""
    return next((name for name in ("output_regex", "output_choices", "enable_copying") if getattr(config, name)), "")


def _crop(box: list[float]) -> Box:
    if not box:
        return _PAGE
    x_min, y_min, x_max, y_max = box
    return x_min, y_min, x_max, y_max
