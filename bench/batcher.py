"""Items per second through the batcher with an instant engine, against calling the function directly.

And through a queue of 10,000, of one tenant and of many in turn.
"""

import json
import statistics
import threading
import time
from collections.abc import Sequence

from triptych.workers.batcher import Batcher, BatchPolicy

SUBMITTERS = 64
SECONDS = 2.0
TENANTS = 100
ROUNDS = 5


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


def main() -> None:
    direct, through = direct_items_per_s(), batched()
    backlogs = [(backlog_items_per_s(1), backlog_items_per_s(TENANTS)) for _ in range(ROUNDS)]
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
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
