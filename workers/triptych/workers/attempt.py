"""One attempt of one worker at one job: what it reads, says and heeds while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from triptych.core.errors import AcceleratorMemoryExhausted
from triptych.core.units import Holder, Work
from triptych.v1.job_pb2 import CachePolicy, DataClass, JobEvent, JobProgress, JobSpec, ProgressUnit
from triptych.workers.backstage import Backstage
from triptych.workers.blob_file import BlobFile
from triptych.workers.flight import Flight
from triptych.workers.gate import Gate
from triptych.workers.hand import Hand
from triptych.workers.stoppable import Stoppable

if TYPE_CHECKING:
    from triptych.v1.common_pb2 import InputSource
    from triptych.workers.batcher import Done
    from triptych.workers.route import Route
    from triptych.workers.station import Station

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Attempt(Stoppable):
    """One attempt; frozen facts of the job plus the ways to work on it.

    Attributes:
        hand: The units that it works on; foreign bytes are touched only inside one.
        kind: Of the job.
        tenant: Whose job it is.
        weight: The tenant's share of the engine, relative to others'.
        number: Attempt, from 1; also the fencing token of its lease.
        lane: 0 interactive, 1 normal, 2 batch.
        cache_policy: Whether it may have results of others, and they its own.
        documents: Digests of what the job and its parent read.
        data_class: How closely its bytes are to be kept, as its caller said.
        cached: Whether nothing of the result had to be computed; set by the kind's code.

    Args:
        execution_timeout_s: Longest time it may run.
        call_left_s: Until the deadline of the call that waits for it; None: there is none.
        gate: Of the worker.
        max_deaths: Workers that may die on a unit.
        on_free: Told, after a cancellation, how many seconds passed from its request until nothing of it ran any more.
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
        kind: str = "",
        weight: float = 1.0,
        call_left_s: float | None = None,
        trace_id: str = "",
        cache_policy: CachePolicy.ValueType = CachePolicy.CACHE_POLICY_UNSPECIFIED,
        documents: tuple[str, ...] = (),
        data_class: DataClass.ValueType = DataClass.DATA_CLASS_UNSPECIFIED,
        gate: Gate | None = None,
        max_deaths: int = 3,
        on_free: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        super().__init__(job_id, execution_timeout_s=execution_timeout_s, call_left_s=call_left_s)
        self._backstage = backstage
        self.kind = kind
        self.tenant = tenant
        self.weight = weight
        self.number = number
        self.lane = lane
        self.spec = spec
        self.trace_id = trace_id
        self.cache_policy = cache_policy
        self.documents = documents
        self.data_class = data_class
        self.cached = False
        self.hand = Hand(
            backstage,
            job_id=job_id,
            number=number,
            gate=gate or Gate(),
            max_deaths=max_deaths,
            check=self.check,
        )
        self._open: set[Future[Done[object]]] = set()
        self._on_free = on_free
        self._closed = False
        self.call_on_stop(self._cancel_open)

    def afford(self, station: Station[ItemT, ResultT], item_count: int, what: str) -> None:
        """Refuses work that cannot be done in time, before anything is decoded for it.

        Args:
            station: Knows what an item took lately, at least.
            item_count: Items to come.
            what: They are, such as "pages".

        Raises:
            ExecutionTimeout, CallTimeout: There is less time.
        """
        # What was measured may have been larger than what comes: half of it is sure enough to refuse by.
        needed_s, left_s = station.least_s(item_count) / 2, self.deadline - time.monotonic()
        if needed_s > left_s:
            about = f"{item_count} {what} take {needed_s:.1f} s or more, {left_s:.1f} s are left"
            raise self.too_late(f"would take longer ({about})")

    # What it reads and says.

    def read(self, source: InputSource) -> bytes:
        """Gives the bytes of an input."""
        return self._backstage.read(self.tenant, source)

    def open(self, source: InputSource) -> BlobFile:
        """Gives an input as a file, whose bytes are read when they are wanted."""
        size = self._backstage.size(self.tenant, source)
        return BlobFile(partial(self._backstage.read, self.tenant, source), size)

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

    def parts(self) -> dict[str, bytes]:
        """Gives the units that earlier attempts finished."""
        return self._backstage.parts(self.job_id) if self.number > 1 else {}

    def close(self) -> None:
        """Lets go of everything; whoever runs the attempt calls it last."""
        self.hand.drop_all()
        self._closed = True
        self._tell_if_free()

    # What it has computed, here or elsewhere.

    @property
    def holder(self) -> Holder:
        """Who it is to those who share units with it."""
        return Holder(tenant=self.tenant, job_id=self.job_id, attempt=self.number, documents=self.documents)

    def flight(self, work: Work) -> Flight:
        """Gives the units of a work, shared as the job's cache policy allows."""
        return Flight(self._backstage.units, work, self.holder, policy=self.cache_policy, check=self.check)

    def submit(self, station: Route[ItemT, ResultT], item: ItemT, *, unit: str = "") -> Future[Done[ResultT]]:
        """Hands one item to the station's batcher; the future is cancelled with the attempt.

        Args:
            station: Runs it, or finds who does.
            item: What its engine gets.
            unit: The begun unit that it is. It holds up nobody once the engine is done with it.
        """
        self.check()
        future = station.submit(item, lane=self.lane, deadline=self.deadline, tenant=self.tenant, weight=self.weight)
        self._open.add(future)  # type: ignore[arg-type]  # a set of futures of anything
        leave = self.hand.pass_on(unit)
        future.add_done_callback(lambda _: leave())
        future.add_done_callback(self._ended)
        if self._stopped_by is not None:  # stop() came between check and add
            future.cancel()
        return future

    def _cancel_open(self) -> None:
        for future in tuple(self._open):
            future.cancel()

    def _ended(self, future: Future[Done[ResultT]]) -> None:
        self._open.discard(future)
        self._tell_if_free()

    def _tell_if_free(self) -> None:
        if self._cancelled_at is not None and self._closed and not self._open:
            since, self._cancelled_at = self._cancelled_at, None
            self._on_free(time.monotonic() - since)

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
                yield index_of[future], self._outcome(future)

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

    def _outcome(self, future: Future[Done[ResultT]]) -> Done[ResultT] | Exception:
        try:
            return future.result()
        except MemoryError:
            return AcceleratorMemoryExhausted("the item does not fit the device even alone")
        except CancelledError:
            return self.too_late("waited longer for its engine")
        except Exception as error:  # noqa: BLE001 - an item's failure is a value
            return error
