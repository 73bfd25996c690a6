"""Decides which waiting items form the next batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from triptych.workers.batch_history import BatchHistory
from triptych.workers.batch_turns import Account, Ledger, Turns

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

REFRESHES_PER_LANE = 16
"""Ageing is looked at this often in `aging_s`: an item moves up at most a sixteenth of that too late."""

LEAST_CHARGE = 1e-6
"""What an item is charged at least, as a part of `max_cost`: tenants take turns even with items that cost nothing."""


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
    """Each such time waited moves an item one lane up, so that nothing starves; among its tenant's even past lane 0."""

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
    tenant: str
    weight: float
    account: Account = field(init=False)
    """The tenant's, in the tier of the item's lane."""
    future: Future[OutcomeT] = field(default_factory=Future)


@dataclass(slots=True)
class _Shelf:
    """The waiting items of one key."""

    turns: Turns = field(default_factory=Turns)
    items: int = 0
    cost: float = 0.0


class BatchQueue(Generic[ItemT, OutcomeT]):
    """Waiting items: tenants take turns by weight, and each has its items in order. Not thread-safe.

    A tenant's own order is that of lane after ageing, deadline, arrival. Among tenants the lane comes first, too, but
    there the age of single items would let an old backlog go before whoever else comes to the lane. So once a lane's
    oldest item has moved up to another lane, both are one tier, and in a tier tenants take turns.

    The order is kept twice, over all items and by key. An item that leaves by one of them stays in the other until it
    surfaces, or until both are built anew. So adding and taking cost O(log n), and the new build, a few times per
    `aging_s`, O(n).

    Args:
        policy: Bounds of a batch.
        history: Asked for ceilings and runtimes; whoever runs the batches feeds it.
        memory: Gives the cost up to which batches of a key fit.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        history: BatchHistory,
        memory: Callable[[Hashable], float] = lambda _key: math.inf,
    ) -> None:
        self._policy = policy
        self._history = history
        self._memory = memory
        self._numbers = count()
        self._waiting: dict[int, Waiting[ItemT, OutcomeT]] = {}
        self._turns = Turns()
        self._shelves: dict[Hashable, _Shelf] = {}
        self._reached: dict[int, int] = {}  # by lane, how far up its oldest item had come at the last refresh
        self._ledgers: dict[int, Ledger] = {}
        self._remains = 0  # items that left since the last refresh, and may still be in the order
        self._refresh_at = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self,
        item: ItemT,
        *,
        cost: float,
        key: Hashable,
        lane: int,
        deadline: float | None,
        tenant: str,
        weight: float,
        now: float,
    ) -> Waiting[ItemT, OutcomeT]:
        """Queues an item.

        Raises:
            ValueError: The cost is not finite or below 0, the deadline no number, or the weight not finite and above 0.
            TypeError: The key cannot be hashed.
        """
        if not 0 <= cost < math.inf or (deadline is not None and math.isnan(deadline)):
            raise ValueError(f"cost must be finite, 0 or more, and deadline a time, not {cost} and {deadline}")
        if not 0 < weight < math.inf:
            raise ValueError(f"weight must be finite and above 0, not {weight}")
        entry: Waiting[ItemT, OutcomeT] = Waiting(
            number=next(self._numbers),
            item=item,
            cost=cost,
            key=key,
            lane=lane,
            deadline=math.inf if deadline is None else deadline,
            arrived=now,
            tenant=tenant,
            weight=weight,
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
        self._remains += 1
        if not self._waiting:
            # Nobody waits for the others: whatever they had, all are even.
            self._turns, self._remains = Turns(), 0
            self._ledgers.clear()
        return entry

    def take(
        self,
        now: float,
        beside: Sequence[Waiting[ItemT, OutcomeT]] = (),
        admit: Callable[[float], bool] = lambda _cost: True,
    ) -> tuple[list[Waiting[ItemT, OutcomeT]], list[Waiting[ItemT, OutcomeT]]]:
        """Takes out (the next batch, the items found unable to meet their deadline). Either may be empty.

        The most urgent item says which key. Others of that key follow in order, whosever turn it is by then, until one
        does not fit: nobody is overtaken by a smaller one behind.

        Args:
            now: On the clock of `time.monotonic`.
            beside: Items of a batch that runs, all of one key, which those taken are to join: both together stay within
                the bounds. If the most urgent item is of another key, none is taken, so that the batch comes to an end.
            admit: Asked with the cost of each that would join those; False: there is no room for it.
        """
        batch: list[Waiting[ItemT, OutcomeT]] = []
        dropped = self._refresh(now)
        head = self._first(self._turns, now, dropped)
        if head is None or (beside and head.key != beside[0].key):
            return batch, dropped
        shelf, max_cost = self._shelves[head.key], self._max_cost(head.key)
        cost = sum(entry.cost for entry in beside)
        while head is not None and len(beside) + len(batch) < self._policy.max_items:
            entry = self._first(shelf.turns, now, dropped)
            if entry is None or ((batch or beside) and cost + entry.cost > max_cost):
                break
            if beside and not admit(entry.cost):
                break
            self._charge(entry, in_turn=entry.account is head.account)
            self.remove(entry.number)
            batch.append(entry)
            cost += entry.cost
            head = self._first(self._turns, now, dropped)
        return batch, dropped

    def company_wait_s(self, now: float) -> float:
        """Gives how long the next batch may still wait for company; 0 if it is full, or any item waited enough."""
        first = self._turns.first(self._waiting) if self._policy.max_wait_ms else None
        if first is None:
            return 0.0
        head = self._waiting[first]
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
        return min(self._policy.max_cost, self._history.safe_cost(key), self._memory(key))

    def _charge(self, entry: Waiting[ItemT, OutcomeT], *, in_turn: bool) -> None:
        share = max(entry.cost, LEAST_CHARGE * self._policy.max_cost) / entry.weight
        self._ledgers[entry.account.tier].charge(entry.account, share, in_turn=in_turn)

    def _shelve(self, entry: Waiting[ItemT, OutcomeT], now: float) -> None:
        shelf = self._shelves.get(entry.key)
        if shelf is None:
            shelf = self._shelves[entry.key] = _Shelf()
        shelf.items += 1
        shelf.cost += entry.cost
        tier = self._tier(entry.lane)
        entry.account = self._ledgers.setdefault(tier, Ledger(tier)).join(entry.tenant)
        rank = (self._aged_lane(entry, now), entry.deadline, entry.number)
        shelf.turns.add(entry.account, rank)
        self._turns.add(entry.account, rank)

    def _tier(self, lane: int) -> int:
        while any(reached < lane <= below for below, reached in self._reached.items()):
            lane -= 1
        return lane

    def _aged_lane(self, entry: Waiting[ItemT, OutcomeT], now: float) -> int:
        return entry.lane - int((now - entry.arrived) / self._policy.aging_s)

    def _first(
        self, turns: Turns, now: float, dropped: list[Waiting[ItemT, OutcomeT]]
    ) -> Waiting[ItemT, OutcomeT] | None:
        """Gives the first item that can meet its deadline; hopeless ones before it go to `dropped`."""
        while (number := turns.first(self._waiting)) is not None:
            entry = self._waiting[number]
            if entry.deadline > now + self._history.runtime_s(entry.key, entry.cost, now):
                return entry
            self.remove(number)
            dropped.append(entry)
        return None

    def _refresh(self, now: float) -> list[Waiting[ItemT, OutcomeT]]:
        """Builds the order anew if it has aged or holds mostly remains; gives the items that were overdue."""
        if now < self._refresh_at and self._remains <= 2 * len(self._waiting) + 64:
            return []
        overdue = [entry for entry in self._waiting.values() if entry.deadline <= now]
        for entry in overdue:
            self.remove(entry.number)
        oldest: dict[int, Waiting[ItemT, OutcomeT]] = {}
        for entry in self._waiting.values():
            oldest.setdefault(entry.lane, entry)
        self._reached = {lane: max(0, self._aged_lane(entry, now)) for lane, entry in oldest.items()}
        for ledger in self._ledgers.values():
            ledger.forget()
        self._turns, self._shelves, self._remains = Turns(), {}, 0
        for entry in self._waiting.values():
            self._shelve(entry, now)
        self._refresh_at = now + self._policy.aging_s / REFRESHES_PER_LANE
        return overdue
