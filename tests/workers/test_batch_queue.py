"""The queue alone, on a clock that the tests turn: which items form the next batch."""

import math
import random

import pytest

from triptych.workers.batch_history import ESTIMATE_LIFE_S, MAX_KEYS, BatchHistory
from triptych.workers.batch_queue import BatchPolicy, BatchQueue


def make_queue(**policy):
    history = BatchHistory()
    return BatchQueue(BatchPolicy(**{"max_cost": 100, **policy}), history), history


def add(queue, item, *, cost=1.0, key=None, lane=1, deadline=None, now=0.0):
    return queue.add(item, cost=cost, key=key, lane=lane, deadline=deadline, now=now)


def items(entries):
    return [entry.item for entry in entries]


def test_lanes_come_before_deadlines_and_deadlines_before_arrival():
    queue, _ = make_queue()
    add(queue, "batch lane, urgent", lane=2, deadline=1)
    add(queue, "no deadline, first")
    add(queue, "no deadline, second")
    add(queue, "late deadline", deadline=9)
    add(queue, "early deadline", deadline=5)
    add(queue, "interactive", lane=0)
    assert items(queue.take(0)[0]) == [
        "interactive",
        "early deadline",
        "late deadline",
        "no deadline, first",
        "no deadline, second",
        "batch lane, urgent",
    ]


def test_the_most_urgent_item_says_which_key_goes_first():
    queue, _ = make_queue()
    add(queue, "wide 1", key="wide")
    add(queue, "wide 2", key="wide")
    add(queue, "tall", key="tall", lane=0)
    assert items(queue.take(0)[0]) == ["tall"]
    assert items(queue.take(0)[0]) == ["wide 1", "wide 2"]


def test_nobody_is_overtaken_by_a_smaller_item_behind():
    queue, _ = make_queue(max_cost=10)
    for item, cost in [("a", 6), ("b", 6), ("c", 4)]:
        add(queue, item, cost=cost)
    assert items(queue.take(0)[0]) == ["a"]
    assert items(queue.take(0)[0]) == ["b", "c"]


def test_a_waiting_item_moves_up_one_lane_each_time():
    queue, _ = make_queue(max_items=1, aging_s=30)
    add(queue, "old", lane=2, now=0)
    add(queue, "interactive at 59 s", lane=0, now=59)
    assert items(queue.take(59)[0]) == ["interactive at 59 s"]
    add(queue, "interactive at 61 s", lane=0, now=61)
    assert items(queue.take(61)[0]) == ["old"]


def test_an_item_without_deadline_does_not_starve_behind_ever_new_urgent_ones():
    queue, _ = make_queue(max_items=1, aging_s=30)
    add(queue, "patient", lane=2)
    for now in range(1000):
        add(queue, "urgent", lane=0, deadline=now + 5, now=now)
        if items(queue.take(now)[0]) == ["patient"]:
            break
    assert now == 90  # three lanes up: above lane 0


def test_an_overdue_item_is_dropped_even_if_its_turn_is_far_away():
    queue, _ = make_queue(max_items=1)
    add(queue, "overdue", lane=2, deadline=10)
    for item in range(3):
        add(queue, item, lane=0)
    batch, dropped = queue.take(11)
    assert (items(batch), items(dropped)) == ([0], ["overdue"])


def test_an_item_too_late_for_its_estimated_runtime_is_dropped():
    queue, history = make_queue()
    history.learn_runtime("page", cost=1, runtime_s=2.0, now=0)
    add(queue, "hopeless", key="page", deadline=1.9)
    add(queue, "large and hopeless", key="page", cost=2, deadline=3.9)
    add(queue, "feasible", key="page", deadline=2.1)
    add(queue, "of a key not run yet", key="line", deadline=1.9)
    batch, dropped = queue.take(0)
    assert items(batch) == ["of a key not run yet"]
    batch, more = queue.take(0)
    assert items(batch) == ["feasible"]
    assert sorted(items(dropped + more)) == ["hopeless", "large and hopeless"]


def test_an_estimate_grows_old_so_that_one_slow_run_does_not_refuse_items_for_ever():
    history = BatchHistory()
    history.learn_runtime("page", cost=1, runtime_s=50, now=0)
    assert history.runtime_s("page", 1, now=ESTIMATE_LIFE_S) == 50
    assert history.runtime_s("page", 1, now=ESTIMATE_LIFE_S + 1) == 0


def test_an_estimate_falls_at_once_and_rises_slowly():
    history = BatchHistory()
    history.learn_runtime("page", cost=2, runtime_s=20, now=0)
    history.learn_runtime("page", cost=2, runtime_s=2, now=1)
    assert history.runtime_s("page", 3, now=1) == 3
    history.learn_runtime("page", cost=2, runtime_s=20, now=2)
    assert 3 < history.runtime_s("page", 3, now=2) < 15


