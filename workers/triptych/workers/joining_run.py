"""Runs a batch that items join and leave between its steps, and ends the futures of its items one by one."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from triptych.workers.batch_history import BatchHistory
from triptych.workers.batch_memory import BatchMemory
from triptych.workers.batch_queue import Waiting
from triptych.workers.batch_run import BatchReport, BatchRun, Done, as_value, survive

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
JoinerT_contra = TypeVar("JoinerT_contra", contravariant=True)
EndedT_co = TypeVar("EndedT_co", covariant=True)


class JoinableBatch(Protocol[JoinerT_contra, EndedT_co]):
    """A batch that an engine runs step by step. Only the batcher's thread calls it."""

    def join(self, item: JoinerT_contra, /) -> int:
        """Adds an item, which the next step takes up; gives its number. Cheap.

        Raises:
            Exception: The item's own failure.
        """

    def step(self) -> Iterable[tuple[int, EndedT_co | Exception]]:
        """Brings every item a step further; gives (number, result or own failure) of those that have left with it.

        Raises:
            MemoryError: The batch does not fit the device.
            Exception: It failed, and nobody knows which item is to blame. Either way it is not used any more.
        """


@dataclass(slots=True, eq=False)
class _Rider(Generic[ItemT, ResultT]):
    """An item in the batch."""

    entry: Waiting[ItemT, Done[ResultT]]
    joined: float
    """On the clock of `time.monotonic`."""
    most: int = 1
    """The most items that were in the batch with it at one time."""
    most_cost: float = 0.0
    """The cost of all of them, at most."""
    seen_cost: float = 0.0
    """The cost of all that were there when it joined, its own included: when it ends well, so much has fitted."""


