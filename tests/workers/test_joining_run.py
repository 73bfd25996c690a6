"""Items that join and leave a batch between its steps, with an engine that waits at each step, fails or runs full."""

import threading
import time
from itertools import count

import pytest

from triptych.core.errors import JobCancelled
from triptych.workers.batcher import Batcher, BatchPolicy
from triptych.workers.memory_budget import MemoryBudget
from triptych.workers.model_memory import ModelMemory
from triptych.workers.testing import StatedMeter

PATIENCE_S = 60


class Countdown:
    """An engine whose items are (name, steps); each step takes one off. "bad" breaks its batch, "odd" itself only.

    Attributes:
        steps: The names that were in the batch at each step.
        room: So many items fit.
        unwanted: Names of items that nobody wants any more.
    """

    def __init__(self, room=100):
        self.steps = []
        self.room = room
        self.unwanted = set()
        self.before_step = lambda: None
        self.batches = 0

    def begin_batch(self):
        self.batches += 1
        return Batch(self)

    def run_batch(self, items):
        batch, found = self.begin_batch(), {}
        numbers = [batch.join(item) for item in items]
        while len(found) < len(items):
            found.update(batch.step())
        return [found[number] for number in numbers]


class Batch:
    def __init__(self, engine):
        self.engine, self.numbers, self.left = engine, count(), {}

    def join(self, item):
        if item[0] == "refused":
            raise ValueError("refused")
        number = next(self.numbers)
        self.left[number] = list(item)
        return number

    def step(self):
        self.engine.before_step()
        names = [name for name, _ in self.left.values()]
        self.engine.steps.append("".join(names))
        if len(names) > self.engine.room or "monster" in names:
            raise MemoryError("device")
        if "bad" in names:
            raise ValueError("somebody is bad")
        ended = []
        for number, one in list(self.left.items()):
            one[1] -= 1
            if one[0] == "odd":
                ended.append((number, ValueError("odd")))
            elif one[0] in self.engine.unwanted:
                ended.append((number, JobCancelled("stopped")))
            elif not one[1]:
                ended.append((number, one[0].upper()))
        for number, _ in ended:
            del self.left[number]
        return ended


@pytest.fixture
def start():
    batchers = []

    def start(engine, *, on_batch=None, memory=None, **policy):
        batcher = Batcher(
            engine.run_batch,
            BatchPolicy(**{"max_cost": 1000, **policy}),
            on_batch=on_batch,
            memory=memory,
            begin_batch=engine.begin_batch,
        )
        batchers.append(batcher)
        return batcher

    yield start
    for batcher in batchers:
        batcher.stop()


def at_step(engine, actions):
    """Has something done before a step, by its number from 0: on the batcher's thread, so nothing else happens then."""

    def act():
        if action := actions.pop(len(engine.steps), None):
            action()

    engine.before_step = act


def values(futures):
    return [future.result(PATIENCE_S).value for future in futures]


def test_items_join_and_leave_between_steps(start):
    engine = Countdown()
    batcher = start(engine)
    late = []
    at_step(engine, {1: lambda: late.append(batcher.submit(("c", 1)))})
    futures = [batcher.submit(("a", 2)), batcher.submit(("b", 4))]
    batcher.start()
    assert values(futures) == ["A", "B"]
    assert values(late) == ["C"]
    assert engine.steps == ["ab", "ab", "bc", "b"]
    assert engine.batches == 1


def test_a_slot_that_is_free_goes_to_the_next_at_once_and_the_batch_stays_within_its_bounds(start):
    engine = Countdown()
    batcher = start(engine, max_items=2)
    futures = [batcher.submit((name, steps)) for name, steps in [("a", 1), ("b", 3), ("c", 2), ("d", 1)]]
    batcher.start()
    assert values(futures) == ["A", "B", "C", "D"]
    assert engine.steps == ["ab", "bc", "bc", "d"]
    engine = Countdown()
    batcher = start(engine, max_cost=10)
    futures = [batcher.submit((name, 2), cost=cost) for name, cost in [("a", 6), ("b", 4), ("c", 7), ("d", 99)]]
    batcher.start()
    values(futures)
    assert engine.steps == ["ab", "ab", "c", "c", "d", "d"]