def test_a_ceiling_of_cost_only_falls_and_binds_its_own_key():
    queue, history = make_queue()
    history.learn_safe_cost("page", 2)
    history.learn_safe_cost("page", 3)
    for item in range(5):
        add(queue, item, key="page")
        add(queue, item, key="line")
    assert [len(queue.take(0)[0]) for _ in range(4)] == [2, 5, 2, 1]


def test_the_history_forgets_the_least_recently_run_key():
    history = BatchHistory()
    history.learn_safe_cost("first", 1)
    history.learn_safe_cost("second", 2)
    for key in range(MAX_KEYS - 2):
        history.learn_safe_cost(key, 9)
    history.learn_runtime("first", cost=1, runtime_s=1, now=0)
    history.learn_safe_cost("one more", 9)
    assert history.safe_cost("first") == 1
    assert math.isinf(history.safe_cost("second"))


def test_company_is_awaited_until_the_batch_is_full_or_somebody_waited_long_enough():
    queue, _ = make_queue(max_items=2, max_wait_ms=100)
    add(queue, "a", now=0)
    assert queue.company_wait_s(0) == pytest.approx(0.1)
    assert queue.company_wait_s(0.2) == 0
    company = add(queue, "b", now=0)
    assert queue.company_wait_s(0) == 0
    queue.remove(company.number)
    assert queue.company_wait_s(0) == pytest.approx(0.1)


def test_company_is_not_awaited_past_what_a_deadline_allows():
    queue, history = make_queue(max_wait_ms=100)
    add(queue, "a", deadline=0.15)
    assert queue.company_wait_s(0) == pytest.approx(0.1)
    history.learn_runtime(None, cost=1, runtime_s=0.1, now=0)
    assert queue.company_wait_s(0) == 0


@pytest.mark.parametrize("wrong", [{"cost": -1}, {"cost": math.nan}, {"cost": math.inf}, {"deadline": math.nan}])
def test_a_cost_or_deadline_that_cannot_be_ordered_is_refused(wrong):
    queue, _ = make_queue()
    with pytest.raises(ValueError, match="cost must be"):
        add(queue, "a", **wrong)
    assert len(queue) == 0


@pytest.mark.parametrize("wrong", [{"max_cost": 0}, {"max_items": 0}, {"max_wait_ms": -1}, {"aging_s": 0}])
def test_a_policy_nothing_could_run_under_is_refused(wrong):
    with pytest.raises(ValueError, match="policy"):
        BatchPolicy(**{"max_cost": 1, **wrong})


def expected_batch(waiting, now, policy):
    """The rules, read aloud: sort everything, take what fits."""
    ordered = sorted(waiting, key=lambda e: (e.lane - int((now - e.arrived) / policy["aging_s"]), e.deadline, e.number))
    batch, cost = [], 0
    for entry in ordered:
        if entry.key != ordered[0].key:
            continue
        if len(batch) == policy["max_items"] or (batch and cost + entry.cost > policy["max_cost"]):
            break
        batch.append(entry)
        cost += entry.cost
    return batch


@pytest.mark.parametrize("seed", range(20))
def test_every_batch_is_the_one_that_sorting_everything_would_give(seed):
    dice = random.Random(seed)
    policy = {"max_cost": 20, "max_items": 5, "aging_s": 8}
    queue, _ = make_queue(**policy)
    waiting, now = {}, 0
    for _ in range(300):
        now += dice.choice([1, 1, 1, 20])
        for _ in range(dice.randrange(6)):
            deadline = dice.choice([None, now + dice.randrange(1, 40)])
            entry = add(
                queue,
                "x",
                cost=dice.randrange(25),
                key=dice.randrange(3),
                lane=dice.randrange(3),
                deadline=deadline,
                now=now,
            )
            waiting[entry.number] = entry
        if waiting and dice.random() < 0.3:
            gone = dice.choice(sorted(waiting))
            assert queue.remove(gone) is waiting.pop(gone)
            assert queue.remove(gone) is None
        overdue = {number for number, entry in waiting.items() if entry.deadline <= now}
        expected = expected_batch([entry for number, entry in waiting.items() if number not in overdue], now, policy)
        batch, dropped = queue.take(now)
        assert {entry.number for entry in dropped} == overdue
        assert batch == expected
        for entry in batch + dropped:
            del waiting[entry.number]
        assert len(queue) == len(waiting)
    assert {entry.number for entry in queue.drain()} == set(waiting)


def test_ten_thousand_items_of_ten_thousand_keys_leave_nothing_behind():
    queue, _ = make_queue()
    for number in range(10_000):
        add(queue, number, key=number, lane=number % 3, now=number / 1000)
    for number in range(0, 10_000, 2):
        queue.remove(number)
    taken = []
    while queue:
        taken += items(queue.take(11)[0])
    assert sorted(taken) == list(range(1, 10_000, 2))
    assert queue.take(12) == ([], [])
