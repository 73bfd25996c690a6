"""One worker process: load, warm up, consume, drain."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from triptych.core import telemetry
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker, celery_app
from triptych.core.catalog import Catalog
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.supervision import tell_ready
from triptych.v1.job_pb2 import JobResult
from triptych.workers import tasks
from triptych.workers.attempt import Attempt
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases
from triptych.workers.stations import Stations

log = logging.getLogger("triptych.runtime")


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

    def run(self) -> None:
        """Loads, then works until SIGTERM; what is not done by then goes back to its lane."""
        if self._kind == "reasoning":
            self._run_orchestra()
        else:
            self._run_engine()
        self._store.close()
        self._broker.close()

    def _run_engine(self) -> None:
        stations = Stations(self._settings, self._kind, Catalog.load(self._settings))
        stations.get()
        leases = self._leases(stations.names)
        app = celery_app(self._settings)
        tasks.register(app, self._execution, leases, _runner(self._kind, stations, self._settings))
        try:
            self._consume(app, leases, self._settings.worker_threads)
        finally:
            stations.stop()

    def _run_orchestra(self) -> None:
        from triptych.workers.orchestra import Orchestra

        orchestra = Orchestra(self._settings, self._blobs, self._broker)
        orchestra.start()
        leases = self._leases(lambda: ["orchestrator"])
        app = celery_app(self._settings)
        orchestra.register(app, self._execution, leases)
        try:
            self._consume(app, leases, threads=2, wait_idle=orchestra.wait_idle)
        finally:
            orchestra.stop()

    def _leases(self, models: Callable[[], list[str]]) -> Leases:
        return Leases(self._store, kind=self._kind, worker=self._name, models=models, lease_s=self._settings.lease_s)

    def _consume(
        self, app: Celery, leases: Leases, threads: int, wait_idle: Callable[[], object] | None = None
    ) -> None:
        # A Redis that is away at the end is not waited for: leases run out, and others go on.
        last_call = threading.Timer(self._settings.drain_s + 2, self._execution.close)
        last_call.daemon = True

        def drain(**_: Any) -> None:
            leases.drain(self._settings.drain_s)
            last_call.start()

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
        leases.start()
        self._tell_ready()
        try:
            worker.start()
            if wait_idle:
                wait_idle()
        finally:
            last_call.cancel()
            leases.stop()
        log.info("drained")

    def _tell_ready(self) -> None:
        metrics = telemetry.serve_metrics(self._settings.metrics_listen) if self._settings.metrics_listen else ""
        facts = {"pid": os.getpid(), "kind": self._kind, "worker": self._name, "metrics": metrics}
        log.info("ready", extra=facts)
        tell_ready(facts)


def _runner(kind: str, stations: Stations, settings: Settings) -> Callable[[Attempt], JobResult]:
    """Gives what turns an attempt of this kind into its result; only that kind's modules are imported."""
    pages = {"max_page_count": settings.max_page_count, "max_page_pixels": settings.max_page_pixels}
    if kind == "transcription":
        from triptych.workers.kinds import transcription

        return lambda attempt: JobResult(
            transcription=transcription.run(
                attempt, attempt.spec.transcription, stations, max_audio_s=settings.max_audio_s
            )
        )
    if kind == "ocr":
        from triptych.workers.kinds import ocr

        return lambda attempt: JobResult(ocr=ocr.run(attempt, attempt.spec.ocr, stations, **pages))
    from triptych.workers.kinds import vision

    return lambda attempt: JobResult(vision=vision.run(attempt, attempt.spec.vision, stations, **pages))