def test_every_item_says_when_it_joined_how_long_it_ran_and_in_what_company(start):
    engine, reports = Countdown(), []
    batcher = start(engine, on_batch=reports.append)
    futures = [batcher.submit(("a", 1), cost=2), batcher.submit(("b", 2), cost=3)]
    late = []
    at_step(engine, {1: lambda: late.append(batcher.submit(("c", 2), cost=5))})
    batcher.start()
    done = [future.result(PATIENCE_S) for future in futures] + [late[0].result(PATIENCE_S)]
    batcher.stop()
    assert [one.batch_size for one in done] == [2, 2, 1]
    assert all(one.queued_ms >= 0 < one.ran_ms for one in done)
    assert [(report.size, report.cost, report.errors) for report in reports] == [(2, 2, 0), (2, 3, 0), (1, 5, 0)]


def test_who_is_next_is_decided_as_ever_lane_first_and_tenants_in_turn(start):
    engine = Countdown()
    batcher = start(engine, max_items=1)
    order = [("x", 2, "crowd"), ("y", 2, "crowd"), ("z", 2, "lone"), ("i", 0, "crowd")]
    futures = [batcher.submit((name, 1), lane=lane, tenant=tenant) for name, lane, tenant in order]
    batcher.start()
    values(futures)
    assert engine.steps == ["i", "x", "z", "y"]


def test_ten_thousand_items_of_a_tenant_do_not_keep_anothers_out(start):
    engine = Countdown()
    batcher = start(engine, max_items=4)
    crowd = [batcher.submit(("x", 3), tenant="crowd") for _ in range(2000)]
    lone = []
    at_step(engine, {50: lambda: lone.append(batcher.submit(("L", 1), tenant="lone"))})
    batcher.start()
    values(crowd)
    assert values(lone) == ["L"]
    assert next(number for number, names in enumerate(engine.steps) if "L" in names) <= 53


def test_an_item_of_another_key_waits_until_the_batch_has_ended_and_is_not_starved(start):
    engine = Countdown()
    batcher = start(engine, max_items=2)
    futures = [batcher.submit(("a", 2), key=1), batcher.submit(("b", 3), key=1)]
    late = []
    at_step(
        engine,
        {0: lambda: late.extend([batcher.submit(("c", 1), key=2, lane=0), batcher.submit(("d", 1), key=1)])},
    )
    batcher.start()
    values(futures)
    values(late)
    assert engine.steps == ["ab", "ab", "b", "c", "d"]


def test_an_item_that_is_withdrawn_leaves_its_slot_to_the_next_and_the_others_go_on(start):
    engine = Countdown()
    batcher = start(engine, max_items=2)
    futures = [batcher.submit(("a", 5)), batcher.submit(("b", 3)), batcher.submit(("c", 1))]

    def withdraw():  # as a Withdrawal does: the future ends when it is heard
        engine.unwanted.add("a")
        futures[0].set_exception(JobCancelled("stopped"))

    at_step(engine, {1: withdraw})
    batcher.start()
    assert values(futures[1:]) == ["B", "C"]
    assert isinstance(futures[0].exception(PATIENCE_S), JobCancelled)
    assert engine.steps == ["ab", "ab", "bc"]


# Failures.


def test_an_items_own_failure_is_its_own(start):
    engine = Countdown()
    batcher = start(engine)
    futures = [batcher.submit((name, 2)) for name in ("a", "odd", "refused", "b")]
    batcher.start()
    assert values([futures[0], futures[3]]) == ["A", "B"]
    assert [str(futures[number].exception(PATIENCE_S)) for number in (1, 2)] == ["odd", "refused"]
    assert engine.batches == 1


