"""Looks after what nobody holds: jobs of dead workers, late jobs, lost messages, blobs over their time."""

from __future__ import annotations

import asyncio
import logging
import time

from triptych.core import jobs
from triptych.core.errors import BackendUnavailable
from triptych.core.store import Op
from triptych.services.backend import Backend

log = logging.getLogger("triptych.caretaker")

SWEEP_EVERY_S = 1.0
EXPIRE_EVERY_S = 60.0


class Caretaker:
    """Sweeps jobs and blobs in the background. Several of them, in several processes, do each other no harm."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lease_s = backend.settings.lease_s
        # Redis does not know how long it was unreachable, only how long it has been up.
        self._quiet_until = 0.0

    async def run(self) -> None:
        """Sweeps until cancelled."""
        await asyncio.gather(self._sweep_jobs(), self._expire_blobs())

    async def _sweep_jobs(self) -> None:
        while True:
            try:
                await self._sweep()
            except BackendUnavailable:
                # Workers could not renew their leases either: when Redis is back, they go first.
                self._quiet_until = time.monotonic() + self._lease_s
            except Exception:
                # Whatever it is, without a sweeper lost jobs would stay lost.
                log.exception("sweep failed")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        uptime_s = await self._backend.store.run(_UPTIME)
        if uptime_s < self._lease_s or time.monotonic() < self._quiet_until:
            return
        queued = await asyncio.to_thread(self._backend.broker.queue_lengths)
        found = await self._backend.store.run(
            jobs.sweep(queued, max_lost=self._backend.settings.max_lost_workers, stale_s=self._lease_s)
        )
        for message in found:
            log.info("job goes back to its queue", extra={"job_id": message.job_id, "kind": message.kind})
            await self._backend.submission.publish(message)

    async def _expire_blobs(self) -> None:
        while True:
            try:
                if gone := await asyncio.to_thread(self._backend.blobs.expire):
                    log.info("blobs expired", extra={"count": gone})
            except Exception:
                log.exception("blobs could not be expired")
            await asyncio.sleep(EXPIRE_EVERY_S)


# redis-py parses the answer of INFO itself.
_UPTIME: Op[int] = Op(("INFO", "server"), lambda answer: int(answer["uptime_in_seconds"]))
