"""The queue alone, on a clock that the tests turn: which items form the next batch."""

import gc
import math
import random
from collections import Counter

import pytest

from triptych.workers.batch_history import ESTIMATE_LIFE_S, MAX_KEYS, BatchHistory
from triptych.workers.batch_queue import BatchPolicy, BatchQueue
from triptych.workers.batch_turns import Account


def make_queue(**policy):
    history = BatchHistory()
    return BatchQueue(BatchPolicy(**{"max_cost": 100, **policy}), history), history


def add(queue, item, *, cost=1.0, key=None, lane=1, deadline=None, tenant="", weight=1.0, now=0.0):
    return queue.add(item, cost=cost, key=key, lane=lane, deadline=deadline, tenant=tenant, weight=weight, now=now)


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


def test_the_lowest_ceiling_of_cost_binds_its_own_key():
    queue, history = make_queue()
    history.learn_safe_cost("page", 2, failed_cost=4, now=0)
    history.learn_safe_cost("page", 3, failed_cost=6, now=0)
    for item in range(5):
        add(queue, item, key="page")
        add(queue, item, key="line")
    assert [len(queue.take(0)[0]) for _ in range(4)] == [2, 5, 2, 1]


def test_the_history_forgets_the_least_recently_run_key():
    history = BatchHistory()
    history.learn_safe_cost("first", 1, failed_cost=2, now=0)
    history.learn_safe_cost("second", 2, failed_cost=4, now=0)
    for key in range(MAX_KEYS - 2):
        history.learn_safe_cost(key, 9, failed_cost=18, now=0)
    history.learn_runtime("first", cost=1, runtime_s=1, now=0)
    history.learn_safe_cost("one more", 9, failed_cost=18, now=0)
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


# Tenants.


def take_costs(queue, batches, now=0.0):
    """Takes so many batches, and gives what each tenant had of them."""
    costs = Counter()
    for _ in range(batches):
        for entry in queue.take(now)[0]:
            costs[entry.tenant] += entry.cost
    return costs


def test_a_batch_takes_from_all_tenants_in_turn():
    queue, _ = make_queue(max_items=5)
    for tenant in "abc":
        for number in range(3):
            add(queue, f"{tenant}{number}", tenant=tenant)
    assert items(queue.take(0)[0]) == ["a0", "b0", "c0", "a1", "b1"]
    assert items(queue.take(0)[0]) == ["c1", "a2", "b2", "c2"]


def test_inside_a_tenant_the_earliest_deadline_goes_first_then_arrival():
    queue, _ = make_queue()
    for item, deadline in [("none, first", None), ("none, second", None), ("late", 9), ("early", 5)]:
        add(queue, item, tenant="a", deadline=deadline)
    add(queue, "another's", tenant="b")
    assert items(queue.take(0)[0]) == ["early", "another's", "late", "none, first", "none, second"]


def test_of_tenants_who_come_at_once_the_earliest_deadline_goes_first():
    queue, _ = make_queue()
    for tenant, deadline in [("a", None), ("b", 9), ("c", 5)]:
        add(queue, tenant, tenant=tenant, deadline=deadline)
    assert items(queue.take(0)[0]) == ["c", "b", "a"]


def test_the_lane_comes_before_the_turn():
    queue, _ = make_queue(max_items=2)
    for number in range(4):
        add(queue, f"interactive {number}", tenant="had much already", lane=0)
    add(queue, "normal", tenant="had nothing yet", lane=1)
    assert [items(queue.take(0)[0]) for _ in range(3)] == [
        ["interactive 0", "interactive 1"],
        ["interactive 2", "interactive 3"],
        ["normal"],
    ]


@pytest.mark.parametrize("waited_s", [0, 31, 1000], ids="waited {}s".format)
@pytest.mark.parametrize("backlog_lane", [1, 2])
@pytest.mark.parametrize("key", ["theirs", "of its own"])
def test_ten_thousand_items_of_a_tenant_do_not_delay_anothers_single_item(waited_s, backlog_lane, key):
    queue, _ = make_queue(max_items=16, max_cost=16, aging_s=30)
    for number in range(10_000):
        add(queue, number, tenant="crowd", key="theirs", lane=backlog_lane)
    queue.take(0)
    queue.take(waited_s)
    for cost in (0, 1, 16):
        add(queue, "single", tenant="lone", key=key, cost=cost, lane=1, now=waited_s)
        batch, _ = queue.take(waited_s)
        assert items(batch)[0] == "single"
        # What it took beyond its share is the crowd's now.
        assert take_costs(queue, 1, waited_s) == {"crowd": 16}


