"""The memory of one model's batches: measured as they run, leased from the device's budget before they do."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from prometheus_client import Gauge

from triptych.workers import metrics
from triptych.workers.memory_budget import Lease, MemoryBudget
from triptych.workers.memory_meters import MemoryMeter
from triptych.workers.memory_peaks import Peaks

log = logging.getLogger("triptych.memory")


class ModelBatchLease:
    """The memory of one batch that runs; see `BatchLease`."""

    def __init__(
        self, lease: Lease, peaks: Peaks, meter: MemoryMeter | None, key: Hashable, cost: float, gauge: Gauge
    ) -> None:
        self._lease = lease
        self._peaks = peaks
        self._meter = meter
        self._key = key
        self._cost = cost
        self._gauge = gauge
        gauge.set(lease.size_bytes)

    def admit(self, cost: float) -> bool:
        """See `BatchLease.admit`."""
        wanted_bytes = self._peaks.expected_bytes(self._key, self._cost + cost) or 0
        if not self._lease.grow(max(0, wanted_bytes - self._lease.size_bytes)):
            return False
        self._cost += cost
        self._gauge.set(self._lease.size_bytes)
        return True

    def settle(self, cost: float) -> None:
        """See `BatchLease.settle`."""
        self._cost = cost
        expected_bytes = self._peaks.expected_bytes(self._key, cost)
        if expected_bytes is not None:
            self._lease.shrink(max(0, self._lease.size_bytes - expected_bytes))
            self._gauge.set(self._lease.size_bytes)

    def learn(self, cost: float) -> None:
        """See `BatchLease.learn`. What others take beside it cannot be told apart."""
        if self._meter and (self._meter.alone or not self._lease.shared):
            self._peaks.learn(self._key, cost, self._meter.taken_bytes())
        else:
            self._peaks.note_run(self._key, cost)


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
        self._rest_bytes = weigh()
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
        """See `BatchMemory.leased`."""
        began = time.monotonic()
        with self._budget.lease(
            self._size_bytes(key, cost), wanted=partial(_wanted, items), spare=self._spare
        ) as lease:
            self._wait.observe(time.monotonic() - began)
            del items  # a batch that others join may run for hours
            self._note_excess(lease)
            meter = self._meter if self._measurable and self._meter.begin() else None
            try:
                yield ModelBatchLease(lease, self._peaks, meter, key, cost, self._leased)
            finally:
                if meter:
                    meter.taken_bytes()  # ends the measurement
                self._leased.set(0)
                # Some keep what their batches took, and whoever comes next has to know.
                if weighed_bytes := self._weigh():
                    # An engine's process that was just started anew takes less than it will.
                    self._budget.hold(self._name, max(self._rest_bytes, weighed_bytes))

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
