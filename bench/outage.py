"""Redis stopped (SIGSTOP) under load: what becomes of running work, and what callers are told.

    python bench/outage.py [--seconds 30] [--json FILE]

Long documents are being read, and callers submit, wait and watch, when Redis stops answering. Meanwhile one caller a
second asks without retries, and is timed. Then Redis goes on, and everything must end well: no attempt is lost, no page
read twice, no job begun twice. Services, worker and Redis are real; the engine is a toy (tests/toy_worker.py), whose
log says which pages it read.
"""

import asyncio
import itertools
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from proof import Proof, ToyStack, arguments, quantile, toy_pages, until

from triptych.client import AsyncClient, specs
from triptych.core.errors import BackendUnavailable, TriptychError, Unavailable
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CACHE_POLICY_BYPASS, JobOptions, JobSpec, JobState

TENANT = "alpha"
LONG_DOCUMENTS, PAGES = 8, 60
CALLERS = 12
PAGE_S = 0.03
BATCHES_BEFORE = 10
PROBE_EVERY_S = 1.0
PATIENCE_S = 120
# The store gives Redis 5 s to answer; a call asks it more than once.
MAX_ANSWER_S = 12
# A page read twice must show, whoever asks for it.
ANEW = JobOptions(cache_policy=CACHE_POLICY_BYPASS)


@dataclass(slots=True)
class Told:
    """What those were told who do not come back.

    Attributes:
        answers_s: How long each waited for its refusal.
        reasons: Of the refusals.
    """

    answers_s: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class Load:
    """Callers who come back as the contract says, until they are told to stop."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._numbers = itertools.count()
        self._over = asyncio.Event()
        self._callers: list[asyncio.Task[None]] = []
        self.words: list[str] = []
        self.failures: list[TriptychError] = []

    async def begin(self) -> None:
        """Submits the long documents, then lets the callers go."""
        for _ in range(LONG_DOCUMENTS):
            (source,) = await self._client.sources([toy_pages.pdf([self._word() for _ in range(PAGES)])])
            self._callers.append(asyncio.create_task(self._wait(await self._submit(specs.ocr(source)))))
        self._callers += [asyncio.create_task(self._call(n)) for n in range(CALLERS)]

    async def end(self) -> None:
        """Waits until every call has ended."""
        self._over.set()
        await asyncio.wait_for(asyncio.gather(*self._callers), PATIENCE_S)

    def _word(self) -> str:
        self.words.append(f"w{next(self._numbers)}")
        return self.words[-1]

    async def _call(self, number: int) -> None:
        while not self._over.is_set():
            try:
                word = self._word()
                if number % 3 == 0:
                    read = (
                        (await self._client.recognize(toy_pages.png(word), options=ANEW, timeout_s=PATIENCE_S))
                        .pages[0]
                        .text
                    )
                    assert read == word
                else:
                    name = await self._submit(specs.ocr(InputSource(content=toy_pages.png(word))))
                    await (self._wait(name) if number % 3 == 1 else self._watch(name))
            except TriptychError as error:
                self.failures.append(error)

    async def _submit(self, spec: JobSpec) -> str:
        request_id = str(uuid.uuid4())
        while True:
            try:
                return (await self._client.submit(spec, ANEW, request_id=request_id)).name
            except Unavailable as error:
                await asyncio.sleep(error.retry_after_s or 1)

    async def _wait(self, name: str) -> None:
        await self._client.wait_job(name, timeout_s=PATIENCE_S)

    async def _watch(self, name: str) -> None:
        async for _ in self._client.watch_job(name, timeout_s=PATIENCE_S):
            pass


async def probe(client: AsyncClient, told: Told, seconds: float) -> None:
    """Asks at a steady rate, and takes note of each refusal and of how long it took."""

    async def ask(number: int) -> None:
        began = time.monotonic()
        try:
            if number % 2:
                await client.recognize(toy_pages.png("never"), timeout_s=PATIENCE_S)
            else:
                await client.list_jobs(limit=1)
        except TriptychError as error:
            told.answers_s.append(time.monotonic() - began)
            # The client says the same if nobody answers at all; then it knows whom it asked.
            told.reasons["nobody answered" if "target" in error.metadata else error.reason] += 1

    end, asking = time.monotonic() + seconds, []
    for number in itertools.count():
        if time.monotonic() >= end:
            break
        asking.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(PROBE_EVERY_S)
    await asyncio.gather(*asking)


async def measure(stack: ToyStack, seconds: float, proof: Proof) -> None:
    client = AsyncClient(stack.addresses[0], api_key=TENANT)
    blunt = AsyncClient(stack.addresses[0], api_key=TENANT, retries=False)
    load, told = Load(client), Told()
    await load.begin()
    await asyncio.to_thread(until, lambda: len(stack.batches()) >= BATCHES_BEFORE)
    began_s = time.time()
    stack.redis.freeze()
    probing = asyncio.create_task(probe(blunt, told, seconds))
    await asyncio.sleep(seconds)
    stack.redis.thaw()
    ended_s = time.time()
    await until_accepted_after(client, ended_s)
    proof.found("Redis stopped for, s", ended_s - began_s)
    proof.found("the first new job accepted after, s", time.time() - ended_s)
    await probing
    await load.end()
    jobs = await client.list_jobs(limit=1_000_000)
    for each in (client, blunt):
        await each.close()

    read = Counter(word for batch in stack.batches() for word in batch["words"])
    away = [len(batch["words"]) for batch in stack.batches() if began_s <= batch["at_s"] < ended_s]
    proof.found("jobs", len(jobs))
    proof.at_most("of them not ended well", sum(job.state != JobState.JOB_STATE_SUCCEEDED for job in jobs), 0)
    proof.at_most("attempts after the first", sum(job.attempt - 1 for job in jobs), 0)
    proof.found("pages", len(load.words))
    proof.found("of them read while Redis was away", sum(away))
    proof.at_most("of them read again", sum(read[word] > 1 for word in load.words), 0)
    proof.at_most("of them never read", sum(not read[word] for word in load.words), 0)
    proof.at_most("failed calls of those who come back", len(load.failures), 0)
    proof.at_least("refusals of those who do not", told.reasons.total(), 1)
    proof.at_least("of them BACKEND_UNAVAILABLE", told.reasons[BackendUnavailable.reason], told.reasons.total())
    proof.found("told after, s, median", quantile(told.answers_s, 0.5))
    proof.at_most("told after, s, most", max(told.answers_s, default=0), MAX_ANSWER_S)
    for other in (*load.failures, *(reason for reason in told.reasons if reason != BackendUnavailable.reason)):
        print(f"- {other!r}", file=sys.stderr)


async def until_accepted_after(client: AsyncClient, at_s: float) -> None:
    """Waits until a job was accepted after a time."""
    while True:
        with suppress(Unavailable):
            newest = await client.list_jobs(limit=1)
            if newest[0].create_time.ToNanoseconds() / 1e9 > at_s:
                return
        await asyncio.sleep(0.1)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="without Redis (default: 30)")
    given = parser.parse_args()
    proof = Proof()
    with tempfile.TemporaryDirectory(prefix="triptych-outage-") as folder, ToyStack(folder, TOY_PAGE_S=PAGE_S) as stack:
        asyncio.run(measure(stack, given.seconds, proof))
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
