"""Standard gRPC health: SERVING as long as Redis answers."""
# ruff: noqa: N802 - methods bear the protocol's names

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.rpc.code_pb2 import NOT_FOUND
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthServicer
from grpc_status import rpc_status

from triptych.core.errors import BackendUnavailable
from triptych.core.store import AsyncStore, Op

log = logging.getLogger("triptych.health")

PING_EVERY_S = 1.0
_PING: Op[bool] = Op(("PING",), bool)
PING_TIMEOUT_S = 2.0


class Health(HealthServicer):  # type: ignore[misc]  # the package has no types
    """Says NOT_SERVING until Redis answers, whenever it does not, and from the beginning of the shutdown on.

    Not the servicer that comes with grpcio-health-checking: its watches outlast a shutdown's grace.

    Args:
        services: Full names of the services hosted here.
        store: The Redis to ask.
    """

    def __init__(self, services: Iterable[str], store: AsyncStore) -> None:
        self._names = frozenset(("", *services))
        self._store = store
        self._serving = False
        self._closed = False
        self._changed = asyncio.Condition()

    async def Check(self, request: Any, context: Any) -> Any:
        """Says how it is now."""
        if request.service not in self._names:
            status = Status(code=NOT_FOUND, message=f"{request.service[:100]!r} is not hosted here")
            await context.abort_with_status(rpc_status.to_status(status))
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Says how it is now and after each change, until the server ends."""
        told = None
        while True:
            status = self._status(request.service)
            if status != told:
                yield pb.HealthCheckResponse(status=status)
                told = status
                continue
            if self._closed:
                return
            async with self._changed:
                if not self._closed and self._status(request.service) == told:
                    await self._changed.wait()

    async def close(self) -> None:
        """Says NOT_SERVING for good, and ends the watches."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def look(self) -> None:
        """Asks Redis once."""
        serving = await self._answers()
        if serving == self._serving:
            return
        async with self._changed:
            self._serving = serving
            self._changed.notify_all()
        log.log(logging.INFO if serving else logging.WARNING, "serving" if serving else "Redis is away: not serving")

    async def follow_redis(self) -> None:
        """Asks Redis again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PING_EVERY_S)

    def _status(self, service: str) -> int:
        answer = pb.HealthCheckResponse
        if service not in self._names:
            return int(answer.SERVICE_UNKNOWN)
        return int(answer.SERVING if self._serving and not self._closed else answer.NOT_SERVING)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                return await self._store.run(_PING)
        except (BackendUnavailable, TimeoutError):
            return False
        except Exception:
            # Whatever it is, health goes on being told.
            log.exception("Redis could not be asked")
            return False
