"""Runs one job from claim to outcome: every way it can end stands here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Literal, TypeVar

from triptych.core import jobs, lookup
from triptych.core.blobs import BlobStore
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable, FieldInvalid, HostExhausted, InternalError, TriptychError
from triptych.core.records import JobRecord
from triptych.core.settings import Settings
from triptych.core.store import Op, Store
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, JobEvent, JobResult
from triptych.workers import metrics
from triptych.workers.attempt import Attempt
from triptych.workers.gate import Gate
from triptych.workers.stoppable import HandedBack, LeaseLost
from triptych.workers.unit_store import UnitStore

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
        self._gate = Gate()
        self._over = threading.Event()
        self._unanswered: Op[JobRecord | Literal["none", "held"]] | None = None
        self.units = UnitStore(store, blobs, settings)

    def claim(
        self, kind: str, *, lowest_lane: int = jobs.LOWEST_LANE, held_back: Collection[str] = ()
    ) -> Attempt | Literal["none", "held"]:
        """Takes the next job of a kind, see `jobs.claim`; one thread at a time.

        A Redis that is away is no error but "held": ask again. Whether it took a job for us is not known then, so that
        claim comes again before any other.
        """
        op = self._unanswered or jobs.claim(
            kind, self._worker, self._settings.lease_s, lowest_lane=lowest_lane, held_back=held_back
        )
        self._unanswered = op
        try:
            found = self._store.run(op)
        except BackendUnavailable:
            log.warning("no job can be claimed: Redis is away")
            return "held"
        self._unanswered = None
        return self._attempt(found) if isinstance(found, JobRecord) else found

    def succeed(self, attempt: Attempt, result: JobResult) -> None:
        """Ends the attempt with its result, in a blob if it is large."""
        value: JobResult | str = result
        if result.ByteSize() > self._settings.max_inline_result_bytes:
            # Kept as long as any result may be: the record names it until it expires.
            raw, ttl_s = result.SerializeToString(), self._settings.max_result_ttl_s

            def put() -> str:
                # A disk may be full for long: meanwhile the job can be cancelled or handed back.
                attempt.check()
                return self.units.write(attempt.holder, raw, ttl_s)

            value = self._until_back(put)
        if value and self._persistently(jobs.succeed(attempt.job_id, attempt.number, value, cached=attempt.cached)):
            self._ended(attempt, "succeeded")
        else:
            log.warning("the result came too late: the lease was lost")
            if isinstance(value, str):
                self._until_back(lambda: self.units.disown(attempt.holder, value))

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """Ends the attempt as its error says: failed, cancelled, handed back, or nothing because it lost its lease.

        What stopped the attempt comes first: whatever else it met then is a consequence, or nobody's concern any more.
        """
        if attempt.stopped():
            error = attempt.stopped_by()
        if isinstance(error, LeaseLost):
            log.warning("the lease was lost; another attempt goes on")
        elif isinstance(error, HandedBack):
            if self._persistently(jobs.release(attempt.job_id, attempt.number)):
                self._ended(attempt, "handed back")
                self._publish(attempt.kind)
        else:
            if not isinstance(error, TriptychError):
                log.error("a bug ended a job", exc_info=error)
                error = InternalError("internal error; the worker's log has the details")
            self._persistently(jobs.fail(attempt.job_id, attempt.number, error))
            self._ended(attempt, error.reason.lower())

    def abandon(self, attempt: Attempt) -> None:
        """Ends an attempt whose thread does not heed that it was stopped; what that gives later is refused."""
        log.error("a thread hangs: its attempt ends without it", extra={"job_id": attempt.job_id})
        self.fail(attempt, attempt.stopped_by())

    def close(self) -> None:
        """No more waiting for a Redis that is away: the process ends."""
        self._over.set()

    # Backstage of an attempt.

    def read(self, tenant: str, source: InputSource, offset: int = 0, limit: int = 0) -> bytes:
        """See `Backstage.read`."""
        blob = _blob(source)
        return self._until_back(lambda: self._blobs.read(tenant, blob, offset, limit))

    def size(self, tenant: str, source: InputSource) -> int:
        """See `Backstage.size`."""
        blob = _blob(source)
        return self._until_back(lambda: self._blobs.stat(tenant, blob).size_bytes)

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:
        """See `Backstage.emit`. An event that cannot be told is lost; the outcome is not."""
        self._tell(jobs.emit(job_id, attempt, event))

    def begin(self, job_id: str, attempt: int, unit: str) -> None:
        """See `Backstage.begin`. Untold, a death would merely explain itself one attempt later."""
        self._tell(jobs.begin(job_id, attempt, (unit,)))

    def settle(self, job_id: str, attempt: int, unit: str, *, set_aside: bool = False) -> None:
        """See `Backstage.settle`."""
        self._tell(jobs.settle(job_id, attempt, unit, set_aside=set_aside))

    def save_part(self, job_id: str, attempt: int, unit: str, value: bytes) -> None:
        """See `Backstage.save_part`. One that cannot be kept is only work to be done again."""
        self._tell(jobs.save_part(job_id, attempt, unit, value))

    def parts(self, job_id: str) -> dict[str, bytes]:
        """See `Backstage.parts`."""
        return self._persistently(lookup.parts(job_id))

    def blame(self, job_id: str) -> dict[str, int]:
        """See `Backstage.blame`."""
        return self._persistently(lookup.blame(job_id))

    def _attempt(self, record: JobRecord) -> Attempt:
        metrics.QUEUE_SECONDS.labels(record.kind).observe(max(0, time.time() - record.create_ms / 1000))
        log.info("attempt begins", extra={"job_id": record.id, "attempt": record.attempt, "trace_id": record.trace_id})
        return Attempt(
            self,
            job_id=record.id,
            kind=record.kind,
            tenant=record.tenant,
            number=record.attempt,
            lane=record.lane,
            spec=record.job_spec(),
            execution_timeout_s=record.execution_timeout_ms / 1000,
            weight=record.weight,
            call_left_s=None if record.call_left_ms is None else record.call_left_ms / 1000,
            trace_id=record.trace_id,
            cache_policy=record.cache_policy if self._settings.unit_ttl_s else CachePolicy.CACHE_POLICY_BYPASS,
            documents=record.documents,
            data_class=record.job_options().data_class,
            gate=self._gate,
            max_deaths=self._settings.max_lost_workers,
            on_free=metrics.CANCEL_SECONDS.labels(record.kind).observe,
        )

    def _tell(self, op: Op[bool]) -> None:
        """Tells what is not worth waiting for: while Redis is away it is lost, the outcome is not."""
        try:
            self._store.run(op)
        except BackendUnavailable:
            log.warning("something could not be told: Redis is away")

    def _ended(self, attempt: Attempt, outcome: str) -> None:
        metrics.ATTEMPTS.labels(attempt.kind, outcome).inc()
        log.info("attempt ended", extra={"attempt": attempt.number, "outcome": outcome})

    def _publish(self, kind: str) -> None:
        try:
            self._broker.publish(kind)
        except BackendUnavailable:
            log.warning("the caretaker will tell of a job that was handed back")

    def _persistently(self, op: Op[T]) -> T:
        """What was computed must be told. The fencing token makes a repeat harmless."""
        return self._until_back(lambda: self._store.run(op))

    def _until_back(self, work: Callable[[], T]) -> T:
        """Repeats until Redis is back, where blobs may lie too, or until there is room on their disk."""
        delay_s = 0.1
        while True:
            try:
                return work()
            except (BackendUnavailable, HostExhausted):
                if self._over.wait(delay_s):
                    raise
                delay_s = min(2, delay_s * 2)


def _blob(source: InputSource) -> str:
    if source.WhichOneof("source") != "blob":
        raise FieldInvalid("input", "only blobs reach a worker")
    return source.blob
