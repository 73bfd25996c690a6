"""Runs one job from claim to outcome: every way it can end stands here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from triptych.core import jobs, lookup
from triptych.core.blobs import BlobStore
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable, FieldInvalid, InternalError, TriptychError
from triptych.core.records import JobRecord
from triptych.core.settings import Settings
from triptych.core.store import Op, Store
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobEvent, JobResult
from triptych.workers import metrics
from triptych.workers.attempt import Attempt, HandedBack, LeaseLost

log = logging.getLogger("triptych.execution")
T = TypeVar("T")


class Execution:
    """The stores as an attempt sees them, and the two ends of an attempt: claim and outcome."""

    def __init__(self, settings: Settings, store: Store, blobs: BlobStore, broker: Broker, *, worker: str) -> None:
        self._settings = settings
        self._store = store
        self._blobs = blobs
        self._broker = broker
        self._worker = worker
        self._over = threading.Event()

    def claim(self, job_id: str) -> Attempt | None:
        """Takes a job; None if there is nothing to do (it ended, or another worker has it).

        A Redis that is away is no error either: the job stays pending and its message is sent again.
        """
        try:
            record = self._store.run(jobs.claim(job_id, self._worker, self._settings.lease_s))
        except BackendUnavailable:
            log.warning("a job could not be claimed; it will be sent again", extra={"job_id": job_id})
            return None
        return self._attempt(record) if record else None

    def succeed(self, attempt: Attempt, result: JobResult) -> None:
        """Ends the attempt with its result, in a blob if it is large."""
        value: JobResult | str = result
        if result.ByteSize() > self._settings.max_inline_result_bytes:
            # Kept as long as any result may be: the record names it until it expires.
            raw, ttl_s = result.SerializeToString(), self._settings.max_result_ttl_s
            value = self._until_back(lambda: self._blobs.put(attempt.tenant, raw, ttl_s)).name
        if self._persistently(jobs.succeed(attempt.job_id, attempt.number, value)):
            self._ended(attempt, "succeeded")
        else:
            log.warning("the result came too late: the lease was lost")

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """Ends the attempt as its error says: failed, cancelled, handed back, or nothing because it lost its lease.

        What stopped the attempt comes first: whatever else it met then is a consequence, or nobody's concern any more.
        """
        if attempt.stopped():
            error = attempt.stopped_by()
        if isinstance(error, LeaseLost):
            log.warning("the lease was lost; another attempt goes on")
        elif isinstance(error, HandedBack):
            message = self._persistently(jobs.release(attempt.job_id, attempt.number))
            if message:
                self._ended(attempt, "handed back")
                self._publish(message)
        else:
            if not isinstance(error, TriptychError):
                log.error("a bug ended a job", exc_info=error)
                error = InternalError("internal error; the worker's log has the details")
            self._persistently(jobs.fail(attempt.job_id, attempt.number, error))
            self._ended(attempt, error.reason.lower())

    def close(self) -> None:
        """No more waiting for a Redis that is away: the process ends."""
        self._over.set()

    # Backstage of an attempt.

    def read(self, tenant: str, source: InputSource) -> bytes:
        """See `Backstage.read`."""
        if source.WhichOneof("source") != "blob":
            raise FieldInvalid("input", "only blobs reach a worker")
        return self._until_back(lambda: self._blobs.read(tenant, source.blob))

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:
        """See `Backstage.emit`. An event that cannot be told is lost; the outcome is not."""
        try:
            self._store.run(jobs.emit(job_id, attempt, event))
        except BackendUnavailable:
            log.warning("an event could not be told")

    def save_part(self, job_id: str, attempt: int, key: str, value: bytes) -> None:
        """See `Backstage.save_part`. A part that cannot be kept is only work to be done again."""
        try:
            self._store.run(jobs.save_part(job_id, attempt, key, value))
        except BackendUnavailable:
            log.warning("a part could not be kept")

    def parts(self, job_id: str) -> dict[str, bytes]:
        """See `Backstage.parts`."""
        return self._persistently(lookup.parts(job_id))

    def _attempt(self, record: JobRecord) -> Attempt:
        metrics.QUEUE_SECONDS.labels(record.kind).observe(max(0, time.time() - record.create_ms / 1000))
        log.info("attempt begins", extra={"job_id": record.id, "attempt": record.attempt, "trace_id": record.trace_id})
        return Attempt(
            self,
            job_id=record.id,
            tenant=record.tenant,
            number=record.attempt,
            lane=record.lane,
            spec=record.job_spec(),
            execution_timeout_s=record.execution_timeout_ms / 1000,
            trace_id=record.trace_id,
        )

    def _ended(self, attempt: Attempt, outcome: str) -> None:
        kind = attempt.spec.WhichOneof("spec") or ""
        metrics.ATTEMPTS.labels(kind, outcome).inc()
        log.info("attempt ended", extra={"attempt": attempt.number, "outcome": outcome})

    def _publish(self, message: jobs.Message) -> None:
        try:
            self._broker.publish(message)
        except BackendUnavailable:
            log.warning("a handed back job will be sent again by the sweeper")

    def _persistently(self, op: Op[T]) -> T:
        """What was computed must be told. The fencing token makes a repeat harmless."""
        return self._until_back(lambda: self._store.run(op))

    def _until_back(self, work: Callable[[], T]) -> T:
        """Repeats until Redis is back; blobs may lie there too."""
        delay_s = 0.1
        while True:
            try:
                return work()
            except BackendUnavailable:
                if self._over.wait(delay_s):
                    raise
                delay_s = min(2, delay_s * 2)
