"""The Celery task: a message says that a job waits, and the next one is run."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from triptych.core import telemetry
from triptych.core.broker import TASK
from triptych.v1.job_pb2 import JobResult
from triptych.workers import metrics
from triptych.workers.attempt import Attempt
from triptych.workers.claims import Claims
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases

Run = Callable[[Attempt], JobResult]


def register(app: Celery, execution: Execution, leases: Leases, claims: Claims, run: Run) -> None:
    """Adds the task that runs a job in its own thread: it prepares items, then waits while the batcher has them."""

    @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]
    def run_next() -> None:
        attempt = claims.next()
        if attempt is None:
            return
        with (
            telemetry.bound(job_id=attempt.job_id, trace_id=attempt.trace_id),
            leases.held(attempt),
            metrics.RUNNING.labels(attempt.kind).track_inprogress(),
        ):
            try:
                execution.succeed(attempt, run(attempt))
            except Exception as error:  # noqa: BLE001 - a bug becomes the job's outcome, and a log line
                execution.fail(attempt, error)