def test_a_step_that_fails_is_blamed_on_the_guilty_item_alone(start):
    engine, reports = Countdown(), []
    batcher = start(engine, on_batch=reports.append)
    late = []
    at_step(engine, {1: lambda: late.append(batcher.submit(("bad", 2)))})
    futures = [batcher.submit((name, 5)) for name in "abc"]
    batcher.start()
    assert values(futures) == ["A", "B", "C"]
    assert isinstance(late[0].exception(PATIENCE_S), ValueError)
    assert values([batcher.submit(("d", 1))]) == ["D"]
    batcher.stop()
    assert [(report.size, report.split, report.errors) for report in reports] == [(4, True, 1), (1, False, 0)]


@pytest.mark.parametrize("room", [1, 2, 3, 5])
def test_a_batch_too_large_for_memory_is_run_in_smaller_company_and_the_ceiling_remembered(start, room):
    engine, reports = Countdown(room), []
    batcher = start(engine, on_batch=reports.append)
    futures = [batcher.submit((name, 3)) for name in "abcdefgh"]
    batcher.start()
    assert values(futures) == list("ABCDEFGH")
    batcher.stop()
    assert reports[-1].out_of_memory
    assert reports[-1].errors == 0
    assert 1 <= reports[-1].safe_cost <= room


def test_after_an_out_of_memory_those_who_join_stay_under_the_ceiling(start):
    engine = Countdown(room=2)
    batcher = start(engine)
    futures = [batcher.submit((name, 2)) for name in "abcd"]
    batcher.start()
    values(futures)
    engine.steps.clear()
    gate = threading.Event()
    at_step(engine, {0: gate.wait})
    more = [batcher.submit((name, 2)) for name in "efghi"]
    gate.set()
    assert values(more) == list("EFGHI")
    assert max(map(len, engine.steps)) == 2


def test_an_item_that_does_not_fit_even_alone_makes_nobodys_batches_small(start):
    engine, reports = Countdown(), []
    batcher = start(engine, on_batch=reports.append)
    futures = [batcher.submit((name, 2)) for name in ("a", "b", "monster", "d")]
    batcher.start()
    assert isinstance(futures[2].exception(PATIENCE_S), MemoryError)
    assert values(futures[:2] + futures[3:]) == ["A", "B", "D"]
    batcher.stop()
    assert reports[-1].safe_cost is None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_the_thread_survives_whatever_a_step_or_a_new_batch_raises(start, kind):
    engine = Countdown()
    batcher = start(engine)

    def leave():
        raise kind("bye")

    at_step(engine, {0: leave})
    futures = [batcher.submit(("a", 1)), batcher.submit(("b", 1))]
    batcher.start()
    assert values(futures) == ["A", "B"]
    begin, engine.begin_batch = engine.begin_batch, None
    batcher._begin_batch = leave
    assert kind.__name__ in str(batcher.submit(("c", 1)).exception(PATIENCE_S))
    batcher._begin_batch = begin
    assert values([batcher.submit(("d", 1))]) == ["D"]


def test_stop_drains_what_runs_and_what_waits(start):
    engine = Countdown()
    batcher = start(engine, max_items=2)
    futures = [batcher.submit((name, 3)) for name in "abcde"]
    batcher.start()
    batcher.stop()
    assert [future.result(0).value for future in futures] == list("ABCDE")


def test_an_item_that_cannot_meet_its_deadline_does_not_join(start):
    engine = Countdown()
    batcher = start(engine)
    late = []
    at_step(engine, {0: lambda: late.append(batcher.submit(("l", 1), deadline=time.monotonic() - 1))})
    future = batcher.submit(("a", 3))
    batcher.start()
    assert values([future]) == ["A"]
    assert late[0].cancelled()
    assert engine.steps == ["a"] * 3


