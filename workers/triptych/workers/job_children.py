"""Child jobs of a reasoning job on the same queues, and what else it asks of the world."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from triptych.core.blobs import BlobStore
from triptych.core.cancellation import cancel_tree
from triptych.core.errors import BackendUnavailable, CallTimeout, HostExhausted, JobCancelled, QueueFull, from_status
from triptych.core.events import EventHub
from triptych.core.media import HEAD_BYTES, checked_type
from triptych.core.records import LANES
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.submission import Submission, Submittal
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobResult, JobSpec, JobState
from triptych.workers.attempt import Attempt
from triptych.workers.bounded_cache import BoundedCache
from triptych.workers.converters import converter
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.reasoning.children import ChildOutcome, OnProgress
from triptych.workers.reasoning.readings import Reading
from triptych.workers.stoppable import HandedBack, LeaseLost
from triptych.workers.unit_store import UnitStore

T = TypeVar("T")

# Between two looks at how far a child is.
FOLLOW_EVERY_S = 0.5
_COPY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Readings:
    """What was made of one recognized document."""

    readings: Sequence[Reading]

    def nbytes(self) -> int:
        """Estimates the memory that they take."""
        return sum(reading.nbytes() for reading in self.readings)


ReadingCache = BoundedCache[Readings]
"""What was made of recognized documents, by tenant and by all that it depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all jobs of an orchestrator share.

    Attributes:
        settings: The operator's.
        store: Of jobs.
        hub: Tells when a child ends, and how far it is.
        submission: Of children.
        blobs: Inputs and results.
        readings: What was made of documents before.
        turns: Of the processes that open documents.
        computing: Threads that work on what was read.
    """

    settings: Settings
    store: AsyncStore
    hub: EventHub
    submission: Submission
    blobs: BlobStore
    readings: ReadingCache
    turns: asyncio.Semaphore
    computing: Executor


class JobChildren:
    """Child jobs of one attempt, on the same queues and in the same lane.

    A child's request_id is its parent and what it does, so a second attempt joins the children of the first one: what
    is done stays done.
    """

    def __init__(self, means: Means, units: UnitStore, attempt: Attempt) -> None:
        self._means = means
        self._units = units
        self._attempt = attempt

    async def run(self, spec: JobSpec, *, stage: str, on_progress: OnProgress | None = None) -> ChildOutcome:
        """See `Children.run`."""
        attempt, began = self._attempt, time.monotonic()
        submittal = Submittal(
            tenant=attempt.tenant,
            spec=spec,
            options=JobOptions(
                priority=LANES[attempt.lane],
                labels={"stage": stage},
                cache_policy=attempt.cache_policy,
                # What is read in a document is to be kept as closely as the document.
                data_class=attempt.data_class,
            ),
            request_id=f"{attempt.job_id}:{_fingerprint(spec)}",
            parent=attempt.job_id,
            trace_id=attempt.trace_id,
            documents=attempt.documents,
            # What comes later than the job itself may take is of no use to it.
            call_timeout_s=max(0.001, attempt.deadline - time.monotonic()),
        )
        record = await _patiently(lambda: self._means.submission.submit(submittal))
        child_id = record.id
        try:
            async with self._followed(child_id, on_progress):
                record = await _patiently(lambda: self._means.hub.wait(child_id, attempt.tenant))
        except BaseException:
            # Nobody waits for it any more, unless the job goes on elsewhere: its next attempt joins this child.
            if not isinstance(attempt.stopped_by(), HandedBack | LeaseLost):
                # Shielded: this very task is being cancelled.
                await asyncio.shield(cancel_tree(self._means.store, child_id, attempt.tenant))
            raise
        job = record.to_job()
        if record.state != JobState.JOB_STATE_SUCCEEDED:
            error = from_status(job.error)
            # The call that the child ran out of is its parent.
            raise attempt.too_late("needs longer") if isinstance(error, CallTimeout) else error
        result, digest = job.result, job.result_blob
        if not job.result_blob:
            digest = hashlib.sha256(result.SerializeToString(deterministic=True)).hexdigest()
        else:
            raw = await _patiently(lambda: asyncio.to_thread(self._means.blobs.read, attempt.tenant, job.result_blob))
            result = JobResult.FromString(raw)
        return ChildOutcome(
            job=job.name,
            result=result,
            elapsed_s=time.monotonic() - began,
            model=_model(result),
            cached=job.cached,
            digest=digest,
        )

    @contextlib.asynccontextmanager
    async def _followed(self, child_id: str, on_progress: OnProgress | None) -> AsyncIterator[None]:
        """Tells how far a child is, while the body waits for it."""
        following = asyncio.create_task(self._follow(child_id, on_progress)) if on_progress else None
        try:
            yield
        finally:
            if following:
                following.cancel()
                await asyncio.wait([following])

    async def _follow(self, child_id: str, on_progress: OnProgress) -> None:
        while True:
            with contextlib.suppress(BackendUnavailable):
                async with contextlib.aclosing(self._means.hub.follow(child_id, every_s=FOLLOW_EVERY_S)) as told:
                    async for progress in told:
                        telling = asyncio.ensure_future(on_progress(progress))
                        try:
                            await asyncio.shield(telling)
                        except asyncio.CancelledError:
                            # What is half told must not arrive behind what comes next.
                            await telling
                            raise
            await asyncio.sleep(FOLLOW_EVERY_S)

    async def compute(self, unit: str, work: Callable[[], T]) -> T:
        """See `Children.compute`."""

        def in_unit() -> T:
            with self._attempt.hand.unit(unit):
                return work()

        # Its log lines name the job, as those of this task do.
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._means.computing, context.run, in_unit)

    def check(self) -> None:
        """See `Children.check`."""
        self._attempt.check()

    async def readings(self, unit: str, key: str, make: Callable[[], Sequence[Reading]]) -> Sequence[Reading]:
        """See `Children.readings`."""
        attempt, purges = self._attempt, self._means.readings.purges
        if not key or attempt.cache_policy == CachePolicy.CACHE_POLICY_BYPASS:
            return await self.compute(unit, make)
        known = self._means.readings.find((attempt.tenant, key))
        if known is None:
            known = Readings(await self.compute(unit, make))
            self._means.readings.keep((attempt.tenant, key), known, purges=purges)
        return known.readings

    async def convert(
        self, unit: str, source: InputSource, media_type: str, *, spent: converter.Spent, depth: int
    ) -> converter.Converted:
        """See `Children.convert`."""
        async with self._means.turns:
            await asyncio.to_thread(self._attempt.hand.begin, unit)
            try:
                return await converter.convert(
                    lambda path: asyncio.to_thread(self._save, source, path),
                    self._keep,
                    media_type,
                    limits=ConversionLimits.of(self._means.settings),
                    spent=spent,
                    depth=depth,
                )
            finally:
                await asyncio.shield(asyncio.to_thread(self._attempt.hand.settle, unit))

    def _save(self, source: InputSource, path: Path) -> None:
        with self._attempt.open(source) as file, path.open("wb") as target:
            shutil.copyfileobj(file, target, _COPY_BYTES)

    async def _keep(self, data: bytes) -> InputSource:
        attempt = self._attempt

        def write() -> str:
            return self._units.write(attempt.holder, data, self._means.settings.blob_ttl_s)

        blob = await _patiently(lambda: asyncio.to_thread(write))
        if not blob:
            raise JobCancelled("the job does not run any more")
        return InputSource(blob=blob)

    async def media_type(self, source: InputSource) -> str:
        """See `Children.media_type`."""
        tenant = self._attempt.tenant
        head = await _patiently(lambda: asyncio.to_thread(self._means.blobs.read, tenant, source.blob, 0, HEAD_BYTES))
        return checked_type(head, source.media_type, source.display_name)

    async def digest(self, source: InputSource) -> str:
        """See `Children.digest`."""
        return source.blob.removeprefix("blobs/")


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Repeats while Redis is away, a lane or the disk full: none is a reason to end a job that was accepted."""
    delay_s = 0.1
    while True:
        try:
            return await work()
        except (BackendUnavailable, HostExhausted, QueueFull):
            await asyncio.sleep(delay_s)
            delay_s = min(2, delay_s * 2)


def _fingerprint(spec: JobSpec) -> str:
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()[:32]


def _model(result: JobResult) -> ModelRef:
    which = result.WhichOneof("result")
    return getattr(result, which).model if which else ModelRef()
