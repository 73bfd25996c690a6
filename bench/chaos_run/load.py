"""Callers who want small jobs done, one after the other: they watch, wait, leave and cancel, as callers do."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chaos_run.calls import blocking
from chaos_run.request import LABEL, Request, Told
from chaos_run.samples import Sample, Samples

from triptych.client import AsyncClient
from triptych.core.errors import HostExhausted, QueueFull, TimedOut, TriptychError, Unavailable
from triptych.v1.job_pb2 import CachePolicy, DisconnectPolicy, JobOptions, JobPriority

T = TypeVar("T")

CALLERS = 12
PATIENCE_S = 90.0
# After a call that failed for good.
PAUSE_S = 0.5
_MODES = {
    "watch": 38,
    "call": 22,
    "forget": 6,
    "leave": 8,
    "cancel": 10,
    "repeat": 6,
    "hurry": 5,
    "late": 3,
    "brief": 2,
}
_SKEWED = ("leave", "hurry", "late", "brief")


class Load:
    """Keeps so many callers busy.

    Args:
        clients: Tenant -> its client.
        samples: What they ask for.
        rng: What is drawn by.

    Attributes:
        requests: All that was asked so far.
        skewed_until_s: Until then every limit of time is far too short, on the clock of `time.monotonic`.
    """

    def __init__(self, clients: dict[str, AsyncClient], samples: Samples, rng: random.Random) -> None:
        self._clients, self._samples, self._rng = clients, samples, rng
        self.requests: list[Request] = []
        self.skewed_until_s = 0.0
        self._over = False
        self._callers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to ask."""
        self._callers = [asyncio.ensure_future(self._call_on()) for _ in range(CALLERS)]

    async def stop(self, timeout_s: float) -> None:
        """Asks for nothing more, and waits for what was asked."""
        self._over = True
        _, late = await asyncio.wait(self._callers, timeout=timeout_s)
        for caller in late:
            caller.cancel()
        for outcome in await asyncio.gather(*self._callers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def probe(self, kind: str) -> bool:
        """Has somebody at a screen ask workers of a kind for a small thing; gives whether the answer came in time."""
        request = self._request("call", self._samples.of(kind), JobPriority.JOB_PRIORITY_INTERACTIVE)
        return await self._serve(request)

    async def _call_on(self) -> None:
        while not self._over:
            if not await self._serve(self._next()):
                await asyncio.sleep(PAUSE_S)

    async def _serve(self, request: Request) -> bool:
        """Does what a caller does; gives whether its calls were answered at last."""
        try:
            await getattr(self, f"_{request.mode}")(request, self._clients[request.tenant])
        except TriptychError as error:
            request.told.append(Told(error))
            if "job" in error.metadata:
                request.names.add(error.metadata["job"])
            return False
        return True

    def _next(self) -> Request:
        rng, skewed = self._rng, time.monotonic() < self.skewed_until_s
        mode = rng.choice(_SKEWED) if skewed else rng.choices(list(_MODES), list(_MODES.values()))[0]
        request = self._request(mode, self._samples.draw(), rng.choice(JobPriority.values()))
        span_ms = rng.randrange(20, 300 if skewed else 3000)
        if mode == "late":
            request.options.queue_timeout.FromMilliseconds(span_ms)
        elif mode == "brief":
            request.options.execution_timeout.FromMilliseconds(span_ms)
        elif mode == "leave":
            request.options.disconnect_policy = DisconnectPolicy.DISCONNECT_POLICY_CONTINUE
        return request

    def _request(self, mode: str, sample: Sample, priority: JobPriority.ValueType) -> Request:
        number, tenant = len(self.requests), self._rng.choice(list(self._clients))
        options = JobOptions(labels={LABEL: str(number)}, priority=priority)
        # There are few recordings. Half of the time one that was heard before is heard again.
        if sample.name == "transcription" and self._rng.random() < 0.5:
            options.cache_policy = CachePolicy.CACHE_POLICY_BYPASS
        self.requests.append(Request(number=number, tenant=tenant, mode=mode, sample=sample, options=options))
        return self.requests[-1]

    # What a caller does.

    async def _watch(self, request: Request, client: AsyncClient) -> None:
        name = await self._submit(request, client)
        cursor = ""

        async def follow() -> None:
            nonlocal cursor
            async for event in client.watch_job(name, after_cursor=cursor):
                request.watched.append(event)
                cursor = event.cursor

        await self._insist(request, follow)

    _late = _brief = _watch

    async def _forget(self, request: Request, client: AsyncClient) -> None:
        await self._submit(request, client)

    async def _call(self, request: Request, client: AsyncClient) -> None:
        end = time.monotonic() + PATIENCE_S
        await self._insist(request, lambda: self._ask(request, client, end - time.monotonic()))

    async def _hurry(self, request: Request, client: AsyncClient) -> None:
        skewed = time.monotonic() < self.skewed_until_s
        await self._ask(request, client, self._rng.uniform(0.02, 0.3 if skewed else 2))

    async def _leave(self, request: Request, client: AsyncClient) -> None:
        await self._hurry(request, client)

    async def _cancel(self, request: Request, client: AsyncClient) -> None:
        name = await self._submit(request, client)
        await asyncio.sleep(self._rng.uniform(0, 2))

        async def cancel() -> None:
            request.cancelled_s = time.time()
            await client.cancel_job(name)

        await self._insist(request, cancel)

    async def _repeat(self, request: Request, client: AsyncClient) -> None:
        await asyncio.gather(*(self._submit(request, client) for _ in range(5)))

    async def _submit(self, request: Request, client: AsyncClient) -> str:
        job = await self._insist(
            request,
            lambda: client.submit(request.sample.spec, request.options, request_id=request.request_id),
        )
        request.names.add(job.name)
        return job.name

    async def _ask(self, request: Request, client: AsyncClient, timeout_s: float) -> None:
        result = await blocking(
            client, request.sample.spec, options=request.options, request_id=request.request_id, timeout_s=timeout_s
        )
        request.wrong = request.sample.wrong(result)

    async def _insist(self, request: Request, work: Callable[[], Awaitable[T]]) -> T:
        """Calls again while that makes sense, as the errors say."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await work()
            except (Unavailable, TimedOut, QueueFull, HostExhausted) as error:
                if time.monotonic() > end:
                    raise
                request.told.append(Told(error))
                await asyncio.sleep(error.retry_after_s or 0.5)