class JoiningRun(Generic[ItemT, ResultT]):
    """The batches of one busy stretch: it ends when nothing is in the batch, and nothing in the queue may join it.

    A step that fails ends its batch. Its items begin anew, in halves, until only the guilty ones fail; meanwhile nobody
    joins. A batch that does not fit the device is treated alike, and batches of its key cost less from then on.

    Args:
        begin_batch: Gives an empty batch of the engine.
        run_batch: Runs items from beginning to end: one result per item, in order.
        take_more: Gives items from the queue, begun, that may join those that run, as long as their cost is admitted.
        history: Learns runtimes and ceilings of cost.
        memory: Leased for as long as anything runs; items that join take more, and give it back when they leave.
        name: The batcher's.
        on_batch: Told of every item that left, and of every batch that was run in halves, after their futures ended.
    """

    def __init__(
        self,
        begin_batch: Callable[[], JoinableBatch[ItemT, ResultT]],
        run_batch: Callable[[Sequence[ItemT]], Sequence[ResultT | Exception]],
        take_more: Callable[
            [Sequence[Waiting[ItemT, Done[ResultT]]], Callable[[float], bool]], Sequence[Waiting[ItemT, Done[ResultT]]]
        ],
        history: BatchHistory,
        memory: BatchMemory,
        name: str,
        on_batch: Callable[[BatchReport], object],
    ) -> None:
        self._begin_batch = begin_batch
        self._run_batch = run_batch
        self._take_more = take_more
        self._history = history
        self._memory = memory
        self._name = name
        self._on_batch = on_batch
        self._batch: JoinableBatch[ItemT, ResultT] | None = None
        self._riders: dict[int, _Rider[ItemT, ResultT]] = {}

    def run(self, first: Sequence[Waiting[ItemT, Done[ResultT]]]) -> None:
        """Runs these, and all that join them. Raises nothing, whatever the engine does."""
        try:
            with self._memory.leased([entry.item for entry in first], first[0].key, _cost(first)) as lease:
                self._join(first)
                while self._riders:
                    if fitted := self._step():
                        lease.learn(fitted)
                    riders = [rider.entry for rider in self._riders.values()]
                    lease.settle(_cost(riders))
                    if riders:
                        self._join(self._take_more(riders, lease.admit))
        except BaseException as error:  # noqa: BLE001 - not even an engine's SystemExit may leave futures open
            # Outside the lease: those that begin anew ask for their own.
            self._run_apart(as_value(error), first)

    def _join(self, entries: Sequence[Waiting[ItemT, Done[ResultT]]]) -> None:
        for entry in entries:
            now = time.monotonic()
            rider = _Rider(entry, now)
            try:
                if self._batch is None:
                    self._batch = self._begin_batch()
                number = self._batch.join(entry.item)
            except BaseException as error:  # noqa: BLE001 - whatever an engine raises is the item's end only
                self._leave(rider, as_value(error), now)
            else:
                self._riders[number] = rider
                rider.seen_cost = sum(one.entry.cost for one in self._riders.values())
        together, cost = len(self._riders), sum(rider.entry.cost for rider in self._riders.values())
        for rider in self._riders.values():
            rider.most, rider.most_cost = max(rider.most, together), max(rider.most_cost, cost)

    def _step(self) -> float:
        """Brings all a step further; gives the cost that has fitted, as something ended well, or 0."""
        fitted = 0.0
        ended = list(self._batch.step()) if self._batch else []
        now = time.monotonic()
        for number, result in ended:
            rider = self._riders.pop(number, None)
            if rider is not None and self._leave(rider, result, now):
                fitted = max(fitted, rider.seen_cost)
        return fitted

    def _leave(self, rider: _Rider[ItemT, ResultT], result: ResultT | Exception, now: float) -> bool:
        """Ends an item; says whether it ended well."""
        entry = rider.entry
        well = survive(self._deliver, rider, result, now) or False
        if not entry.future.done():  # the last resort, for results that cannot even be looked at
            survive(entry.future.set_exception, RuntimeError("the result could not be delivered"))
        del entry.item  # an error in a future keeps the stack, and that the entry: keep at least no images
        if well:  # what fails or is stopped takes less than it would have
            self._history.learn_runtime(entry.key, rider.most_cost, now - rider.joined, now)
        safe_cost = self._history.safe_cost(entry.key)
        report = BatchReport(
            name=self._name,
            size=rider.most,
            cost=entry.cost,
            queued_ms=1000 * (rider.joined - entry.arrived),
            ran_ms=1000 * (now - rider.joined),
            split=False,
            out_of_memory=isinstance(result, MemoryError),
            errors=0 if well else 1,
            safe_cost=None if math.isinf(safe_cost) else safe_cost,
        )
        survive(self._on_batch, report)
        return well

    def _deliver(self, rider: _Rider[ItemT, ResultT], result: ResultT | Exception, now: float) -> bool:
        """Ends the item's future; says whether it ended well."""
        entry = rider.entry
        if entry.future.done():  # its engine heard that it was stopped
            return False
        if isinstance(result, BaseException):
            entry.future.set_exception(as_value(result))
            return False
        queued_ms, ran_ms = 1000 * (rider.joined - entry.arrived), 1000 * (now - rider.joined)
        entry.future.set_result(Done(value=result, queued_ms=queued_ms, ran_ms=ran_ms, batch_size=rider.most))
        return True

    def _run_apart(self, error: Exception, first: Sequence[Waiting[ItemT, Done[ResultT]]]) -> None:
        """Begins the items of a failed batch anew, in halves."""
        # Without riders it failed before anything ran.
        entries = [rider.entry for rider in self._riders.values()] or [one for one in first if not one.future.done()]
        # Others who left may have left their room behind: alone, the last one has not been tried yet.
        left_over = len(entries) == 1 and any(rider.most > 1 for rider in self._riders.values())
        self._riders.clear()
        self._batch = None  # what it holds of the device is wanted now
        if not entries:
            logger.error("%s: a batch failed after its items had ended", self._name, exc_info=error)
            return
        failed = None if left_over and isinstance(error, MemoryError) else error
        run = BatchRun(self._run_batch, self._history, self._memory, self._name, entries, failed=failed)
        run.run()
        survive(self._on_batch, run.report())


def _cost(entries: Iterable[Waiting[ItemT, Done[ResultT]]]) -> float:
    return sum(entry.cost for entry in entries)