def known_memory(budget, bytes_an_item):
    """The memory of a model of which each item is known to take so much: up to four of them at once were seen."""
    meter = StatedMeter()
    memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
    for items in (1, 2, 4):
        meter.peak_bytes = items * bytes_an_item * 4 // 5  # a quarter more is expected
        with memory.leased([], None, items) as lease:
            lease.learn(items)
    meter.peak_bytes = bytes_an_item * 4 // 5
    return memory


def test_items_join_as_far_as_memory_is_had_and_the_others_when_some_have_left(start):
    engine, budget = Countdown(), MemoryBudget(30)
    leased = []
    batcher = start(engine, memory=known_memory(budget, 10))
    other = budget.lease(10)
    futures = [batcher.submit(("a", 3))]

    def submit_more():
        futures.extend(batcher.submit((name, 3)) for name in "bc")

    at_step(engine, {0: submit_more, 1: lambda: leased.append(budget.leased_bytes())})
    batcher.start()
    assert futures[0].result(PATIENCE_S).value == "A"
    assert values(futures) == list("ABC")
    assert engine.steps == ["a", "ab", "ab", "bc", "c", "c"]
    assert leased == [30]
    batcher.stop()
    assert budget.leased_bytes() == 10
    other.release()


def test_a_batch_that_fails_gives_its_memory_back_before_its_halves_ask_for_theirs(start):
    engine, budget = Countdown(room=1), MemoryBudget(40)
    batcher = start(engine, memory=known_memory(budget, 10))
    futures = [batcher.submit((name, 2)) for name in "abcd"]
    batcher.start()
    assert values(futures) == list("ABCD")
    batcher.stop()
    assert budget.leased_bytes() == 0


def test_a_batch_that_never_ends_learns_meanwhile_what_it_takes(start):
    engine, budget, meter = Countdown(), MemoryBudget(1000), StatedMeter()
    meter.peak_bytes = 10
    batcher = start(engine, memory=ModelMemory("model", budget, meter, weigh=lambda: 0))
    # Somebody is always in the batch: the next comes before the last has left.
    futures = [batcher.submit(("a", 3))]
    submitted = iter("bcdefghijklmnopqrst")

    def more():
        if name := next(submitted, None):
            futures.extend(batcher.submit((name, 3)) for _ in range(2))

    engine.before_step = more
    batcher.start()
    values(futures[:1])
    batcher.stop()
    assert len(futures) == 39
    values(futures)
    assert engine.steps[0] == "a", "the first one runs alone, as nobody knows what it takes"
    assert max(map(len, engine.steps)) > 4, engine.steps


def test_the_last_one_is_tried_alone_before_it_fails_for_what_others_left_behind(start):
    engine = Countdown()
    full = iter([MemoryError("what left has left its room behind")])

    def step():
        if engine.steps[-2:] == ["ab", "b"] and (error := next(full, None)):
            raise error

    engine.before_step = step
    batcher = start(engine)
    futures = [batcher.submit(("a", 1)), batcher.submit(("b", 4))]
    batcher.start()
    assert values(futures) == ["A", "B"]
    assert engine.batches == 2


def test_nobody_is_let_in_for_those_who_joined_and_left_without_having_run_well(start):
    engine, budget, meter = Countdown(), MemoryBudget(1_000_000), StatedMeter()
    memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
    meter.peak_bytes = 10
    batcher = start(engine, memory=memory)
    batcher.start()
    values([batcher.submit(("a", 1))])
    futures = [batcher.submit(("b", 9))]

    def submit_odd_ones():
        futures.extend(batcher.submit(("odd", 2)) for _ in range(3))

    at_step(engine, dict.fromkeys((2, 3, 4), submit_odd_ones))
    assert values(futures[:1]) == ["B"]
    batcher.stop()
    assert len(futures) == 10
    assert memory.max_cost(None) == 4, "only single items have run well"
