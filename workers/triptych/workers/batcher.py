"""Groups single items into batches for one engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from triptych.workers.batch_history import BatchHistory
from triptych.workers.batch_memory import BatchMemory, Boundless
from triptych.workers.batch_queue import BatchPolicy, BatchQueue, Waiting
from triptych.workers.batch_run import BatchReport, BatchRun, Done, survive
from triptych.workers.joining_run import JoinableBatch, JoiningRun

__all__ = ["BatchPolicy", "BatchReport", "Batcher", "Done", "JoinableBatch"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[ItemT, ResultT]):
    """Runs items in batches, on a thread of its own: the only one that calls `run_batch` and `begin_batch`.

    It is work-conserving: an idle engine takes what there is, and batches grow because the engine is busy. It goes on
    whatever `run_batch` raises: a batch that fails is split until only the guilty items fail, and one that runs out of
    memory is split too, and batches of its key stay smaller from then on.

    Args:
        run_batch: Gives one result per item, in order; an item's own failure is an exception in its slot.
        policy: Bounds of a batch.
        name: Of the thread, and in reports and logs.
        on_batch: Told of every batch, on the batcher's thread, after the batch's futures have ended.
        history: What earlier batches taught; from now on only the batcher's thread touches it.
        memory: Asked how large a batch may be, and for a lease before it runs.
        begin_batch: For an engine whose batches items join and leave between steps: gives an empty one. Whatever may
            run next joins at once, as long as the batch stays within its bounds. None: batches run as they were formed.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[ItemT]], Sequence[ResultT | Exception]],
        policy: BatchPolicy,
        *,
        name: str = "",
        on_batch: Callable[[BatchReport], None] | None = None,
        history: BatchHistory | None = None,
        memory: BatchMemory | None = None,
        begin_batch: Callable[[], JoinableBatch[ItemT, ResultT]] | None = None,
    ) -> None:
        self._run_batch = run_batch
        self._begin_batch = begin_batch
        self._name = name
        self._on_batch = on_batch
        self._history = history or BatchHistory()
        self._memory = memory or Boundless()
        self._queue: BatchQueue[ItemT, Done[ResultT]] = BatchQueue(policy, self._history, self._memory.max_cost)
        self._changed = threading.Condition()  # guards the queue and the flag
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name=f"batcher {name}".rstrip(), daemon=True)

    def start(self) -> None:
        """Starts the thread; items submitted before run now.

        Raises:
            RuntimeError: It was started or stopped before.
        """
        with self._changed:
            self._refuse_if_stopped()
            self._thread.start()

    def stop(self) -> None:
        """Runs what is queued, then ends the thread. Afterwards no future is left open.

        Without a `start` before, the queued items are cancelled. From within `on_batch` or a future's callback it
        returns at once, and the thread ends when the queue is empty.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
            started = self._thread.ident is not None
            left = [] if started else self._queue.drain()
        for entry in left:
            survive(_cancel, entry.future)
        if started and self._thread is not threading.current_thread():
            self._thread.join()

    def submit(
        self,
        item: ItemT,
        *,
        cost: float = 1.0,
        key: Hashable = None,
        lane: int = 1,
        deadline: float | None = None,
        tenant: str = "",
        weight: float = 1.0,
    ) -> Future[Done[ResultT]]:
        """Queues one item. Thread-safe.

        Args:
            item: What `run_batch` gets.
            cost: What it adds to its batch, in the unit of the policy's `max_cost`.
            key: Only items with equal keys share a batch.
            lane: 0 interactive, 1 normal, 2 batch.
            deadline: On the clock of `time.monotonic`. An item that cannot meet it is cancelled before it runs.
            tenant: Whoever shares the engine with the others of the lane; batches are of all tenants.
            weight: The tenant's share of cost, compared with those of the others.

        Returns:
            A future that always ends. `cancel` takes the item out of the queue as long as it has not begun to run.

        Raises:
            RuntimeError: The batcher is stopped.
            ValueError: The cost is not finite or below 0, the deadline no number, or the weight not finite and above 0.
            TypeError: The key cannot be hashed.
        """
        with self._changed:
            self._refuse_if_stopped()
            now = time.monotonic()
            entry = self._queue.add(
                item, cost=cost, key=key, lane=lane, deadline=deadline, tenant=tenant, weight=weight, now=now
            )
            self._changed.notify()
        # The number, not the entry: a future must not keep its own item, perhaps a large image, alive.
        entry.future.add_done_callback(partial(self._forget, entry.number))
        return entry.future

    def _refuse_if_stopped(self) -> None:
        if self._stopping:
            raise RuntimeError(f"batcher {self._name!r} is stopped")

    def _forget(self, number: int, future: Future[Done[ResultT]]) -> None:
        """Takes an item out of the queue whose future was cancelled by its owner."""
        if future.cancelled():
            with self._changed:
                entry = self._queue.remove(number)
            if entry is not None:
                _cancel(future)

    # From here on everything happens on the batcher's thread.

    def _serve(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        batch = self._next_batch()
        if not batch:
            return False
        if self._begin_batch is not None:
            JoiningRun(
                self._begin_batch,
                self._run_batch,
                self._take,
                self._history,
                self._memory,
                self._name,
                self._report,
            ).run(batch)
            return True
        run = BatchRun(self._run_batch, self._history, self._memory, self._name, batch)
        run.run()
        survive(self._report, run.report())
        return True

    def _report(self, report: BatchReport) -> None:
        if self._on_batch is not None:
            self._on_batch(report)

    def _next_batch(self) -> list[Waiting[ItemT, Done[ResultT]]]:
        """Waits for work and gives it, begun; an empty batch means stopped and drained."""
        while True:
            with self._changed:
                while (pause_s := self._pause_s()) != 0:
                    self._changed.wait(pause_s)
                drained = self._stopping and not self._queue
            batch = self._take()
            if batch or drained:
                return batch

    def _take(
        self,
        beside: Sequence[Waiting[ItemT, Done[ResultT]]] = (),
        admit: Callable[[float], bool] = lambda _cost: True,
    ) -> list[Waiting[ItemT, Done[ResultT]]]:
        """Takes what may run next, beside what runs, and begins it."""
        with self._changed:
            taken, dropped = self._queue.take(time.monotonic(), beside, admit)
        # Outside the lock: futures call back their owners.
        for entry in dropped:
            survive(_cancel, entry.future)
        return [entry for entry in taken if survive(entry.future.set_running_or_notify_cancel)]

    def _pause_s(self) -> float | None:
        """Gives how long to wait for more; None is until told."""
        if self._stopping:
            return 0
        return self._queue.company_wait_s(time.monotonic()) if self._queue else None


def _cancel(future: Future[Done[ResultT]]) -> None:
    try:
        future.cancel()
    finally:
        future.set_running_or_notify_cancel()  # without it, concurrent.futures.wait would not see the end
