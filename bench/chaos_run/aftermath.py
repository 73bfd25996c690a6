"""What is left when the dust has settled: every job that the suite knows, with its history and its result."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from triptych.client import AsyncClient
from triptych.core.errors import TimedOut, TriptychError, Unavailable
from triptych.v1.job_pb2 import Job, JobEvent, JobResult, JobState
from triptych.v1.job_service_pb2 import JobFilter

T = TypeVar("T")

ALL = 1_000_000
READERS = 16
_OPEN = (JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_CANCELLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """One job afterwards.

    Attributes:
        job: JOB_VIEW_FULL.
        events: All that WatchJob gives.
        result: If it has one, from wherever it lies.
        trouble: Why it could not be read, if it could not.
    """

    tenant: str
    job: Job
    events: list[JobEvent]
    result: JobResult | None = None
    trouble: str = ""


async def until_all_ended(client: AsyncClient, timeout_s: float) -> int:
    """Waits until all jobs of a client's tenant are terminal; gives the number of those that are not."""
    end = time.monotonic() + timeout_s
    while True:
        still_open = await _patiently(lambda: client.list_jobs(JobFilter(states=_OPEN), limit=ALL))
        if not still_open or time.monotonic() > end:
            return len(still_open)
        await asyncio.sleep(1)


async def collect(client: AsyncClient, tenant: str) -> list[Remains]:
    """Gives all jobs of a client's tenant."""
    gate = asyncio.Semaphore(READERS)

    async def read(job: Job) -> Remains:
        async with gate:
            return await _remains(client, tenant, job)

    listed = await _patiently(lambda: client.list_jobs(limit=ALL))
    return list(await asyncio.gather(*(read(job) for job in listed)))


async def _remains(client: AsyncClient, tenant: str, listed: Job) -> Remains:
    events: list[JobEvent] = []
    try:
        job = await _patiently(lambda: client.get_job(listed.name))
        if job.state in _OPEN:
            return Remains(tenant=tenant, job=job, events=events)
        events += [event async for event in client.watch_job(job.name, timeout_s=60)]
        succeeded = job.state == JobState.JOB_STATE_SUCCEEDED
        result = await _patiently(lambda: client.result(job)) if succeeded else None
    except TriptychError as error:
        return Remains(tenant=tenant, job=listed, events=events, trouble=f"{error.reason}: {error}")
    return Remains(tenant=tenant, job=job, events=events, result=result)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(60):
        try:
            return await work()
        except (Unavailable, TimedOut):
            await asyncio.sleep(0.5)
    return await work()
