"""One worker process: load, warm up, consume, drain."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery, signals

from triptych.core import telemetry
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker, celery_app
from triptych.core.caretaker import Caretaker
from triptych.core.catalog import Catalog
from triptych.core.errors import BackendUnavailable
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.supervision import tell_ready
from triptych.v1.job_pb2 import JobResult
from triptych.workers import tasks
from triptych.workers.attempt import Attempt
from triptych.workers.ceiling_book import CeilingBook
from triptych.workers.claims import Claims, thread_count
from triptych.workers.execution import Execution
from triptych.workers.forgetting import Forgetting
from triptych.workers.leases import Leases
from triptych.workers.stations import Loan, Stations
from triptych.workers.stoppable import HandedBack
from triptych.workers.upkeep import Upkeep

if TYPE_CHECKING:
    from triptych.workers.outside.routing import Routing

log = logging.getLogger("triptych.runtime")

# After the time to drain, in seconds: what waits for Redis gives up, and the process ends whatever still hangs.
CLOSE_AFTER_S = 2
LEAVE_AFTER_S = 4

DRAINED, RECYCLED = 0, 3
"""Exit codes: nobody has to start a drained worker again, but a recycled one."""


class Runtime:
    """Serves one queue until SIGTERM.

    Args:
        settings: Read once, in main.
        kind: "transcription", "ocr", "vision" or "reasoning".
    """

    def __init__(self, settings: Settings, kind: str) -> None:
        self._settings = settings
        self._kind = kind
        self._name = f"{kind}@{socket.gethostname()}:{os.getpid()}"
        self._store = Store(settings.redis_url)
        self._broker = Broker(settings)
        self._blobs = open_blobs(settings)
        self._execution = Execution(settings, self._store, self._blobs, self._broker, worker=self._name)
        self._upkeep: Upkeep | None = None

    def run(self) -> int:
        """Loads, then works until SIGTERM; what is not done by then goes back to its lane. Gives the exit code."""
        if self._kind == "reasoning":
            self._run_orchestra()
        else:
            self._run_engine()
        self._store.close()
        self._broker.close()
        return self._exit_code()

    def _run_engine(self) -> None:
        catalog = Catalog.load(self._settings)
        stations = Stations(self._settings, self._kind, catalog, CeilingBook(self._store))
        if catalog.get(stations.default).remote is None:
            with stations.lent() as loan:
                loan.get()
        routing = _routing(self._settings, self._kind, catalog)
        self._upkeep = Upkeep(
            stations,
            model_ttl_s=self._settings.model_ttl_s,
            max_rss_bytes=self._settings.worker_max_rss_bytes,
            recycle=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
        leases = self._leases(stations.names, Forgetting(self._store, stations.forget))
        share = self._settings.worker_threads
        claims = Claims(self._execution, leases, kind=self._kind, share=share)
        app = celery_app(self._settings)
        tasks.register(app, self._execution, leases, claims, _runner(self._kind, stations, self._settings, routing))
        self._upkeep.start()
        try:
            self._consume(app, leases, thread_count(share))
        finally:
            self._upkeep.stop()
            if routing:
                routing.outside.stop()
            stations.stop()

    def _run_orchestra(self) -> None:
        from triptych.workers.orchestra import Orchestra

        orchestra = Orchestra(self._settings, self._blobs, self._broker)
        orchestra.start()
        leases = self._leases(lambda: ["orchestrator"], Forgetting(self._store, orchestra.forget))
        # Every slot may be one tenant's: who waits for its children keeps nobody from an engine.
        claims = Claims(self._execution, leases, kind=self._kind, share=self._settings.max_reasoning_jobs)
        app = celery_app(self._settings)
        orchestra.register(app, self._execution, leases, claims)
        try:
            self._consume(app, leases, threads=2, wait_idle=orchestra.wait_idle)
        finally:
            orchestra.stop()

    def _leases(self, models: Callable[[], list[str]], forgetting: Forgetting | None = None) -> Leases:
        return Leases(
            self._store,
            kind=self._kind,
            worker=self._name,
            models=models,
            lease_s=self._settings.lease_s,
            on_hung=self._execution.abandon,
            forgetting=forgetting,
        )

    def _consume(
        self, app: Celery, leases: Leases, threads: int, wait_idle: Callable[[], object] | None = None
    ) -> None:
        # Neither a Redis that is away at the end is waited for (leases run out, and others go on) nor what hangs.
        timers = [
            threading.Timer(self._settings.drain_s + CLOSE_AFTER_S, self._execution.close),
            threading.Timer(self._settings.drain_s + LEAVE_AFTER_S, self._leave, (leases,)),
        ]

        def drain(**_: Any) -> None:
            leases.drain(self._settings.drain_s)
            for timer in timers:
                timer.daemon = True
                timer.start()

        signals.worker_shutting_down.connect(drain, weak=False)
        worker = app.Worker(
            pool="threads",
            concurrency=threads,
            queues=[self._kind],
            hostname=self._name,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel=self._settings.log_level,
            quiet=True,
        )
        caretaker = Caretaker(self._settings, self._store, self._broker, self._blobs, name=self._name)
        leases.start()
        caretaker.start()
        self._tell_ready()
        try:
            worker.start()
            if wait_idle:
                wait_idle()
        finally:
            caretaker.stop()
            leases.stop()
        log.info("drained")

    def _leave(self, leases: Leases) -> None:
        """Ends the process over threads that hang, in a job or in the engine; what they hold goes back first."""
        for attempt in leases.attempts():
            attempt.stop(HandedBack("the worker shuts down"))
            with contextlib.suppress(BackendUnavailable):
                self._execution.abandon(attempt)
        log.error("left although threads hang")
        logging.shutdown()
        os._exit(self._exit_code())

    def _exit_code(self) -> int:
        return RECYCLED if self._upkeep and self._upkeep.recycling else DRAINED

    def _tell_ready(self) -> None:
        metrics = telemetry.serve_metrics(self._settings.metrics_listen) if self._settings.metrics_listen else ""
        facts = {"pid": os.getpid(), "kind": self._kind, "worker": self._name, "metrics": metrics}
        log.info("ready", extra=facts)
        tell_ready(facts)


def _routing(settings: Settings, kind: str, catalog: Catalog) -> Routing | None:
    """Gives the ways to models outside, for jobs of the kind that has some; begins to serve them.

    Raises:
        FieldInvalid: The policy is wrong.
    """
    if kind != "vision":
        return None
    from triptych.workers.outside.outside import Outside
    from triptych.workers.outside.routing import Routing

    outside = Outside(settings, catalog)
    outside.start()
    return Routing(outside, settings.vision_model)


def _runner(
    kind: str, stations: Stations, settings: Settings, routing: Routing | None
) -> Callable[[Attempt], JobResult]:
    """Gives what turns an attempt of this kind into its result; its models stay loaded until then."""
    run = _kind_runner(kind, settings, routing)

    def run_with_models(attempt: Attempt) -> JobResult:
        with stations.lent(attempt.check) as loan:
            return run(attempt, loan)

    return run_with_models


def _kind_runner(kind: str, settings: Settings, routing: Routing | None) -> Callable[[Attempt, Loan], JobResult]:
    """Only the modules of the kind are imported."""
    if kind == "transcription":
        from triptych.workers.kinds import transcription

        return lambda attempt, models: JobResult(
            transcription=transcription.run(
                attempt,
                attempt.spec.transcription,
                models,
                max_audio_s=settings.max_audio_s,
                speaker_model=settings.speaker_model,
            )
        )
    from triptych.workers.media.fork_server import fork_server
    from triptych.workers.media.page_limits import PageLimits

    # Now, so that the first document does not wait for it.
    fork_server.start()
    limits = PageLimits.of(settings)
    if kind == "ocr":
        from triptych.workers.kinds import ocr

        return lambda attempt, models: JobResult(
            ocr=ocr.run(
                attempt,
                attempt.spec.ocr,
                models,
                limits,
                layout_model=settings.layout_model,
                table_model=settings.table_model,
            )
        )
    from triptych.workers.kinds import vision
    from triptych.workers.outside.routing import Routes

    assert routing is not None
    return lambda attempt, models: JobResult(
        vision=vision.run(attempt, attempt.spec.vision, Routes(routing, models, attempt), limits)
    )
