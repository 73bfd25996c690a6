"""Runs reasoning jobs on one event loop: hundreds wait for their children, and none holds a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from celery import Celery

from triptych.core import telemetry
from triptych.core.blobs import BlobStore
from triptych.core.broker import TASK, Broker
from triptych.core.cancellation import cancel_tree
from triptych.core.errors import BackendUnavailable, CallTimeout, HostExhausted, JobCancelled, QueueFull, from_status
from triptych.core.events import EventHub
from triptych.core.media import HEAD_BYTES, checked_type
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.records import LANES
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.submission import Submission, Submittal
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import CachePolicy, JobEvent, JobOptions, JobResult, JobSpec, JobState
from triptych.workers import metrics
from triptych.workers.attempt import Attempt
from triptych.workers.bounded_cache import BoundedCache
from triptych.workers.claims import Claims
from triptych.workers.converters import converter
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases
from triptych.workers.reasoning.children import ChildOutcome, OnProgress
from triptych.workers.reasoning.pipeline import answer
from triptych.workers.reasoning.readings import Reading
from triptych.workers.stoppable import HandedBack, LeaseLost
from triptych.workers.unit_store import UnitStore

log = logging.getLogger("triptych.orchestra")
T = TypeVar("T")

# Between two looks at how far a child is.
FOLLOW_EVERY_S = 0.5
# Processes that open documents, each of which may take `max_decoder_bytes`.
CONVERSIONS_AT_ONCE = 4
# Threads that work on what was read. They share the interpreter: more would not be faster, but short work slips past
# long.
COMPUTATIONS_AT_ONCE = 8
_COPY_BYTES = 8 << 20


class Orchestra:
    """The event loop, in a thread of its own, with what child jobs need."""

    def __init__(self, settings: Settings, blobs: BlobStore, broker: Broker) -> None:
        self._settings = settings
        self._blobs = blobs
        self._broker = broker
        self._pipelines = Pipelines.load(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orchestra", daemon=True)
        # Not the loop's own threads: there, outcomes and events of all jobs would wait behind long work.
        self._computing = ThreadPoolExecutor(COMPUTATIONS_AT_ONCE, thread_name_prefix="computing")
        self._slots = threading.BoundedSemaphore(settings.max_reasoning_jobs)
        self._readings: ReadingCache = BoundedCache(settings.readings_cache_bytes, metrics.count_reading_look)
        metrics.READING_BYTES.set_function(self._readings.nbytes)

    def start(self) -> None:
        """Starts the loop."""
        self._thread.start()
        self._call(self._open()).result()

    def stop(self) -> None:
        """Ends the loop; running jobs were handed back before."""
        self._call(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._computing.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """Drops what is kept of documents: one was purged."""
        self._readings.forget()

    def wait_idle(self) -> None:
        """Waits until no job runs; a drain sees to it that this ends."""
        for _ in range(self._settings.max_reasoning_jobs):
            self._slots.acquire()

    def register(self, app: Celery, execution: Execution, leases: Leases, claims: Claims) -> None:
        """Adds the task that claims a job and puts it on the loop.

        The message is acknowledged as soon as that is done: from then on the lease keeps the job, not the broker.
        """

        @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]
        def run_next() -> None:
            self._slots.acquire()
            conducted = None
            try:
                if attempt := claims.next():
                    conducted = self.conduct(attempt, execution, leases)
                    conducted.add_done_callback(self._free_slot)
            finally:
                if conducted is None:
                    self._slots.release()

    def conduct(self, attempt: Attempt, execution: Execution, leases: Leases) -> Future[None]:
        """Puts an attempt on the loop; the future ends when its outcome is told."""
        return self._call(self._conduct(attempt, execution, leases))

    def _free_slot(self, conducted: Future[None]) -> None:
        self._slots.release()
        if error := conducted.exception():
            log.error("the outcome of a job could not be told; its lease runs out", exc_info=error)

    async def _conduct(self, attempt: Attempt, execution: Execution, leases: Leases) -> None:
        with (
            telemetry.bound(job_id=attempt.job_id, trace_id=attempt.trace_id),
            leases.held(attempt),
            metrics.RUNNING.labels("reasoning").track_inprogress(),
        ):
            task = asyncio.ensure_future(self._answer(attempt, execution.units))
            attempt.call_on_stop(lambda: self._loop.call_soon_threadsafe(task.cancel))
            try:
                result = await task
                await asyncio.to_thread(execution.succeed, attempt, result)
            except asyncio.CancelledError:
                await asyncio.to_thread(execution.fail, attempt, attempt.stopped_by())
            except Exception as error:  # noqa: BLE001 - a bug becomes the job's outcome, and a log line
                await asyncio.to_thread(execution.fail, attempt, error)

    async def _answer(self, attempt: Attempt, units: UnitStore) -> JobResult:
        async def report(event: JobEvent) -> None:
            await asyncio.to_thread(attempt.emit, event)

        children = JobChildren(
            self._settings,
            self._store,
            self._hub,
            self._submission,
            self._blobs,
            units,
            self._turns,
            self._readings,
            self._computing,
            attempt,
        )
        has_layout = bool(self._settings.layout_model and self._settings.table_model)
        result = await answer(attempt.spec.reasoning, children, report, self._pipelines, has_layout=has_layout)
        return JobResult(reasoning=result)

    async def _open(self) -> None:
        self._store = AsyncStore(self._settings.redis_url)
        self._hub = EventHub(self._store, self._settings.redis_url)
        self._hub.start()
        self._submission = Submission(self._settings, self._store, self._broker, self._blobs)
        self._turns = asyncio.Semaphore(CONVERSIONS_AT_ONCE)

    async def _close(self) -> None:
        await self._hub.stop()
        await self._store.close()
        self._submission.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@dataclass(frozen=True, slots=True)
class Readings:
    """What was made of one recognized document."""

    readings: Sequence[Reading]

    def nbytes(self) -> int:
        """Estimates the memory that they take."""
        return sum(reading.nbytes() for reading in self.readings)


ReadingCache = BoundedCache[Readings]
"""What was made of recognized documents, by tenant and by all that it depends on."""


class JobChildren:
    """Child jobs of one attempt, on the same queues and in the same lane.

    A child's request_id is its parent and what it does, so a second attempt joins the children of the first one: what
    is done stays done.
    """

    def __init__(
        self,
        settings: Settings,
        store: AsyncStore,
        hub: EventHub,
        submission: Submission,
        blobs: BlobStore,
        units: UnitStore,
        turns: asyncio.Semaphore,
        readings: ReadingCache,
        computing: Executor,
        attempt: Attempt,
    ) -> None:
        self._settings = settings
        self._units = units
        self._turns = turns
        self._store = store
        self._hub = hub
        self._submission = submission
        self._blobs = blobs
        self._readings = readings
        self._computing = computing
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
        record = await _patiently(lambda: self._submission.submit(submittal))
        child_id = record.id
        try:
            async with self._followed(child_id, on_progress):
                record = await _patiently(lambda: self._hub.wait(child_id, attempt.tenant))
        except BaseException:
            # Nobody waits for it any more, unless the job goes on elsewhere: its next attempt joins this child.
            if not isinstance(attempt.stopped_by(), HandedBack | LeaseLost):
                # Shielded: this very task is being cancelled.
                await asyncio.shield(cancel_tree(self._store, child_id, attempt.tenant))
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
            raw = await _patiently(lambda: asyncio.to_thread(self._blobs.read, attempt.tenant, job.result_blob))
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
                async with contextlib.aclosing(self._hub.follow(child_id, every_s=FOLLOW_EVERY_S)) as told:
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
        return await asyncio.get_running_loop().run_in_executor(self._computing, context.run, in_unit)

    def check(self) -> None:
        """See `Children.check`."""
        self._attempt.check()

    async def readings(self, unit: str, key: str, make: Callable[[], Sequence[Reading]]) -> Sequence[Reading]:
        """See `Children.readings`."""
        attempt, purges = self._attempt, self._readings.purges
        if not key or attempt.cache_policy == CachePolicy.CACHE_POLICY_BYPASS:
            return await self.compute(unit, make)
        known = self._readings.find((attempt.tenant, key))
        if known is None:
            known = Readings(await self.compute(unit, make))
            self._readings.keep((attempt.tenant, key), known, purges=purges)
        return known.readings

    async def convert(
        self, unit: str, source: InputSource, media_type: str, *, spent: converter.Spent, depth: int
    ) -> converter.Converted:
        """See `Children.convert`."""
        async with self._turns:
            await asyncio.to_thread(self._attempt.hand.begin, unit)
            try:
                return await converter.convert(
                    lambda path: asyncio.to_thread(self._save, source, path),
                    self._keep,
                    media_type,
                    limits=ConversionLimits.of(self._settings),
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
            return self._units.write(attempt.holder, data, self._settings.blob_ttl_s)

        blob = await _patiently(lambda: asyncio.to_thread(write))
        if not blob:
            raise JobCancelled("the job does not run any more")
        return InputSource(blob=blob)

    async def media_type(self, source: InputSource) -> str:
        """See `Children.media_type`."""
        tenant = self._attempt.tenant
        head = await _patiently(lambda: asyncio.to_thread(self._blobs.read, tenant, source.blob, 0, HEAD_BYTES))
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
