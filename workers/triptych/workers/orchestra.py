"""Runs reasoning jobs on one event loop: hundreds wait for their children, and none holds a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from celery import Celery

from triptych.core import telemetry
from triptych.core.blobs import BlobStore
from triptych.core.broker import TASK, Broker
from triptych.core.events import EventHub
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.submission import Submission
from triptych.v1.job_pb2 import JobEvent, JobResult
from triptych.workers import metrics
from triptych.workers.attempt import Attempt
from triptych.workers.bounded_cache import BoundedCache
from triptych.workers.claims import Claims
from triptych.workers.execution import Execution
from triptych.workers.job_children import JobChildren, Means, ReadingCache
from triptych.workers.leases import Leases
from triptych.workers.reasoning.pipeline import answer
from triptych.workers.unit_store import UnitStore

log = logging.getLogger("triptych.orchestra")
# Processes that open documents, each of which may take `max_decoder_bytes`.
CONVERSIONS_AT_ONCE = 4
# Threads that work on what was read. They share the interpreter: more would not be faster, but short work slips past
# long.
COMPUTATIONS_AT_ONCE = 8


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

        children = JobChildren(self._means, units, attempt)
        has_layout = bool(self._settings.layout_model and self._settings.table_model)
        result = await answer(attempt.spec.reasoning, children, report, self._pipelines, has_layout=has_layout)
        return JobResult(reasoning=result)

    async def _open(self) -> None:
        self._store = AsyncStore(self._settings.redis_url)
        self._hub = EventHub(self._store, self._settings.redis_url)
        self._hub.start()
        self._submission = Submission(self._settings, self._store, self._broker, self._blobs)
        self._means = Means(
            settings=self._settings,
            store=self._store,
            hub=self._hub,
            submission=self._submission,
            blobs=self._blobs,
            readings=self._readings,
            turns=asyncio.Semaphore(CONVERSIONS_AT_ONCE),
            computing=self._computing,
        )

    async def _close(self) -> None:
        await self._hub.stop()
        await self._store.close()
        self._submission.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
