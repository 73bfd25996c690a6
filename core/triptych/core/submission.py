"""A job's way into the queue: bytes to the blob store, then the record, then the message."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from triptych.core import jobs, lookup
from triptych.core.blobs import BlobStore
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable, FieldInvalid
from triptych.core.jobs import Message, NewJob
from triptych.core.records import LANES, JobRecord, new_job_id
from triptych.core.settings import Settings
from triptych.core.sources import inputs
from triptych.core.store import AsyncStore
from triptych.v1.job_pb2 import JobOptions, JobPriority, JobSpec

log = logging.getLogger("triptych.submission")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submittal:
    """A job as its caller wants it; already validated."""

    tenant: str
    spec: JobSpec
    options: JobOptions
    default_priority: JobPriority.ValueType = JobPriority.JOB_PRIORITY_NORMAL
    request_id: str = ""
    parent: str = ""
    trace_id: str = ""


class Submission:
    """Accepts jobs: for services, and for the orchestrator's children."""

    def __init__(self, settings: Settings, store: AsyncStore, broker: Broker, blobs: BlobStore) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._blobs = blobs
        # kombu blocks; two threads send faster than one loop submits.
        self._senders = ThreadPoolExecutor(2, thread_name_prefix="publish")

    async def submit(self, submittal: Submittal) -> JobRecord:
        """Accepts a job, or gives the one that the same request_id started before.

        Raises:
            RequestIdReused, QueueFull, BlobNotFound, BackendUnavailable: As their names say. Nothing is enqueued then.
        """
        kind = submittal.spec.WhichOneof("spec")
        if kind is None:
            raise FieldInvalid("spec", "exactly one of transcription, ocr, vision and reasoning must be set")
        job = self._new_job(submittal, kind, await self._stored(submittal))
        outcome, job_id = await self._store.run(jobs.create(job, max_pending=self._settings.max_pending_per_lane))
        if outcome == "created":
            await self.publish(Message(kind=kind, lane=job.lane, job_id=job_id))
        return await self._store.run(lookup.get(job_id, submittal.tenant))

    async def publish(self, message: Message) -> None:
        """Sends the message of a recorded job. If the broker is away, the sweeper sends it later."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._senders, self._broker.publish, message)
        except BackendUnavailable:
            log.warning("the message of a job could not be sent; the sweeper will", extra={"job_id": message.job_id})

    def close(self) -> None:
        """Ends the sender threads."""
        self._senders.shutdown(wait=True)

    async def _stored(self, submittal: Submittal) -> JobSpec:
        """The specification with every input's bytes in the blob store, and none in itself."""
        # An input that is gone when its job begins would fail it.
        needed_s = (self._queue_timeout_ms(submittal) + self._execution_timeout_ms(submittal)) / 1000
        ttl_s = max(self._settings.blob_ttl_s, needed_s)
        spec = JobSpec()
        spec.CopyFrom(submittal.spec)
        for path, source in inputs(spec):
            if source.WhichOneof("source") == "content":
                source.blob = (await asyncio.to_thread(self._blobs.put, submittal.tenant, source.content, ttl_s)).name
            elif source.blob:
                await asyncio.to_thread(self._blobs.touch, submittal.tenant, source.blob, ttl_s)
            else:
                raise FieldInvalid(path, "one of blob and content must be set")
        return spec

    def _new_job(self, submittal: Submittal, kind: str, spec: JobSpec) -> NewJob:
        options, settings = submittal.options, self._settings
        raw = spec.SerializeToString(deterministic=True)
        return NewJob(
            id=new_job_id(),
            tenant=submittal.tenant,
            kind=kind,
            lane=LANES.index(options.priority or submittal.default_priority),
            spec=raw,
            queue_timeout_ms=self._queue_timeout_ms(submittal),
            execution_timeout_ms=self._execution_timeout_ms(submittal),
            ttl_ms=options.result_ttl.ToMilliseconds() or settings.result_ttl_s * 1000,
            parent=submittal.parent,
            trace_id=submittal.trace_id,
            labels=dict(options.labels),
            request_id=submittal.request_id,
            request_digest=hashlib.sha256(raw + options.SerializeToString(deterministic=True)).hexdigest(),
        )

    def _queue_timeout_ms(self, submittal: Submittal) -> int:
        asked_ms: int = submittal.options.queue_timeout.ToMilliseconds()
        return asked_ms or self._settings.queue_timeout_s * 1000

    def _execution_timeout_ms(self, submittal: Submittal) -> int:
        asked_ms: int = submittal.options.execution_timeout.ToMilliseconds()
        return asked_ms or self._settings.execution_timeout_s * 1000
