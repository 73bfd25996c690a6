"""Items per second through the batcher with an instant engine, against calling the function directly.

And through a queue of 10,000, of one tenant and of many in turn; and what it costs to measure and lease memory for each
batch.
"""

import json
import statistics
import threading
import time
from collections.abc import Sequence

from triptych.workers.batch_memory import BatchMemory, Boundless
from triptych.workers.batcher import Batcher, BatchPolicy
from triptych.workers.memory_budget import MemoryBudget
from triptych.workers.memory_meters import ProcessMemory
from triptych.workers.model_memory import ModelMemory

SUBMITTERS = 64
SECONDS = 2.0
TENANTS = 100
ROUNDS = 5
BATCHES = 2000


def instant(items: Sequence[int]) -> Sequence[int | Exception]:
    return [item + 1 for item in items]


def direct_items_per_s() -> float:
    items, began = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < SECONDS:
        instant([items])
        items += 1
    return items / elapsed_s


def batched() -> dict[str, float]:
    batcher: Batcher[int, int] = Batcher(instant, BatchPolicy(max_cost=SUBMITTERS, max_items=SUBMITTERS))
    batcher.start()
    finished, batch_sizes, queued_ms = [0] * SUBMITTERS, [0] * SUBMITTERS, [0.0] * SUBMITTERS
    began = time.perf_counter()

    def submit_and_wait(index: int) -> None:
        while time.perf_counter() - began < SECONDS:
            done = batcher.submit(index, lane=index % 3, deadline=time.monotonic() + 60).result()
            finished[index] += 1
            batch_sizes[index] += done.batch_size
            queued_ms[index] += done.queued_ms

    submitters = [threading.Thread(target=submit_and_wait, args=(index,)) for index in range(SUBMITTERS)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    elapsed_s = time.perf_counter() - began
    batcher.stop()
    items = sum(finished)
    return {
        "items_per_s": items / elapsed_s,
        "batch_size_mean": sum(batch_sizes) / items,
        "queued_ms_mean": sum(queued_ms) / items,
    }


def backlog_items_per_s(tenants: int, items: int = 10_000) -> float:
    batcher: Batcher[int, int] = Batcher(instant, BatchPolicy(max_cost=SUBMITTERS, max_items=SUBMITTERS))
    began = time.perf_counter()
    futures = [batcher.submit(item, key=item % 8, lane=item % 3, tenant=f"{item % tenants}") for item in range(items)]
    batcher.start()
    batcher.stop()
    elapsed_s = time.perf_counter() - began
    assert all(future.done() for future in futures)
    return items / elapsed_s


def batch_us(memory: BatchMemory) -> float:
    """Gives the time of a batch of one item, in microseconds."""
    batcher: Batcher[int, int] = Batcher(instant, BatchPolicy(max_cost=1, max_items=1), memory=memory)
    for item in range(BATCHES):
        batcher.submit(item)
    began = time.perf_counter()
    batcher.start()
    batcher.stop()
    return 1e6 * (time.perf_counter() - began) / BATCHES


def main() -> None:
    direct, through = direct_items_per_s(), batched()
    backlogs = [(backlog_items_per_s(1), backlog_items_per_s(TENANTS)) for _ in range(ROUNDS)]
    leased = ModelMemory("bench", MemoryBudget(1 << 34), ProcessMemory(), weigh=lambda: 0)
    batches = [(batch_us(Boundless()), batch_us(leased)) for _ in range(ROUNDS)]
    plain_us, leased_us = (statistics.median(rounds) for rounds in zip(*batches, strict=True))
    of_one, of_many = (statistics.median(rounds) for rounds in zip(*backlogs, strict=True))
    figures = {
        "submitters": SUBMITTERS,
        "seconds": SECONDS,
        "direct_items_per_s": direct,
        **through,
        "direct_to_batched_ratio": direct / through["items_per_s"],
        "backlog_10k_items_per_s": of_one,
        "backlog_10k_of_100_tenants_items_per_s": of_many,
        "one_to_100_tenants_ratio": of_one / of_many,
        "plain_batch_us": plain_us,
        "leased_batch_us": leased_us,
        "lease_us": leased_us - plain_us,
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
