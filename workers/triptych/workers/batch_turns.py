"""Says whose turn it is among the tenants that share one engine."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from heapq import heappop, heappush, nlargest

MAX_AHEAD = 65_536
"""So many tenants of a tier may be ahead of its virtual time, which moves on if there are more: far more than wait."""

Rank = tuple[int, float, int]
"""Lane after ageing, deadline, number of arrival: of one tenant's items the smallest goes first."""


@dataclass(slots=True, eq=False)
class Account:
    """What one tenant has had of the engine in one tier."""

    tier: int
    start: float
    """Virtual time at which its next item starts."""


Turn = tuple[int, float, Rank, Account]
"""Tier and start of the account, rank of its first item: of several tenants the smallest goes first."""


class Ledger:
    """The accounts of the tenants that share one tier, by start-time fair queueing.

    Source: Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996. An item that is taken moves its tenant's
    start by cost / weight, and the least start goes first. Virtual time is the start of what was last taken in turn.
    Nobody who waits is behind it, and whoever comes, or comes back, starts there: with no credit for the time away, and
    no debt beyond what it took ahead of its turn.

    Args:
        tier: Its number; a lower one goes first.
    """

    def __init__(self, tier: int) -> None:
        self._tier = tier
        self._virtual_time = 0.0
        self._accounts: dict[str, Account] = {}

    def join(self, tenant: str) -> Account:
        """Gives the account of a tenant that has something to run."""
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(self._tier, self._virtual_time)
        account.start = max(account.start, self._virtual_time)
        return account

    def charge(self, account: Account, share: float, *, in_turn: bool) -> None:
        """Takes note that an item was taken, worth `share`: its cost by the tenant's weight.

        One taken out of turn, because it fits a batch of one key, must not move virtual time past those who wait.
        """
        if in_turn:
            self._virtual_time = account.start
        account.start += share

    def forget(self) -> None:
        """Forgets all tenants that are not ahead of virtual time. Those who wait must join again."""
        furthest = nlargest(MAX_AHEAD + 1, (account.start for account in self._accounts.values()))
        if len(furthest) > MAX_AHEAD:
            self._virtual_time = max(self._virtual_time, furthest[-1])
        self._accounts = {name: ahead for name, ahead in self._accounts.items() if ahead.start > self._virtual_time}


@dataclass(slots=True)
class _Line:
    """The items of one account."""

    ranks: list[Rank] = field(default_factory=list)
    turn: Turn | None = None
    """The one that counts of its turns in the heap: that of its first item when it was last looked at."""


class Turns:
    """Numbers of items in the order in which they go: by tier, then by their tenant's start, then by rank.

    A heap of ranks for each account, and one of the accounts' turns. What is out of date, since an item left or its
    tenant was charged, is put right when it surfaces; starts only rise, so nothing can hide below.
    """

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._lines: dict[Account, _Line] = {}

    def add(self, account: Account, rank: Rank) -> None:
        """Adds an item; O(log n)."""
        line = self._lines.get(account)
        if line is None:
            line = self._lines[account] = _Line()
        heappush(line.ranks, rank)
        if line.ranks[0] is rank:
            self._take_turn(account, line)

    def first(self, waiting: Container[int]) -> int | None:
        """Gives the number of the first item that still waits; O(log n), for each that has left, too."""
        while self._turns:
            turn = self._turns[0]
            account = turn[-1]
            line = self._lines.get(account)
            if line is None or turn is not line.turn:
                heappop(self._turns)
                continue
            while line.ranks and line.ranks[0][-1] not in waiting:
                heappop(line.ranks)
            if line.ranks and turn[1:3] == (account.start, line.ranks[0]):
                return line.ranks[0][-1]
            heappop(self._turns)
            if line.ranks:
                self._take_turn(account, line)
            else:
                del self._lines[account]
        return None

    def _take_turn(self, account: Account, line: _Line) -> None:
        line.turn = (account.tier, account.start, line.ranks[0], account)
        heappush(self._turns, line.turn)
