"""One attempt of one worker at one job: what it reads, says and heeds while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import TYPE_CHECKING, Protocol, TypeVar

from triptych.core.errors import (
    AcceleratorMemoryExhausted,
    ExecutionTimeout,
    TriptychError,
)
from triptych.v1.job_pb2 import JobEvent, JobProgress, JobSpec, ProgressUnit

if TYPE_CHECKING:
    from triptych.v1.common_pb2 import InputSource
    from triptych.workers.batcher import Done
    from triptych.workers.station import Station

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class LeaseLost(TriptychError):
    """Another attempt runs the job: this one has nothing more to say. Never leaves the worker."""


class HandedBack(TriptychError):
    """The worker shuts down before the job is done: it goes back to its lane. Never leaves the worker."""


class Backstage(Protocol):
    """What an attempt needs of the world: the stores in a worker, a fake in a test."""

    def read(self, tenant: str, source: InputSource) -> bytes:
        """Gives the bytes of an input."""

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:
        """Appends an event; one of an attempt that lost its lease is dropped."""

    def save_part(self, job_id: str, attempt: int, key: str, value: bytes) -> None:
        """Keeps a finished part of the job for the next attempt, should this one die."""

    def parts(self, job_id: str) -> dict[str, bytes]:
        """Gives the parts that earlier attempts finished."""


class Attempt:
    """One attempt; frozen facts of the job plus the ways to work on it.

    Attributes:
        job_id: Id without "jobs/".
        number: Attempt, from 1; also the fencing token of its lease.
        lane: 0 interactive, 1 normal, 2 batch.
        deadline: End of the execution timeout, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        backstage: Backstage,
        *,
        job_id: str,
        tenant: str,
        number: int,
        lane: int,
        spec: JobSpec,
        execution_timeout_s: float,
        trace_id: str = "",
    ) -> None:
        self._backstage = backstage
        self.job_id = job_id
        self.tenant = tenant
        self.number = number
        self.lane = lane
        self.spec = spec
        self.trace_id = trace_id
        self.deadline = time.monotonic() + execution_timeout_s
        self._stopped_by: TriptychError | None = None
        self._open: set[Future[Done[object]]] = set()
        self._on_stop: Callable[[], object] | None = None

    # What stops it.

    def stop(self, reason: TriptychError) -> None:
        """Stops the attempt: queued items vanish, `check` and `results` raise the reason. Thread-safe."""
        self._stopped_by = self._stopped_by or reason
        for future in tuple(self._open):
            future.cancel()
        if self._on_stop:
            self._on_stop()

    def call_on_stop(self, callback: Callable[[], object]) -> None:
        """Has a callback called by `stop`, at once if that came before."""
        self._on_stop = callback
        if self._stopped_by is not None:
            callback()

    def stopped_by(self) -> TriptychError:
        """Gives what stopped the attempt."""
        return self._stopped_by or ExecutionTimeout("the attempt took longer than its execution_timeout")

    def stopped(self) -> bool:
        """Whether work on it is wasted. Cheap: engines ask between steps."""
        return self._stopped_by is not None or time.monotonic() > self.deadline

    def check(self) -> None:
        """Raises what stopped the attempt, if anything did.

        Raises:
            JobCancelled: The caller does not want it any more.
            ExecutionTimeout: It ran too long.
            TriptychError: The lease was lost, or the worker drains.
        """
        if self.stopped():
            raise self.stopped_by()

    # What it reads and says.

    def read(self, source: InputSource) -> bytes:
        """Gives the bytes of an input."""
        return self._backstage.read(self.tenant, source)

    def emit(self, event: JobEvent) -> None:
        """Tells watchers something: a segment, a page, more text."""
        self._backstage.emit(self.job_id, self.number, event)

    def progress(
        self,
        stage: str,
        completed: int = 0,
        total: int = 0,
        unit: ProgressUnit.ValueType = ProgressUnit.PROGRESS_UNIT_UNSPECIFIED,
    ) -> None:
        """Tells watchers how far it is; percent follows from the counts."""
        progress = JobProgress(stage=stage, completed_unit_count=completed, total_unit_count=total, unit=unit)
        if total:
            progress.percent = min(100, 100 * completed // total)
        self.emit(JobEvent(progress=progress))

    def save_part(self, key: str, value: bytes) -> None:
        """Keeps a finished part (a page) so that the next attempt need not do it again."""
        self._backstage.save_part(self.job_id, self.number, key, value)

    def parts(self) -> dict[str, bytes]:
        """Gives the parts that earlier attempts finished."""
        return self._backstage.parts(self.job_id) if self.number > 1 else {}

    # What it has computed.

    def submit(self, station: Station[ItemT, ResultT], item: ItemT) -> Future[Done[ResultT]]:
        """Hands one item to the station's batcher; the future is cancelled with the attempt."""
        self.check()
        future = station.submit(item, lane=self.lane, deadline=self.deadline)
        self._open.add(future)  # type: ignore[arg-type]  # a set of futures of anything
        future.add_done_callback(self._open.discard)
        if self._stopped_by is not None:  # stop() came between check and add
            future.cancel()
        return future

    def results(self, futures: Iterable[Future[Done[ResultT]]]) -> Iterator[tuple[int, Done[ResultT] | Exception]]:
        """Yields (index, result or that item's own error) as items finish.

        Raises:
            TriptychError: What stopped the attempt, at most 50 ms after `stop`.
        """
        index_of = {future: index for index, future in enumerate(futures)}
        waiting = set(index_of)
        while waiting:
            done, waiting = wait(waiting, timeout=0.05, return_when=FIRST_COMPLETED)
            self.check()
            for future in sorted(done, key=index_of.__getitem__):
                yield index_of[future], _outcome(future)

    def result(self, future: Future[Done[ResultT]]) -> Done[ResultT]:
        """Waits for one item and gives its result.

        Raises:
            Exception: The item's own error, or what stopped the attempt.
        """
        for _, outcome in self.results([future]):
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        raise AssertionError("results() yields once per future")


def _outcome(future: Future[Done[ResultT]]) -> Done[ResultT] | Exception:
    try:
        return future.result()
    except MemoryError:
        return AcceleratorMemoryExhausted("the item does not fit the device even alone")
    except CancelledError:
        return ExecutionTimeout("the item could not be started before its deadline")
    except Exception as error:  # noqa: BLE001 - an item's failure is a value
        return error
