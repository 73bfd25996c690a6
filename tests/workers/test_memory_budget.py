"""Leases of a device's memory: in turn, within the budget, and never for ever."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from triptych.workers.memory_budget import MemoryBudget

PATIENCE_S = 60


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Asking:
    """Somebody who waits for a lease, on a thread of its own."""

    def __init__(self, pool, budget, size_bytes, **options):
        self._waits = threading.Event()
        self._budget = budget
        self._future = pool.submit(budget.lease, size_bytes, wanted=self._heed, **options)
        self.wanted = True

    def until_it_waits(self):
        assert self._waits.wait(PATIENCE_S)
        return self

    @property
    def has_it(self):
        return self._future.done()

    def lease(self):
        return self._future.result(PATIENCE_S)

    def _heed(self):
        self._waits.set()
        return self.wanted


def test_leases_that_fit_together_are_given_at_once():
    budget = MemoryBudget(100)
    budget.hold("model", 40)
    with budget.lease(30), budget.lease(30):
        assert (budget.leased_bytes(), budget.room_bytes()) == (60, 60)
    assert budget.leased_bytes() == 0


def test_one_that_does_not_fit_beside_another_waits_for_it(pool):
    budget = MemoryBudget(100)
    first = budget.lease(60)
    second = Asking(pool, budget, 60).until_it_waits()
    assert not second.has_it
    first.release()
    assert second.lease().size_bytes == 60


def test_a_large_one_is_not_passed_by_small_ones_that_came_later(pool):
    budget = MemoryBudget(100)
    first = budget.lease(60)
    large = Asking(pool, budget, 80).until_it_waits()
    small = Asking(pool, budget, 10).until_it_waits()
    assert not small.has_it, "it would fit, but came later"
    first.release()
    assert large.lease().size_bytes == 80
    assert small.lease().size_bytes == 10


def test_whoever_is_alone_is_let_through_whatever_it_takes(pool):
    budget = MemoryBudget(100)
    budget.hold("model", 90)
    first = budget.lease(500)
    second = Asking(pool, budget, 500).until_it_waits()
    first.release()
    assert second.lease().size_bytes == 500


def test_idle_models_make_room_before_the_budget_is_exceeded():
    budget = MemoryBudget(100)
    budget.hold("idle", 50)
    budget.hold("ours", 30)
    asked = []

    def spare(missing_bytes):
        asked.append(missing_bytes)
        budget.drop("idle")
        return True

    lease = budget.lease(60, spare=spare)
    assert (asked, lease.size_bytes, budget.room_bytes()) == ([40], 60, 70)
    lease.release()
    assert budget.lease(200, spare=asked.append).size_bytes == 200
    assert asked == [40, 130], "nothing could be freed, so it is not asked again"


def test_what_nobody_wants_any_more_waits_no_longer_and_leases_nothing(pool):
    budget = MemoryBudget(100)
    first = budget.lease(60)
    second = Asking(pool, budget, 60).until_it_waits()
    third = Asking(pool, budget, 40).until_it_waits()
    second.wanted = False
    assert second.lease().size_bytes == 0
    assert third.lease().size_bytes == 40, "it fits beside the first, and nobody is before it any more"
    first.release()


def test_what_is_raised_while_it_waits_leaves_no_place_in_the_queue():
    budget = MemoryBudget(100)
    first = budget.lease(100)

    def stopped():
        raise KeyError("stopped")

    with pytest.raises(KeyError):
        budget.lease(10, wanted=stopped)
    first.release()
    assert budget.lease(10).size_bytes == 10


def test_a_batch_that_runs_grows_while_there_is_room_and_nobody_waits(pool):
    budget = MemoryBudget(100)
    lease = budget.lease(40)
    assert lease.grow(40)
    assert not lease.grow(40)
    lease.shrink(30)
    assert (lease.size_bytes, budget.leased_bytes()) == (50, 50)
    waiting = Asking(pool, budget, 60).until_it_waits()
    assert not lease.grow(1), "whoever waits would wait for ever"
    lease.release()
    assert waiting.lease().size_bytes == 60
    assert not lease.grow(1), "it is over"


def test_a_lease_knows_whether_it_ever_had_company():
    budget = MemoryBudget(100)
    first = budget.lease(10)
    assert not first.shared
    second = budget.lease(10)
    second.release()
    assert first.shared
    assert second.shared
    first.release()
    assert not budget.lease(10).shared


@pytest.mark.parametrize("seed", range(5))
def test_under_many_threads_the_budget_holds_and_everybody_gets_a_turn(seed, pool):
    budget = MemoryBudget(100)
    lock, now, most, alone = threading.Lock(), [], [], []

    def work(number):
        lots = random.Random(f"{seed} {number}")
        for _ in range(100):
            size_bytes = lots.choice((1, 10, 30, 60, 100, 150))
            with budget.lease(size_bytes):
                with lock:
                    now.append(size_bytes)
                    most.append(sum(now))
                    alone.append(size_bytes <= 100 or len(now) == 1)
                with lock:
                    now.remove(size_bytes)
        return True

    assert all(pool.map(work, range(8), timeout=PATIENCE_S))
    assert all(total <= 100 or total == 150 for total in most)
    assert all(alone), "what exceeds the budget runs alone"
    assert budget.leased_bytes() == 0
