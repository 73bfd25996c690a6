"""A loaded engine with the batcher that feeds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Generic, TypeVar

from triptych.workers.batch_history import BatchHistory
from triptych.workers.batch_memory import BatchMemory
from triptych.workers.batcher import Batcher, BatchPolicy, BatchReport, Done
from triptych.workers.engines.base import Engine, RunningEngine
from triptych.workers.pace import Pace
from triptych.workers.withdrawal import Withdrawal

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Station(Generic[ItemT, ResultT]):
    """One engine, one batcher, one thread that runs it.

    Args:
        engine: Already loaded.
        policy: Bounds of a batch, in the engine's unit of cost.
        on_batch: Told of every batch (metrics).
        history: What earlier batches taught.
        memory: That of the device, which the batches lease.
    """

    def __init__(
        self,
        engine: Engine[ItemT, ResultT],
        policy: BatchPolicy,
        on_batch: Callable[[BatchReport], None] | None = None,
        *,
        history: BatchHistory | None = None,
        memory: BatchMemory | None = None,
    ) -> None:
        self.engine = engine
        self._on_batch = on_batch
        self._pace = Pace()
        self._open = 0
        self._counting = threading.Lock()
        self._batcher: Batcher[ItemT, ResultT] = Batcher(
            engine.run_batch,
            policy,
            name=engine.model.model,
            on_batch=self._note,
            history=history,
            memory=memory,
            begin_batch=engine.begin_batch if isinstance(engine, RunningEngine) else None,
        )

    def start(self) -> None:
        """Starts the batcher's thread."""
        self._batcher.start()

    def stop(self) -> None:
        """Runs what is queued, then ends the thread; no future is left open."""
        self._batcher.stop()

    def submit(
        self, item: ItemT, *, lane: int, deadline: float | None, tenant: str = "", weight: float = 1.0
    ) -> Future[Done[ResultT]]:
        """Queues one item. `deadline` is on the clock of `time.monotonic`; see `Batcher.submit`.

        An item may have a field `stopped`, which its engine asks between steps: its future ends when that is heard.
        """
        cost, key = self.engine.cost(item), self.engine.batch_key(item)
        withdrawal = Withdrawal(getattr(item, "stopped", lambda: False))
        if hasattr(item, "stopped"):
            item = replace(item, stopped=withdrawal)  # type: ignore[type-var]  # items that have it are dataclasses
        future = self._batcher.submit(
            item, cost=cost, key=key, lane=lane, deadline=deadline, tenant=tenant, weight=weight
        )
        withdrawal.ends(future)
        with self._counting:
            self._open += 1
        future.add_done_callback(self._close)
        return future

    @property
    def idle(self) -> bool:
        """Whether no item waits or runs."""
        return not self._open

    def _close(self, _future: Future[Done[ResultT]]) -> None:
        with self._counting:
            self._open -= 1

    @property
    def may_leave(self) -> bool:
        """Whether a model outside may get items."""
        return False

    def stands(self, _known: ResultT) -> bool:
        """Whether a result that is known already is what an item would get."""
        return True

    def least_s(self, item_count: int) -> float:
        """Gives how long so many more items take at least, as was measured lately; 0 if unknown. Thread-safe.

        Each counts as its share of the quickest batch of the last minute, and nobody as waiting before them. Items far
        smaller than all of that minute's may still be quicker.
        """
        return self._pace.least_s(item_count, time.monotonic())

    def _note(self, report: BatchReport) -> None:
        if not report.errors:  # what fails may fail at once
            self._pace.learn(report.size, report.ran_ms / 1000, time.monotonic())
        if self._on_batch is not None:
            self._on_batch(report)