def test_items_that_cost_nothing_take_turns_too():
    queue, _ = make_queue(max_items=4)
    for number in range(10):
        add(queue, number, tenant="crowd", cost=0)
    add(queue, "single", tenant="lone", cost=0)
    assert items(queue.take(0)[0]) == [0, "single", 1, 2]


@pytest.mark.parametrize("keys", [1, 3])
def test_backlogged_tenants_share_cost_by_weight_whatever_the_size_of_their_items(keys):
    queue, _ = make_queue(max_items=8, max_cost=40)
    dice = random.Random(0)
    for number in range(3000):
        add(queue, number, tenant="light", weight=1, cost=dice.randrange(5, 15), key=number % keys)
        add(queue, number, tenant="heavy", weight=3, cost=dice.randrange(1, 9), key=number % keys)
    had = take_costs(queue, 200)
    assert had["heavy"] / had["light"] == pytest.approx(3, rel=0.05)


def test_a_hundred_tenants_of_any_weight_are_never_more_than_a_batch_apart():
    queue, _ = make_queue(max_items=16)
    weights = {f"tenant {number}": 1 + number % 4 for number in range(100)}
    for tenant, weight in weights.items():
        for number in range(50):
            add(queue, number, tenant=tenant, weight=weight)
    had = Counter()
    for _ in range(60):
        had += take_costs(queue, 1)
        shares = [had[tenant] / weight for tenant, weight in weights.items()]
        assert max(shares) - min(shares) <= 1


def test_who_comes_back_after_idling_has_neither_credit_nor_debt():
    queue, _ = make_queue(max_items=10)

    def fill(tenant):
        for number in range(1000):
            add(queue, number, tenant=tenant)

    fill("always here")
    add(queue, 0, tenant="comes back")
    had = take_costs(queue, 50)
    assert had == {"always here": 499, "comes back": 1}
    fill("comes back")
    assert take_costs(queue, 20) == {"always here": 100, "comes back": 100}


def test_who_had_the_engine_alone_owes_nothing_to_those_who_come_later():
    queue, _ = make_queue(max_items=10)
    for number in range(1000):
        add(queue, number, tenant="first")
    take_costs(queue, 50)
    for number in range(1000):
        add(queue, number, tenant="second")
    assert take_costs(queue, 20) == {"first": 100, "second": 100}


def test_one_large_item_at_a_time_gets_no_more_than_its_share():
    queue, _ = make_queue(max_cost=50)
    for number in range(5000):
        add(queue, number, tenant="small ones")
    had, large_waits = Counter(), False
    for _ in range(200):
        if not large_waits:
            add(queue, "large", tenant="large ones", cost=50)
        batch = take_costs(queue, 1)
        large_waits = "large ones" not in batch
        had += batch
    assert had["large ones"] / had["small ones"] == pytest.approx(1, rel=0.05)


def test_what_was_taken_for_another_keys_batch_is_paid_for_later():
    queue, _ = make_queue(max_items=10)
    for number in range(100):
        add(queue, number, tenant="a", key=number % 2)
        add(queue, number, tenant="b", key=2)
    assert take_costs(queue, 1) == {"a": 10}
    assert take_costs(queue, 1) == {"b": 10}


def test_an_aged_lane_shares_with_the_lane_it_has_come_to_and_never_shuts_it_out():
    queue, _ = make_queue(max_items=4, aging_s=30)
    for number in range(100):
        add(queue, number, tenant="patient", lane=2, now=0)
        add(queue, number, tenant="urgent", lane=0, now=59)
    assert take_costs(queue, 5, now=59) == {"urgent": 20}
    for now in (61, 1000):
        had = take_costs(queue, 10, now)
        assert had["patient"] == pytest.approx(had["urgent"], abs=2)


def test_a_tenant_whose_items_left_unserved_has_no_place_kept():
    queue, _ = make_queue(max_items=10)
    for number in range(1010):
        add(queue, number, tenant="stays")
    for number in range(100):
        entry = add(queue, number, tenant="goes", lane=2)
        queue.remove(entry.number)
        assert take_costs(queue, 1) == {"stays": 10}
    add(queue, "after all", tenant="goes")
    assert take_costs(queue, 1) == {"stays": 9, "goes": 1}


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
def test_a_weight_that_gives_no_share_is_refused(weight):
    queue, _ = make_queue()
    with pytest.raises(ValueError, match="weight must be"):
        add(queue, "a", weight=weight)
    assert len(queue) == 0


