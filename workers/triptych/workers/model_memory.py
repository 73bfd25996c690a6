"""The memory of one model's batches: measured as they run, leased from the device's budget before they do."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from triptych.workers import metrics
from triptych.workers.memory_budget import Lease, MemoryBudget
from triptych.workers.memory_meters import MemoryMeter
from triptych.workers.memory_peaks import Peaks

log = logging.getLogger("triptych.memory")


class ModelBatchLease:
    """The memory of one batch that runs; see `BatchLease`."""

    def __init__(self, lease: Lease, peaks: Peaks, meter: MemoryMeter | None, key: Hashable, cost: float) -> None:
        self._lease = lease
        self._peaks = peaks
        self._meter = meter
        self._key = key
        self._cost = self._most_cost = cost

    def admit(self, cost: float) -> bool:
        """See `BatchLease.admit`."""
        if not self._lease.grow(self._difference(self._cost + cost, self._cost)):
            return False
        self._cost += cost
        self._most_cost = max(self._most_cost, self._cost)
        return True

    def settle(self, cost: float) -> None:
        """See `BatchLease.settle`. What ran well until here is learned: a busy batch may never end."""
        if cost < self._cost:
            self._lease.shrink(self._difference(self._cost, cost))
            self._cost = cost
            self.learn()

    def learn(self) -> None:
        """Takes note of what was taken so far, if it can be told."""
        if self._meter and (self._meter.alone or not self._lease.shared):
            self._peaks.learn(self._key, self._most_cost, self._meter.taken_bytes())
        else:
            self._peaks.note_run(self._key, self._most_cost)

    def _difference(self, more: float, less: float) -> int:
        larger, smaller = (self._peaks.expected_bytes(self._key, cost) or 0 for cost in (more, less))
        return max(0, larger - smaller)


class ModelMemory:
    """See `BatchMemory`. A batch that runs alone on its device is measured; what others take beside it cannot be told.

    Until one was measured, a model's batch is a single item and leases all there is.

    Args:
        name: Of the model.
        budget: Of its device.
        meter: Measures its batches.
        weigh: Gives what the model takes at rest.
        spare: Frees idle models; see `MemoryBudget.lease`.
    """

    def __init__(
        self,
        name: str,
        budget: MemoryBudget,
        meter: MemoryMeter,
        *,
        weigh: Callable[[], int],
        spare: Callable[[int], bool] = lambda _missing_bytes: False,
    ) -> None:
        self._name = name
        self._budget = budget
        self._meter = meter
        self._weigh = weigh
        self._spare = spare
        self._peaks = Peaks()
        self._measurable = meter.begin()
        if self._measurable:
            meter.taken_bytes()
        self._wait = metrics.LEASE_SECONDS.labels(name)
        self._over = metrics.OVER_BUDGET.labels(name)
        self._leased = metrics.LEASED_BYTES.labels(name)
        meter.rest()

    def max_cost(self, key: Hashable) -> float:
        """See `BatchMemory.max_cost`."""
        if not self._measurable:
            return math.inf
        return self._peaks.max_cost(key, self._budget.room_bytes() + self._meter.kept_bytes())

    @contextmanager
    def leased(self, items: Sequence[Any], key: Hashable, cost: float) -> Iterator[ModelBatchLease]:
        """See `BatchMemory.leased`. What is raised inside the block teaches nothing."""
        began = time.monotonic()
        with self._budget.lease(self._size_bytes(key, cost), wanted=lambda: _wanted(items), spare=self._spare) as lease:
            self._wait.observe(time.monotonic() - began)
            self._note_excess(lease)
            self._leased.set(lease.size_bytes)
            meter = self._meter if self._measurable and self._meter.begin() else None
            batch = ModelBatchLease(lease, self._peaks, meter, key, cost)
            try:
                yield batch
                batch.learn()
            finally:
                if meter:
                    meter.taken_bytes()  # ends the measurement
                self._leased.set(0)
                # Some keep what their batches took, and whoever comes next has to know.
                if self._meter.alone:
                    self._budget.hold(self._name, self._weigh())

    def _size_bytes(self, key: Hashable, cost: float) -> int:
        if not self._measurable:
            return 0
        expected_bytes = self._peaks.expected_bytes(key, cost)
        if expected_bytes is None:
            return self._budget.room_bytes()
        return max(0, expected_bytes - self._meter.kept_bytes())

    def _note_excess(self, lease: Lease) -> None:
        room_bytes = self._budget.room_bytes()
        if lease.size_bytes > room_bytes:
            self._over.inc()
            facts = {"model": self._name, "wanted_bytes": lease.size_bytes, "room_bytes": room_bytes}
            log.warning("a batch is expected to take more than the budget leaves", extra=facts)


def _wanted(items: Sequence[Any]) -> bool:
    """Asks every item, as its engine will: the futures of those that are stopped end."""
    stopped = [hasattr(item, "stopped") and item.stopped() for item in items]
    return not all(stopped)
