"""Three times as much work as the engine can do: what becomes of goodput, of interactive calls, and of those refused.

    python bench/overload.py [--seconds 60] [--peak-seconds 30] [--json FILE]

First as many callers as keep the engine busy: the peak. Then arrivals at three times that rate, of two tenants and
whoever waits; who is refused comes back when told. Then nothing new arrives, and those who were told to come back still
do. A thin stream of interactive calls of a third tenant runs along in the first two. Services, worker and Redis are
real; the engine is a toy that sleeps (tests/toy_worker.py), so that its speed is known and the rest has the processors.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from proof import Proof, ToyStack, arguments, quantile, toy_pages

from triptych.client import AsyncClient, specs
from triptych.core.errors import QueueFull
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CACHE_POLICY_BYPASS, JobOptions, JobSpec, JobState

TENANTS, CALLER = ("alpha", "beta"), "gamma"
OVERLOAD = 3
BUSY_CALLERS = 64
INTERACTIVE_EVERY_S = 0.2
MAX_PENDING = 200
BATCH_S, PAGE_S = 0.05, 0.04
RAMP_S = 5
# The longest that QUEUE_FULL tells anybody to stay away is five minutes.
PATIENCE_S = 310
MIN_GOODPUT, MAX_SLOWDOWN, MIN_ADMITTED = 0.9, 2.0, 0.9
ANEW = JobOptions(cache_policy=CACHE_POLICY_BYPASS)

_numbers = itertools.count()


@dataclass(slots=True)
class Arrival:
    """One caller who wants a page read, and what it was told.

    Attributes:
        told_s: When to come back, each time it was refused; None: it was not told.
        came_back: Whether it was admitted, each time it came back, with the time that was.
    """

    told_s: list[float | None] = field(default_factory=list)
    came_back: list[tuple[float, bool]] = field(default_factory=list)
    admitted: bool = False

    async def submit(self, client: AsyncClient, spec: JobSpec) -> None:
        """Comes back whenever it was told to, until it is admitted."""
        request_id = str(uuid.uuid4())
        while not self.admitted:
            returns = bool(self.told_s)
            try:
                await client.submit(spec, ANEW, request_id=request_id)
                self.admitted = True
            except QueueFull as error:
                self.told_s.append(error.retry_after_s)
            if returns:
                self.came_back.append((time.time(), self.admitted))
            if not self.admitted:
                if not self.told_s[-1]:
                    return
                await asyncio.sleep(self.told_s[-1])


def new_page() -> JobSpec:
    return specs.ocr(InputSource(content=toy_pages.png(f"w{next(_numbers)}")))


async def interactive(client: AsyncClient, seconds: float) -> list[float]:
    """Calls at a steady rate; gives what each took, in seconds."""
    end, calls = time.monotonic() + seconds, []

    async def call() -> float:
        began = time.monotonic()
        await client.recognize(toy_pages.png(f"i{next(_numbers)}"), options=ANEW, timeout_s=60)
        return time.monotonic() - began

    while time.monotonic() < end:
        calls.append(asyncio.create_task(call()))
        await asyncio.sleep(INTERACTIVE_EVERY_S)
    return await asyncio.gather(*calls)


async def busy(clients: Sequence[AsyncClient], seconds: float) -> None:
    """Callers of whom each has one page read after the other."""
    end = time.monotonic() + seconds

    async def caller(client: AsyncClient) -> None:
        while time.monotonic() < end:
            job = await client.submit(new_page(), ANEW)
            await client.wait_job(job.name, timeout_s=60)

    await asyncio.gather(*(caller(clients[n % len(clients)]) for n in range(BUSY_CALLERS)))


class Crowd:
    """Callers who arrive at a rate, whoever waits."""

    def __init__(self, clients: Sequence[AsyncClient]) -> None:
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []
        self.arrivals: list[Arrival] = []
        self.late_s = 0.0

    async def arrive(self, rate_per_s: float, seconds: float) -> None:
        """Lets callers of all clients come, in turn."""
        began = time.monotonic()
        for number in range(int(rate_per_s * seconds)):
            wait_s = began + number / rate_per_s - time.monotonic()
            self.late_s = max(self.late_s, -wait_s)
            await asyncio.sleep(max(0.0, wait_s))
            self.arrivals.append(Arrival())
            client = self._clients[number % len(self._clients)]
            self._tasks.append(asyncio.create_task(self.arrivals[-1].submit(client, new_page())))

    async def leave(self, patience_s: float) -> None:
        """Lets those who were told to come back do so."""
        _, late = await asyncio.wait(self._tasks, timeout=patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in set(self._tasks) - late:
            task.result()

    def returns(self, began_s: float, ended_s: float) -> list[bool]:
        """Gives whether they were admitted, of those who came back within a time."""
        return [went for each in self.arrivals for at_s, went in each.came_back if began_s <= at_s < ended_s]


async def goodput(clients: Sequence[AsyncClient], began_s: float, ended_s: float) -> float:
    """Gives how many jobs ended well within a time, per second."""
    listed = [job for client in clients for job in await client.list_jobs(limit=1_000_000)]
    good = [job.end_time.ToNanoseconds() / 1e9 for job in listed if job.state == JobState.JOB_STATE_SUCCEEDED]
    return sum(began_s <= at_s < ended_s for at_s in good) / (ended_s - began_s)


async def phase(caller: AsyncClient, load: Coroutine[Any, Any, None], seconds: float) -> tuple[float, list[float]]:
    """Runs a load beside interactive calls; gives when it was in full swing, and what those calls took."""
    began_s = time.time() + min(RAMP_S, seconds / 4)
    took_s, _ = await asyncio.gather(interactive(caller, seconds), load)
    return began_s, took_s


async def measure(stack: ToyStack, peak_s: float, seconds: float, proof: Proof) -> None:
    clients = [AsyncClient(stack.addresses[0], api_key=tenant, retries=False) for tenant in TENANTS]
    caller = AsyncClient(stack.addresses[0], api_key=CALLER)
    everybody, crowd = (*clients, caller), Crowd(clients)
    began_s, before_s = await phase(caller, busy(clients, peak_s), peak_s)
    peak = await goodput(everybody, began_s, began_s + peak_s - min(RAMP_S, peak_s / 4))
    began_s, during_s = await phase(caller, crowd.arrive(OVERLOAD * peak, seconds), seconds)
    ended_s = began_s + seconds - min(RAMP_S, seconds / 4)
    await crowd.leave(PATIENCE_S)
    good = await goodput(everybody, began_s, ended_s)
    for client in everybody:
        await client.close()

    refusals = [told_s for each in crowd.arrivals for told_s in each.told_s]
    told_s = [each for each in refusals if each]
    pressed, after = crowd.returns(began_s, ended_s), crowd.returns(ended_s, time.time())
    proof.found(f"peak with {BUSY_CALLERS} callers, jobs/s", peak)
    proof.found("arrivals in the overload, jobs/s", OVERLOAD * peak)
    proof.found("the latest arrival came late by, s", crowd.late_s)
    proof.found("goodput in the overload, jobs/s", good)
    proof.at_least("goodput to peak", good / peak, MIN_GOODPUT)
    for share in (0.5, 0.99):
        proof.found(f"interactive p{100 * share:g} at the peak, s ({len(before_s)} calls)", quantile(before_s, share))
        proof.found(
            f"interactive p{100 * share:g} in the overload, s ({len(during_s)} calls)", quantile(during_s, share)
        )
    proof.at_most(
        "interactive p99 to that at the peak", quantile(during_s, 0.99) / quantile(before_s, 0.99), MAX_SLOWDOWN
    )
    proof.found("refusals", len(refusals))
    proof.at_least("refusals that say when to come back, share", len(told_s) / max(1, len(refusals)), 1)
    proof.found("told to stay away for, s, median", statistics.median(told_s or [0]))
    proof.found("told to stay away for, s, most", max(told_s, default=0))
    proof.found("came back when told, in the overload", len(pressed))
    proof.at_least("of those admitted, share", sum(pressed) / max(1, len(pressed)), MIN_ADMITTED)
    proof.found("came back when told, after the overload", len(after))
    proof.at_least("of those admitted then, share", sum(after) / max(1, len(after)), MIN_ADMITTED)
    proof.at_most("never admitted", sum(not each.admitted for each in crowd.arrivals), 0)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of overload (default: 60)")
    parser.add_argument("--peak-seconds", type=float, default=30, help="of the measurement before it (default: 30)")
    given: argparse.Namespace = parser.parse_args()
    proof = Proof()
    with (
        tempfile.TemporaryDirectory(prefix="triptych-overload-") as folder,
        ToyStack(folder, TRIPTYCH_MAX_PENDING_PER_LANE=MAX_PENDING, TOY_BATCH_S=BATCH_S, TOY_PAGE_S=PAGE_S) as stack,
    ):
        asyncio.run(measure(stack, given.peak_seconds, given.seconds, proof))
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
