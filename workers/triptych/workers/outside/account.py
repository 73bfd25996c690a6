"""Reserves money before a call and settles it afterwards, whatever becomes of the call or of Redis meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from triptych.core import spending
from triptych.core.errors import BackendUnavailable, BudgetExhausted
from triptych.core.policy import TenantPolicy
from triptych.core.spending import Leaving
from triptych.core.store import AsyncStore, Op

log = logging.getLogger("triptych.outside")

# Beyond the longest call: time to tell what came of it, should Redis be away.
SETTLE_S = 60.0
# A result waits so long for its entry in the ledger; then the entry comes later.
PATIENCE_S = 2.0


class Account:
    """The budgets and the ledger, as a worker writes them. For one event loop.

    Args:
        store: Where they are.
        kept_s: How long the ledger keeps an entry, in seconds.
    """

    def __init__(self, store: AsyncStore, kept_s: float) -> None:
        self._store = store
        self._kept_s = kept_s
        self._errands: set[asyncio.Task[None]] = set()

    async def reserve(self, leaving: Leaving, amount: int, policy: TenantPolicy, *, longest_s: float) -> None:
        """Sets money aside, in millionths; nothing may leave before. While Redis is away it waits.

        Raises:
            BudgetExhausted: The budget does not have it.
        """
        ttl_s = longest_s + SETTLE_S
        reserving = self._begin(
            self._reserve(spending.reserve(leaving, amount, policy, ttl_s=ttl_s, kept_s=self._kept_s))
        )
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            # Nothing has left, but what was sent to Redis cannot be called back: it is undone when it has come.
            self._begin(self._undo(reserving, leaving, ttl_s))
            raise

    async def settle(
        self, leaving: Leaving, outcome: str, cost: int, usage: tuple[int, int], *, longest_s: float
    ) -> None:
        """Ends a reservation with what the call cost, in millionths; goes on in the background if that takes long."""
        errand = self._begin(self._settle(leaving, outcome, cost, usage, longest_s + SETTLE_S))
        await asyncio.wait([errand], timeout=PATIENCE_S)

    async def close(self, timeout_s: float) -> None:
        """Waits for what is not settled yet."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=timeout_s)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        errand = asyncio.ensure_future(work)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        return errand

    async def _reserve(self, op: Op[None]) -> None:
        delay_s = 0.1
        while True:
            try:
                await self._store.run(op)
                return
            except BackendUnavailable:
                await asyncio.sleep(delay_s)
                delay_s = min(2.0, delay_s * 2)

    async def _undo(self, reserving: asyncio.Task[None], leaving: Leaving, ttl_s: float) -> None:
        with suppress(BudgetExhausted):
            await reserving
            await self._settle(leaving, "cancelled", 0, (0, 0), ttl_s)

    async def _settle(self, leaving: Leaving, outcome: str, cost: int, usage: tuple[int, int], ttl_s: float) -> None:
        input_tokens, output_tokens = usage
        op = spending.settle(leaving.id, outcome, cost, input_tokens=input_tokens, output_tokens=output_tokens)
        delay_s, waited_s = 0.1, 0.0
        while waited_s < ttl_s:
            try:
                await self._store.run(op)
                return
            except BackendUnavailable:
                await asyncio.sleep(delay_s)
                waited_s += delay_s
                delay_s = min(2.0, delay_s * 2)
        log.error("a call could not be settled; it is charged in full", extra={"job_id": leaving.job_id})
