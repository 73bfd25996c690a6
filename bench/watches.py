"""What open watches cost a service: memory, and connections to Redis.

    python bench/watches.py [--watches 2000] [--json FILE]

Each WatchJob stream follows a job of its own; all are open in one service until each had a heartbeat. Then the
connection that wakes them is cut, which wakes all at once, every job is cancelled, and every watch must tell it. No
worker runs, so that the service is all there is to measure.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from proof import Proof, ToyStack, arguments, toy_pages

from triptych.client import AsyncClient, specs
from triptych.v1.job_pb2 import JobEvent, JobState

TENANT = "alpha"
CLIENTS, AT_ONCE = 20, 32
SETTLE_S = 5
PATIENCE_S = 120
MAX_MEMORY_MB = 100


class Watch:
    """One stream: what it was told so far."""

    def __init__(self, client: AsyncClient, job: str) -> None:
        self._events = client.watch_job(job, timeout_s=3 * PATIENCE_S)
        self.open = asyncio.Event()
        self.alive = asyncio.Event()
        self.last: JobEvent | None = None

    async def follow(self) -> None:
        """Reads to the end."""
        async for event in self._events:
            self.open.set()
            # A job that waits is told its place instead of a heartbeat.
            if event.HasField("heartbeat") or event.HasField("progress"):
                self.alive.set()
            self.last = event

    @property
    def told_the_end(self) -> bool:
        """Whether the last thing told was that the job is cancelled."""
        return self.last is not None and self.last.job.state == JobState.JOB_STATE_CANCELLED


def memory_mb(pid: int) -> float:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1000


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connections(admin: Any) -> tuple[int, int]:
    """Gives how many connections of others listen, and how many there are in all."""
    others = [one for one in admin.client_list() if int(one["id"]) != admin.client_id()]
    return sum(int(one["psub"]) > 0 or int(one["sub"]) > 0 for one in others), len(others)


async def measure(stack: ToyStack, admin: Any, count: int, proof: Proof) -> None:
    clients = [AsyncClient(stack.addresses[0], api_key=TENANT) for _ in range(CLIENTS)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(work: Any) -> Any:
        async with gate:
            return await work

    (source,) = await clients[0].sources([toy_pages.png("watched")])
    jobs = await asyncio.gather(*(gated(clients[n % CLIENTS].submit(specs.ocr(source))) for n in range(count)))
    pid = stack.services[0].pid
    before_mb, (_, before) = memory_mb(pid), connections(admin)
    began = time.monotonic()
    watches = [Watch(clients[n % CLIENTS], job.name) for n, job in enumerate(jobs)]
    following = [asyncio.create_task(watch.follow()) for watch in watches]
    await asyncio.wait_for(asyncio.gather(*(watch.open.wait() for watch in watches)), PATIENCE_S)
    opened_s, opened_processor_s = time.monotonic() - began, processor_s(pid)
    await asyncio.wait_for(asyncio.gather(*(watch.alive.wait() for watch in watches)), PATIENCE_S)
    alive_s, alive_processor_s = time.monotonic() - began, processor_s(pid) - opened_processor_s
    held_mb, (listening, held) = memory_mb(pid), connections(admin)
    admin.client_kill_filter(_type="pubsub")
    await asyncio.sleep(SETTLE_S)
    began = time.monotonic()
    await asyncio.gather(*(gated(clients[n % CLIENTS].cancel_job(job.name)) for n, job in enumerate(jobs)))
    await asyncio.wait_for(asyncio.gather(*following), PATIENCE_S)
    ended_s = time.monotonic() - began
    last_mb, (_, last) = memory_mb(pid), connections(admin)
    for client in clients:
        await client.close()
    proof.found("watches", count)
    proof.found("all open after, s", opened_s)
    proof.found("all had a heartbeat after, s", alive_s)
    proof.found("processor time of the service for a heartbeat, ms", 1000 * alive_processor_s / count)
    proof.found("memory of the service before, MB", before_mb)
    proof.at_most("more with all open, MB", held_mb - before_mb, MAX_MEMORY_MB)
    proof.at_most("more after all were woken at once, MB", last_mb - before_mb, MAX_MEMORY_MB)
    proof.at_most("connections to Redis that wake watches", listening, 1)
    proof.found("connections to Redis in all, before", before)
    proof.found("connections to Redis in all, all open", held)
    proof.found("connections to Redis in all, after all were woken at once", last)
    proof.at_least("watches that told the end", sum(watch.told_the_end for watch in watches), count)
    proof.found("all jobs cancelled and all ends told after, s", ended_s)


@contextmanager
def running() -> Iterator[tuple[ToyStack, Any]]:
    with (
        tempfile.TemporaryDirectory(prefix="triptych-watches-") as folder,
        ToyStack(folder, workers=0) as stack,
        redis.Redis.from_url(stack.redis.url) as admin,
    ):
        yield stack, admin


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--watches", type=int, default=2000, help="how many (default: 2000)")
    given: argparse.Namespace = parser.parse_args()
    proof = Proof()
    with running() as (stack, admin):
        asyncio.run(measure(stack, admin, given.watches, proof))
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
