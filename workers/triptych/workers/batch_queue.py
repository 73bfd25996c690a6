"""Decides which waiting items form the next batch."""

from __future__ import annotations

import math
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from triptych.workers.batch_history import BatchHistory

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

Rank = tuple[int, float, int]
"""Lane after ageing, deadline, number of arrival: the smallest goes first."""

REFRESHES_PER_LANE = 16
"""Ageing is looked at this often in `aging_s`: an item moves up at most a sixteenth of that too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """Bounds of a batch, and how waiting is weighed.

    Raises:
        ValueError: A bound under which nothing could ever run.
    """

    max_cost: float
    """Sum of costs a batch may reach, in the engine's unit; an item that costs more runs alone."""
    max_items: int = 16
    """Number of items a batch may reach."""
    max_wait_ms: float = 0
    """How long an item may wait for company while the engine is idle. 0 is right for most."""
    aging_s: float = 30
    """Each such time waited moves an item one lane up, even past lane 0, so that nothing starves."""

    def __post_init__(self) -> None:
        if not (self.max_cost > 0 and self.max_items >= 1 and self.max_wait_ms >= 0 and self.aging_s > 0):
            raise ValueError(f"a batch policy no item could run under: {self}")


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting(Generic[ItemT, OutcomeT]):
    """One queued item. Whoever takes it out of the queue must end its future."""

    number: int
    item: ItemT
    """Deleted once it has run."""
    cost: float
    key: Hashable
    lane: int
    deadline: float
    """On the clock of `time.monotonic`; infinite if there is none."""
    arrived: float
    """On the same clock."""
    future: Future[OutcomeT] = field(default_factory=Future)


@dataclass(slots=True)
class _Shelf:
    """The waiting items of one key."""

    ranks: list[Rank] = field(default_factory=list)
    items: int = 0
    cost: float = 0.0