def count_accounts():
    gc.collect()
    return sum(type(thing) is Account for thing in gc.get_objects())


@pytest.mark.parametrize("waiting", [1, 100])
def test_tenants_who_went_are_forgotten_though_the_queue_is_never_empty(monkeypatch, waiting):
    monkeypatch.setattr("triptych.workers.batch_turns.MAX_AHEAD", 200)
    before = count_accounts()
    queue, _ = make_queue(max_items=16)
    for number in range(waiting):
        add(queue, "backlog", tenant=f"early {number}")
    for number in range(5000):
        add(queue, "one item", tenant=f"passing {number}")
        if len(queue) >= waiting + 16:
            queue.take(0)
    assert len(queue) >= waiting
    assert count_accounts() - before < 1000


def test_an_endless_stream_of_new_tenants_does_not_starve_one_who_had_something(monkeypatch):
    monkeypatch.setattr("triptych.workers.batch_turns.MAX_AHEAD", 200)
    queue, _ = make_queue(max_items=1)
    for number in range(3):
        add(queue, number, tenant="had something")
    had = Counter()
    for number in range(1000):
        add(queue, "one item", tenant=f"passing {number}")
        had += take_costs(queue, 1)
    assert had["had something"] == 3


class FairOrder:
    """The rules among tenants, read aloud: for every item, look at everything that waits."""

    def __init__(self, policy):
        self.policy = policy
        self.starts, self.virtual_time = {}, Counter()

    def tier(self, lane, waiting, now):
        oldest = {}
        for entry in waiting:
            oldest.setdefault(entry.lane, self.aged(entry, now))
        for upper in range(lane):
            if all(
                any(aged < border <= other for other, aged in oldest.items()) for border in range(upper + 1, lane + 1)
            ):
                return upper
        return lane

    def aged(self, entry, now):
        return entry.lane - int((now - entry.arrived) / self.policy["aging_s"])

    def batch(self, waiting, now):
        place = {e.number: (self.tier(e.lane, waiting, now), e.tenant) for e in waiting}
        for tier, tenant in place.values():
            self.starts[tier, tenant] = max(self.starts.get((tier, tenant), 0), self.virtual_time[tier])

        def order(entry):
            account = place[entry.number]
            return account[0], self.starts[account], self.aged(entry, now), entry.deadline, entry.number

        batch, left = [], list(waiting)
        while left and len(batch) < self.policy["max_items"]:
            head = min(left, key=order)
            key = batch[0].key if batch else head.key
            entry = min((e for e in left if e.key == key), key=order, default=None)
            if entry is None or (batch and sum(e.cost for e in [*batch, entry]) > self.policy["max_cost"]):
                break
            account = place[entry.number]
            if account == place[head.number]:
                self.virtual_time[account[0]] = self.starts[account]
            self.starts[account] += entry.cost / entry.weight
            batch.append(entry)
            left.remove(entry)
        return batch


@pytest.mark.parametrize("seed", range(20))
def test_every_batch_of_many_tenants_is_the_one_that_the_rules_give(seed):
    dice = random.Random(seed)
    policy = {"max_cost": 20, "max_items": 5, "aging_s": 8}
    queue, rules, waiting = make_queue(**policy)[0], FairOrder(policy), {}
    for now in range(0, 100, dice.choice([1, 2, 4])):
        for _ in range(dice.randrange(8)):
            tenant = dice.randrange(4)
            entry = add(
                queue,
                "x",
                cost=dice.randrange(1, 25),
                key=dice.randrange(2),
                lane=dice.randrange(3),
                deadline=dice.choice([None, 10_000 + dice.randrange(40)]),
                tenant=str(tenant),
                weight=1 + tenant,
                now=now,
            )
            waiting[entry.number] = entry
        if waiting and dice.random() < 0.3:
            queue.remove(waiting.pop(dice.choice(sorted(waiting))).number)
        expected = rules.batch(list(waiting.values()), now)
        batch, _ = queue.take(now)
        assert [entry.number for entry in batch] == [entry.number for entry in expected]
        for entry in batch:
            del waiting[entry.number]
        if not waiting:
            rules = FairOrder(policy)
    assert len(queue) == len(waiting)
