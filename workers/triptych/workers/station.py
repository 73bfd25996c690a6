"""A loaded engine with the batcher that feeds it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from triptych.workers.batcher import Batcher, BatchPolicy, BatchReport, Done
from triptych.workers.engines.base import Engine

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Station(Generic[ItemT, ResultT]):
    """One engine, one batcher, one thread that runs it.

    Args:
        engine: Already loaded.
        policy: Bounds of a batch, in the engine's unit of cost.
        on_batch: Told of every batch (metrics).
    """

    def __init__(
        self,
        engine: Engine[ItemT, ResultT],
        policy: BatchPolicy,
        on_batch: Callable[[BatchReport], None] | None = None,
    ) -> None:
        self.engine = engine
        self._batcher: Batcher[ItemT, ResultT] = Batcher(
            engine.run_batch, policy, name=engine.model.model, on_batch=on_batch
        )

    def start(self) -> None:
        """Starts the batcher's thread."""
        self._batcher.start()

    def stop(self) -> None:
        """Runs what is queued, then ends the thread; no future is left open."""
        self._batcher.stop()

    def submit(self, item: ItemT, *, lane: int, deadline: float | None) -> Future[Done[ResultT]]:
        """Queues one item. `deadline` is on the clock of `time.monotonic`."""
        cost, key = self.engine.cost(item), self.engine.batch_key(item)
        return self._batcher.submit(item, cost=cost, key=key, lane=lane, deadline=deadline)