class BatchQueue(Generic[ItemT, OutcomeT]):
    """Waiting items in order of lane (with ageing), then deadline, then arrival. Not thread-safe.

    Ranks stand in two heaps, one over all items and one per key. An item that leaves by one of them leaves its rank
    behind in the other until that surfaces, or until the heaps are built anew. So adding and taking cost O(log n), and
    the new build, a few times per `aging_s`, O(n).

    Args:
        policy: Bounds of a batch.
        history: Asked for ceilings and runtimes; whoever runs the batches feeds it.
    """

    def __init__(self, policy: BatchPolicy, history: BatchHistory) -> None:
        self._policy = policy
        self._history = history
        self._numbers = count()
        self._waiting: dict[int, Waiting[ItemT, OutcomeT]] = {}
        self._ranks: list[Rank] = []
        self._shelves: dict[Hashable, _Shelf] = {}
        self._refresh_at = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, item: ItemT, *, cost: float, key: Hashable, lane: int, deadline: float | None, now: float
    ) -> Waiting[ItemT, OutcomeT]:
        """Queues an item.

        Raises:
            ValueError: The cost is negative or not finite, or the deadline is no number.
            TypeError: The key cannot be hashed.
        """
        if not 0 <= cost < math.inf or (deadline is not None and math.isnan(deadline)):
            raise ValueError(f"cost must be finite, 0 or more, and deadline a time, not {cost} and {deadline}")
        entry: Waiting[ItemT, OutcomeT] = Waiting(
            number=next(self._numbers),
            item=item,
            cost=cost,
            key=key,
            lane=lane,
            deadline=math.inf if deadline is None else deadline,
            arrived=now,
        )
        self._shelve(entry, now)
        self._waiting[entry.number] = entry
        return entry

    def remove(self, number: int) -> Waiting[ItemT, OutcomeT] | None:
        """Takes one item out, or gives None if it is no longer in the queue."""
        entry = self._waiting.pop(number, None)
        if entry is None:
            return None
        shelf = self._shelves[entry.key]
        shelf.items -= 1
        shelf.cost -= entry.cost
        if not shelf.items:
            del self._shelves[entry.key]
        if not self._waiting:
            self._ranks.clear()
        return entry

    def take(self, now: float) -> tuple[list[Waiting[ItemT, OutcomeT]], list[Waiting[ItemT, OutcomeT]]]:
        """Takes out (the next batch, the items found unable to meet their deadline). Either may be empty.

        The most urgent item says which key. Others of that key follow in order until one does not fit: nobody is
        overtaken by a smaller one behind.
        """
        batch: list[Waiting[ItemT, OutcomeT]] = []
        dropped = self._refresh(now)
        head = self._first(self._ranks, now, dropped)
        if head is None:
            return batch, dropped
        shelf, max_cost, cost = self._shelves[head.key], self._max_cost(head.key), 0.0
        while len(batch) < self._policy.max_items:
            entry = self._first(shelf.ranks, now, dropped)
            if entry is None or (batch and cost + entry.cost > max_cost):
                break
            self.remove(entry.number)
            batch.append(entry)
            cost += entry.cost
        return batch, dropped

    def company_wait_s(self, now: float) -> float:
        """Gives how long the next batch may still wait for company; 0 if it is full, or any item waited enough."""
        if not (self._policy.max_wait_ms and self._waiting):
            return 0.0
        while self._ranks[0][2] not in self._waiting:
            heappop(self._ranks)
        head = self._waiting[self._ranks[0][2]]
        shelf = self._shelves[head.key]
        if shelf.items >= self._policy.max_items or shelf.cost >= self._max_cost(head.key):
            return 0.0
        oldest = next(iter(self._waiting.values()))
        wait_s = oldest.arrived + self._policy.max_wait_ms / 1000 - now
        # Nobody may miss its deadline for the sake of company.
        slack_s = head.deadline - now - self._history.runtime_s(head.key, head.cost, now)
        return wait_s if 0 < wait_s < slack_s else 0.0

    def drain(self) -> list[Waiting[ItemT, OutcomeT]]:
        """Takes out everything."""
        return [entry for number in tuple(self._waiting) if (entry := self.remove(number))]

    def _max_cost(self, key: Hashable) -> float:
        return min(self._policy.max_cost, self._history.safe_cost(key))

    def _shelve(self, entry: Waiting[ItemT, OutcomeT], now: float) -> None:
        lanes_up = int((now - entry.arrived) / self._policy.aging_s)
        rank = (entry.lane - lanes_up, entry.deadline, entry.number)
        shelf = self._shelves.setdefault(entry.key, _Shelf())
        shelf.items += 1
        shelf.cost += entry.cost
        heappush(shelf.ranks, rank)
        heappush(self._ranks, rank)

    def _first(
        self, ranks: list[Rank], now: float, dropped: list[Waiting[ItemT, OutcomeT]]
    ) -> Waiting[ItemT, OutcomeT] | None:
        """Gives the first item of a heap that can meet its deadline; hopeless ones before it go to `dropped`."""
        while ranks:
            entry = self._waiting.get(ranks[0][2])
            if entry is None:
                heappop(ranks)
            elif entry.deadline <= now + self._history.runtime_s(entry.key, entry.cost, now):
                self.remove(entry.number)
                dropped.append(entry)
            else:
                return entry
        return None

    def _refresh(self, now: float) -> list[Waiting[ItemT, OutcomeT]]:
        """Builds the heaps anew if they have aged or hold mostly remains; gives the items that were overdue."""
        if now < self._refresh_at and len(self._ranks) <= 2 * len(self._waiting) + 64:
            return []
        self._refresh_at = now + self._policy.aging_s / REFRESHES_PER_LANE
        self._ranks.clear()
        self._shelves.clear()
        for entry in self._waiting.values():
            self._shelve(entry, now)
        overdue = [entry for entry in self._waiting.values() if entry.deadline <= now]
        for entry in overdue:
            self.remove(entry.number)
        return overdue
