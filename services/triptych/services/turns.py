"""Lets few callers do something heavy at a time, one of each tenant, and few wait for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from triptych.core.errors import QueueFull

# Nobody knows how long those take who are first.
RETRY_AFTER_S = 5


class Turns:
    """Bound to the loop that uses it.

    Args:
        what: For messages: "searchable PDFs".
        at_once: Callers who may work at a time.
        waiting: Callers of one tenant who may be here at a time, those who work included.
    """

    def __init__(self, what: str, *, at_once: int, waiting: int) -> None:
        self._what = what
        self._waiting = waiting
        self._places = asyncio.Semaphore(at_once)
        self._tenants: defaultdict[str, _Tenant] = defaultdict(_Tenant)

    @asynccontextmanager
    async def take(self, tenant: str) -> AsyncIterator[None]:
        """Waits for a turn, and has it until left.

        Raises:
            QueueFull: Too many of this tenant are here already.
        """
        if self._tenants[tenant].count >= self._waiting:
            raise QueueFull(f"{self._waiting} calls for {self._what} wait already", retry_after_s=RETRY_AFTER_S)
        here = self._tenants[tenant]
        here.count += 1
        try:
            async with here.lock, self._places:
                yield
        finally:
            here.count -= 1
            if not here.count:
                del self._tenants[tenant]


class _Tenant:
    def __init__(self) -> None:
        self.count = 0
        self.lock = asyncio.Lock()
