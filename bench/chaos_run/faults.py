"""What goes wrong, drawn by weight: processes die, stop and come back, the disk fills, connections break."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import redis.asyncio
from chaos_run.disk import SmallDisk
from chaos_run.load import Load
from chaos_run.stack import Stack
from chaos_run.strike import Strike
from redis.exceptions import RedisError

from triptych.cli.stack.child import STEADY_S
from triptych.cli.stack.record import ProcessRecord
from triptych.core.store import PREFIX
from triptych.v1.job_pb2 import JobState

LEASE_S = 10.0
"""The default, which the stack keeps."""
RECOVERY_S = 240.0
"""Patience with a process that has to come back, weights and all, and with a call that needs it."""


class Faults:
    """Strikes one stack.

    Args:
        stack: Whom.
        disk: Where its blobs are.
        load: Whose limits of time are skewed.
        rng: What is drawn by.
    """

    def __init__(self, stack: Stack, disk: SmallDisk, load: Load, rng: random.Random) -> None:
        self._stack, self._disk, self._load, self._rng = stack, disk, load, rng
        self.strikes: list[Strike] = []
        self._redis = redis.asyncio.Redis.from_url(stack.redis_url, socket_timeout=2)
        self._kinds: dict[str, tuple[int, Callable[[Strike], Awaitable[None]]]] = {
            "worker killed": (26, self._kill_worker),
            "worker stopped longer than its lease": (9, self._stop_worker),
            "worker drained": (8, self._drain_worker),
            "service killed": (8, self._kill_service),
            "service drained": (5, self._drain_service),
            "Redis killed": (6, self._kill_redis),
            "Redis stopped 1 to 8 s": (9, self._stop_redis),
            "disk full": (7, self._fill_disk),
            "callers' connections dropped": (9, self._drop_callers),
            "connections to Redis dropped": (8, self._drop_redis),
            "limits of time skewed": (5, self._skew),
        }
        if not disk.small:
            del self._kinds["disk full"]

    async def strike(self, count: int, seconds: float) -> None:
        """Has so many faults happen in about so many seconds; they may overlap. Ends when the last one has."""
        running = []
        for fault in self._drawn(count):
            await asyncio.sleep(seconds / count * self._rng.uniform(0.5, 1.5))
            running.append(asyncio.ensure_future(self._one(fault)))
        await asyncio.gather(*running)
        await self._redis.aclose()

    def _drawn(self, count: int) -> list[str]:
        """Every kind once, as far as that goes; the rest by weight."""
        kinds = list(self._kinds)
        drawn = self._rng.sample(kinds, min(count, len(kinds)))
        drawn += self._rng.choices(kinds, [weight for weight, _ in self._kinds.values()], k=count - len(drawn))
        self._rng.shuffle(drawn)
        return drawn

    async def _one(self, fault: str) -> None:
        strike = Strike(fault=fault)
        self.strikes.append(strike)
        await self._kinds[fault][1](strike)
        strike.ended_s = time.time()
        await self._recover(strike)

    async def _recover(self, strike: Strike) -> None:
        """Waits until who was struck is ready again and a caller is answered by workers of that kind."""
        end = time.monotonic() + RECOVERY_S
        while strike.target and not self._back(strike):
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.1)
        kind = strike.target.split("-")[1] if strike.target.startswith("worker") else "ocr"
        while not await self._load.probe(kind):
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.5)
        strike.recovered_s = time.time()

    def _back(self, strike: Strike) -> bool:
        ready = self._stack.processes()
        return any(process.name == strike.target and process.pid != strike.ended_pid for process in ready)

    async def _kill_worker(self, strike: Strike) -> None:
        worker = await self._signal(strike, "worker", signal.SIGKILL)
        # Asked afterwards, it is exact: the dead change nothing.
        strike.held = await self._jobs_of(worker)

    async def _stop_worker(self, strike: Strike) -> None:
        await self._pause(strike, "worker", LEASE_S + self._rng.uniform(1.5, 5))

    async def _drain_worker(self, strike: Strike) -> None:
        await self._signal(strike, "worker", signal.SIGTERM)

    async def _kill_service(self, strike: Strike) -> None:
        await self._signal(strike, "service", signal.SIGKILL)

    async def _drain_service(self, strike: Strike) -> None:
        await self._signal(strike, "service", signal.SIGTERM)

    async def _kill_redis(self, strike: Strike) -> None:
        await self._signal(strike, "redis", signal.SIGKILL)

    async def _stop_redis(self, strike: Strike) -> None:
        await self._pause(strike, "redis", self._rng.uniform(1, 8))

    async def _fill_disk(self, _strike: Strike) -> None:
        await asyncio.to_thread(self._disk.fill)
        await asyncio.sleep(self._rng.uniform(2, 6))
        self._disk.free()

    async def _drop_callers(self, _strike: Strike) -> None:
        for proxy in self._stack.to_services:
            proxy.drop()

    async def _drop_redis(self, _strike: Strike) -> None:
        self._stack.to_redis.drop()

    async def _skew(self, _strike: Strike) -> None:
        seconds = self._rng.uniform(3, 6)
        self._load.skewed_until_s = time.monotonic() + seconds
        await asyncio.sleep(seconds)

    async def _signal(self, strike: Strike, prefix: str, number: signal.Signals) -> str:
        """Signals one that is ready, waiting until there is one; gives the name by which it holds jobs."""
        lasts = number == signal.SIGSTOP
        while True:
            ready = [each for each in self._stack.processes(prefix) if lasts or _comes_back_at_once(each)]
            if ready:
                break
            await asyncio.sleep(0.2)
        process = self._rng.choice(ready)
        strike.target, strike.began_s = process.name, time.time()
        if not lasts:
            strike.ended_pid = process.pid
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        return str(process.ready.get("worker", ""))

    async def _pause(self, strike: Strike, prefix: str, seconds: float) -> None:
        await self._signal(strike, prefix, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._stack.resume(self._stack.processes(strike.target))

    async def _jobs_of(self, worker: str) -> dict[str, int]:
        """The jobs that a worker holds, while their leases last and Redis answers."""
        held, end = {}, time.monotonic() + LEASE_S / 2
        while time.monotonic() < end:
            with suppress(RedisError, OSError):
                for job_id in await self._redis.zrange(f"{PREFIX}leases", 0, -1):
                    key = f"{PREFIX}job:{job_id.decode()}"
                    state, holder, attempt = await self._redis.hmget(key, ["state", "worker", "attempt"])
                    if state and int(state) == JobState.JOB_STATE_RUNNING and holder == worker.encode():
                        held[job_id.decode()] = int(attempt)
                break
            await asyncio.sleep(0.2)
        return held


def _comes_back_at_once(process: ProcessRecord) -> bool:
    """Whether the supervisor would take its death for an accident. Who dies again and again is left dead for longer."""
    return process.restarts == 0 or time.time() - process.started_at > STEADY_S
