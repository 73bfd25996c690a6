"""A job's way into the queue: bytes to the blob store, then the record, then the message."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from triptych.core import jobs, lookup
from triptych.core.blobs import BlobStore, digest_of
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable, FieldInvalid
from triptych.core.jobs import NewJob
from triptych.core.records import LANES, JobRecord, new_job_id
from triptych.core.settings import Settings
from triptych.core.sources import inputs
from triptych.core.store import AsyncStore
from triptych.v1.job_pb2 import JobOptions, JobPriority, JobSpec

log = logging.getLogger("triptych.submission")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submittal:
    """A job as its caller wants it; already validated.

    Attributes:
        call_timeout_s: Until the deadline of the call that waits for it, if it shall not outlive that; 0: it may.
        documents: Digests of what its parent read.
        retry_of: Id of the job whose specification and options these are; empty if it is no retry.
        keep_inputs: Whether the bytes of its inputs stay when it has ended, for as long as the operator says.
    """

    tenant: str
    spec: JobSpec
    options: JobOptions
    default_priority: JobPriority.ValueType = JobPriority.JOB_PRIORITY_NORMAL
    request_id: str = ""
    parent: str = ""
    trace_id: str = ""
    call_timeout_s: float = 0
    webhook: str = ""
    documents: tuple[str, ...] = ()
    retry_of: str = ""
    keep_inputs: bool = True


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
            await self._publish(kind)
        return await self._store.run(lookup.get(job_id, submittal.tenant))

    async def _publish(self, kind: str) -> None:
        """Says that a job waits. If the broker is away, the caretaker says so later."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._senders, self._broker.publish, kind)
        except BackendUnavailable:
            log.warning("a message could not be sent; the caretaker will", extra={"kind": kind})

    def close(self) -> None:
        """Ends the sender threads."""
        self._senders.shutdown(wait=True)

    async def _stored(self, submittal: Submittal) -> JobSpec:
        """The specification with every input's bytes in the blob store, and none in itself."""
        # An input that is gone when its job begins would fail it.
        needed_s = (self._queue_timeout_ms(submittal) + self._execution_timeout_ms(submittal)) / 1000
        ttl_s = max(self._settings.blob_ttl_s, needed_s) if submittal.keep_inputs else needed_s
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
        raw, raw_options = spec.SerializeToString(deterministic=True), options.SerializeToString(deterministic=True)
        return NewJob(
            id=new_job_id(),
            tenant=submittal.tenant,
            kind=kind,
            lane=LANES.index(options.priority or submittal.default_priority),
            spec=raw,
            options=raw_options,
            queue_timeout_ms=self._queue_timeout_ms(submittal),
            execution_timeout_ms=self._execution_timeout_ms(submittal),
            call_timeout_ms=round(submittal.call_timeout_s * 1000),
            weight=settings.tenant_weights.get(submittal.tenant, 1.0),
            ttl_ms=options.result_ttl.ToMilliseconds() or settings.result_ttl_s * 1000,
            parent=submittal.parent,
            trace_id=submittal.trace_id,
            labels=dict(options.labels),
            webhook=submittal.webhook,
            request_id=submittal.request_id,
            cache_policy=options.cache_policy,
            documents=tuple(sorted({*submittal.documents, *(digest_of(source.blob) for _, source in inputs(spec))})),
            request_digest=hashlib.sha256(raw + raw_options + submittal.retry_of.encode()).hexdigest(),
        )

    def _queue_timeout_ms(self, submittal: Submittal) -> int:
        asked_ms: int = submittal.options.queue_timeout.ToMilliseconds()
        return asked_ms or self._settings.queue_timeout_s * 1000

    def _execution_timeout_ms(self, submittal: Submittal) -> int:
        asked_ms: int = submittal.options.execution_timeout.ToMilliseconds()
        return asked_ms or self._settings.execution_timeout_s * 1000
