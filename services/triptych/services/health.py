"""Standard gRPC health: SERVING as long as Redis answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from grpc_health.v1 import health, health_pb2

from triptych.core.store import AWAY, AsyncStore

log = logging.getLogger("triptych.health")

PING_EVERY_S = 1.0
PING_TIMEOUT_S = 2.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # the package has no types
    """Says NOT_SERVING until Redis answers, whenever it does not, and from the beginning of the shutdown on.

    Args:
        services: Full names of the services hosted here.
        store: The Redis to ask.
    """

    def __init__(self, services: Iterable[str], store: AsyncStore) -> None:
        super().__init__()
        self._names = ("", *services)
        self._store = store
        self._serving: bool | None = None
        self._closing = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the protocol's name
        """Streams changes; ends with the server, which would otherwise wait for it."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((watch, closing), return_when=asyncio.FIRST_COMPLETED)
            # Lets the last change out first.
            await asyncio.sleep(0)
        finally:
            watch.cancel()
            closing.cancel()
            await asyncio.gather(watch, closing, return_exceptions=True)

    async def close(self) -> None:
        """Says NOT_SERVING for good."""
        await self.enter_graceful_shutdown()
        self._closing.set()

    async def start(self) -> None:
        """Finds out how things are, before the first caller asks."""
        await self._set_serving(await self._answers())

    async def follow_redis(self) -> None:
        """Asks Redis again and again, until cancelled."""
        while True:
            await self._set_serving(await self._answers())
            await asyncio.sleep(PING_EVERY_S)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._store.redis.ping()
        except AWAY:  # TimeoutError is an OSError
            return False
        return True

    async def _set_serving(self, serving: bool) -> None:
        if serving == self._serving:
            return
        self._serving = serving
        for name in self._names:
            await self.set(name, _SERVING if serving else _NOT_SERVING)
        log.log(logging.INFO if serving else logging.WARNING, "serving" if serving else "Redis is away: not serving")
