"""The batcher, with engines that wait for a gate, fail, or run out of memory."""

import gc
import logging
import random
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import wait
from types import SimpleNamespace

import pytest

from triptych.workers.batcher import Batcher, BatchPolicy

PATIENCE_S = 60
"""Nobody waits this long unless the batcher hangs."""


class Gated:
    """An engine that echoes its items, once the gate is open."""

    def __init__(self):
        self.batches = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        return items


class Clock:
    """Time that moves when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("batcher", "batch_run"):
        monkeypatch.setattr(f"triptych.workers.{module}.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def start():
    """Gives a function that starts a batcher; the test's end stops it."""
    batchers = []

    def start(run_batch, *, on_batch=None, **policy):
        batcher = Batcher(run_batch, BatchPolicy(**{"max_cost": 1000, **policy}), name="test engine", on_batch=on_batch)
        batcher.start()
        batchers.append((batcher, run_batch))
        return batcher

    yield start
    for batcher, run_batch in batchers:
        if isinstance(run_batch, Gated):
            run_batch.gate.set()
        batcher.stop()


@pytest.fixture
def busy(start):
    """Gives a function that starts a batcher whose engine is busy with "plug" until the gate opens."""

    def busy(**policy):
        engine = Gated()
        batcher = start(engine, **policy)
        batcher.submit("plug", key="plug")
        assert engine.entered.wait(PATIENCE_S)
        return engine, batcher

    return busy


def values(futures):
    return [future.result(PATIENCE_S).value for future in futures]


def error_of(future):
    return future.exception(PATIENCE_S)


# How batches are formed.


def test_an_idle_engine_does_not_wait_for_company(start):
    engine = Gated()
    engine.gate.set()
    batcher = start(engine)
    assert batcher.submit("a").result(PATIENCE_S).batch_size == 1
    assert batcher.submit("b").result(PATIENCE_S).batch_size == 1
    assert engine.batches == [["a"], ["b"]]


def test_a_batch_grows_while_the_engine_is_busy(busy):
    engine, batcher = busy()
    futures = [batcher.submit(item) for item in "abc"]
    engine.gate.set()
    assert values(futures) == ["a", "b", "c"]
    assert [future.result().batch_size for future in futures] == [3, 3, 3]
    assert engine.batches == [["plug"], ["a", "b", "c"]]


def test_a_batch_is_bounded_by_number_and_by_cost(busy):
    engine, batcher = busy(max_items=3, max_cost=10)
    futures = [batcher.submit(item, cost=cost) for item, cost in [("a", 1), ("b", 1), ("c", 1), ("d", 6), ("e", 5)]]
    engine.gate.set()
    values(futures)
    assert engine.batches[1:] == [["a", "b", "c"], ["d"], ["e"]]


def test_an_item_over_the_bound_of_cost_runs_alone(busy):
    engine, batcher = busy(max_cost=10)
    futures = [batcher.submit("huge", cost=99, lane=0), batcher.submit("a"), batcher.submit("b")]
    engine.gate.set()
    values(futures)
    assert engine.batches[1:] == [["huge"], ["a", "b"]]


def test_only_items_of_equal_keys_share_a_batch(busy):
    engine, batcher = busy()
    futures = [batcher.submit(f"{key}{number}", key=key) for number in range(2) for key in ("wide", "tall")]
    engine.gate.set()
    values(futures)
    assert engine.batches[1:] == [["wide0", "wide1"], ["tall0", "tall1"]]


def test_lane_then_deadline_then_arrival_decide_who_goes_first(busy):
    engine, batcher = busy(max_items=1)
    later = time.monotonic() + 3600
    futures = [
        batcher.submit("6", lane=2, deadline=later),
        batcher.submit("4"),
        batcher.submit("5"),
        batcher.submit("3", deadline=later + 1),
        batcher.submit("2", deadline=later),
        batcher.submit("1", lane=0),
    ]
    engine.gate.set()
    values(futures)
    assert engine.batches[1:] == [["1"], ["2"], ["3"], ["4"], ["5"], ["6"]]


@pytest.mark.parametrize(("waited_s", "first"), [(59, "new"), (61, "old")])
def test_a_waiting_item_ages_upward(clock, busy, waited_s, first):
    engine, batcher = busy(max_items=1, aging_s=30)
    futures = [batcher.submit("old", lane=2)]
    clock.now += waited_s
    futures.append(batcher.submit("new", lane=0))
    engine.gate.set()
    values(futures)
    assert engine.batches[1] == [first]


def test_ten_thousand_items_of_a_tenant_do_not_keep_anothers_out_of_the_next_batch():
    batches, lone = [], {}

    def run_batch(items):
        batches.append(items)
        return items

    def come(report):  # on the batcher's thread: it takes nothing before the item is queued
        if len(batches) in range(100, 1000, 100):
            lone[len(batches)] = batcher.submit("lone", tenant="lone", key=len(lone) % 2)

    batcher = Batcher(run_batch, BatchPolicy(max_cost=10, max_items=10), on_batch=come)
    crowd = [batcher.submit(number, tenant="crowd", key=0) for number in range(10_000)]
    batcher.start()
    values(crowd)
    batcher.stop()
    assert values(lone.values()) == ["lone"] * 9
    assert all("lone" in batches[batches_before] for batches_before in lone)


def test_tenants_share_a_batch_by_weight(busy):
    engine, batcher = busy(max_items=8)
    futures = [batcher.submit("light", tenant="light") for _ in range(12)]
    futures += [batcher.submit("heavy", tenant="heavy", weight=3) for _ in range(12)]
    engine.gate.set()
    values(futures)
    assert [Counter(batch) for batch in engine.batches[1:3]] == [{"light": 2, "heavy": 6}] * 2


def test_a_lone_item_may_be_told_to_wait_for_company_until_the_batch_is_full(start):
    batcher = start(lambda items: items, max_items=2, max_wait_ms=3_600_000)
    futures = [batcher.submit("a"), batcher.submit("b")]
    assert values(futures) == ["a", "b"]
    assert futures[0].result().batch_size == 2


def test_a_lone_item_runs_when_no_company_came(start):
    batcher = start(lambda items: items, max_wait_ms=1)
    assert batcher.submit("a").result(PATIENCE_S).batch_size == 1


def test_stop_does_not_wait_for_company(start):
    batcher = start(lambda items: items, max_wait_ms=3_600_000)
    future = batcher.submit("a")
    batcher.stop()
    assert future.result(0).value == "a"


def test_items_submitted_before_the_start_run_after_it():
    batcher = Batcher(lambda items: items, BatchPolicy(max_cost=9))
    futures = [batcher.submit(item) for item in "ab"]
    batcher.start()
    assert values(futures) == ["a", "b"]
    assert futures[0].result().batch_size == 2
    batcher.stop()


# What is dropped before it costs anything.


def test_an_item_whose_deadline_has_passed_is_cancelled_and_never_runs(busy):
    engine, batcher = busy()
    late = batcher.submit("late", deadline=time.monotonic() - 1)
    fine = batcher.submit("fine", deadline=time.monotonic() + 3600)
    engine.gate.set()
    assert wait([late, fine], timeout=PATIENCE_S).not_done == set()
    assert late.cancelled()
    assert engine.batches[1:] == [["fine"]]


def test_an_item_that_cannot_meet_its_deadline_is_cancelled_and_never_runs(clock, start):
    ran = []

    def two_seconds_an_item(items):
        clock.now += 2 * len(items)
        ran.extend(items)
        return items

    batcher = start(two_seconds_an_item)
    assert batcher.submit("teaches", deadline=clock.now + 1).result(PATIENCE_S).ran_ms == pytest.approx(2000)
    hopeless = batcher.submit("hopeless", deadline=clock.now + 1)
    assert wait([hopeless], timeout=PATIENCE_S).done == {hopeless}
    assert hopeless.cancelled()
    assert batcher.submit("feasible", deadline=clock.now + 3).result(PATIENCE_S).value == "feasible"
    assert ran == ["teaches", "feasible"]


def test_a_cancelled_item_leaves_the_queue_and_wakes_those_who_wait_for_it(busy):
    engine, batcher = busy()
    unwanted, wanted = batcher.submit("unwanted"), batcher.submit("wanted")
    assert unwanted.cancel()
    assert wait([unwanted], timeout=PATIENCE_S).done == {unwanted}
    engine.gate.set()
    values([wanted])
    assert engine.batches[1:] == [["wanted"]]


def test_a_running_item_cannot_be_cancelled(start):
    engine = Gated()
    future = start(engine).submit("a")
    assert engine.entered.wait(PATIENCE_S)
    assert not future.cancel()
    engine.gate.set()
    assert values([future]) == ["a"]


def test_a_cancelled_item_is_not_kept_alive(busy):
    _, batcher = busy()
    image = Gated()  # anything a weak reference can point to
    kept = weakref.ref(image)
    future = batcher.submit(image)
    del image
    future.cancel()
    assert kept() is None


# Out of memory.


class Device:
    """An engine with room for so many items at a time; an item named "monster" never fits."""

    def __init__(self, room):
        self.room = room
        self.sizes = []

    def __call__(self, items):
        self.sizes.append(len(items))
        if len(items) > self.room or "monster" in items:
            raise MemoryError("device")
        return [item.upper() for item in items]


def submit_at_once(run_batch, items, start, **policy):
    """Lets the first batch be all the items: they queue up while the engine is busy with a plug."""
    plugged, gate = threading.Event(), threading.Event()

    def plug_first(batch):
        if batch == ["plug"]:
            plugged.set()
            assert gate.wait(PATIENCE_S)
            return batch
        return run_batch(batch)

    batcher = start(plug_first, **policy)
    batcher.submit("plug", key="plug")
    assert plugged.wait(PATIENCE_S)
    futures = [batcher.submit(item) for item in items]
    gate.set()
    return batcher, futures


def test_a_batch_too_large_for_memory_is_split_and_the_ceiling_remembered(start):
    device, reports = Device(room=2), []
    batcher, futures = submit_at_once(device, "abcdefgh", start, on_batch=reports.append)
    assert values(futures) == list("ABCDEFGH")
    assert [future.result().batch_size for future in futures] == [2] * 8
    assert device.sizes == [8, 4, 2, 2, 4, 2, 2]
    batcher.stop()
    _, report = reports
    assert (report.name, report.size, report.cost, report.errors) == ("test engine", 8, 8, 0)
    assert report.split
    assert report.out_of_memory
    assert report.safe_cost == 2


def test_after_an_out_of_memory_batches_of_that_key_stay_under_the_ceiling(start):
    device, second_round = Device(room=2), []

    def submit_more(report):
        if report.out_of_memory:  # on the batcher's thread: it takes nothing before all of them are queued
            device.sizes.clear()
            second_round.extend(batcher.submit(item) for item in "abcde")

    batcher, futures = submit_at_once(device, "abcd", start, on_batch=submit_more)
    values(futures)
    values([batcher.submit("plug", key="plug")])  # by now the second round is queued or done
    assert values(second_round) == list("ABCDE")
    assert device.sizes == [2, 2, 1]


def test_an_item_that_does_not_fit_even_alone_gets_the_memory_error(start):
    device, reports = Device(room=8), []
    batcher, futures = submit_at_once(device, ["a", "b", "monster", "d"], start, on_batch=reports.append)
    assert isinstance(error_of(futures[2]), MemoryError)
    assert values(futures[:2] + futures[3:]) == ["A", "B", "D"]
    batcher.stop()
    assert reports[1].out_of_memory
    assert reports[1].errors == 1
    assert reports[1].safe_cost is None, "one monster must not make everybody's batches small"


def test_what_a_failed_call_held_is_freed_before_its_halves_run(start):
    held = []

    def open_driver(tensor):
        raise OSError("no room")

    def hungry(items):
        assert all(tensor() is None for tensor in held)
        tensor = Gated()
        held.append(weakref.ref(tensor))
        if len(items) > 1:
            try:
                open_driver(tensor)
            except OSError as error:
                raise MemoryError from error
        return items

    _, futures = submit_at_once(hungry, "abcd", start)
    gc.disable()
    try:
        assert values(futures) == list("abcd")
    finally:
        gc.enable()


# Failures.


def test_a_bad_item_fails_alone_as_a_value(start):
    def picky(items):
        return [ValueError(item) if item == "bad" else item for item in items]

    _, (good, bad) = submit_at_once(picky, ["good", "bad"], start)
    assert values([good]) == ["good"]
    assert isinstance(error_of(bad), ValueError)


def test_an_exception_of_the_whole_batch_is_split_down_to_the_guilty_item(start):
    reports = []

    def fragile(items):
        if "bad" in items:
            raise ValueError("somebody is bad")
        return items

    batcher, futures = submit_at_once(fragile, ["a", "b", "c", "bad", "e"], start, on_batch=reports.append)
    assert isinstance(error_of(futures[3]), ValueError)
    assert values(futures[:3] + futures[4:]) == ["a", "b", "c", "e"]
    batcher.stop()
    assert reports[1].split
    assert not reports[1].out_of_memory
    assert reports[1].errors == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_not_even_an_exit_raised_by_the_engine_ends_the_thread(start, kind):
    def leaves(items):
        if "bad" in items:
            raise kind("bye")
        return items

    batcher, (bad, good) = submit_at_once(leaves, ["bad", "good"], start)
    assert kind.__name__ in str(error_of(bad))
    assert isinstance(error_of(bad), RuntimeError), "the exit must not end the thread that asks for the result"
    assert values([good, batcher.submit("after")]) == ["good", "after"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_results_fails_all_of_the_batch_without_another_try(start, count):
    calls = []

    def miscounts(items):
        calls.append(items)
        return ["?"] * count

    _, futures = submit_at_once(miscounts, ["a", "b"], start)
    for future in futures:
        assert isinstance(error_of(future), RuntimeError)
        assert str(error_of(future)) == f"test engine gave {count} results for 2 items"
    assert len(calls) == 1


def test_a_result_that_is_no_list_at_all_is_an_error(start):
    assert isinstance(error_of(start(lambda items: None).submit("a")), TypeError)


def test_a_result_that_cannot_even_be_looked_at_leaves_no_future_open(start, caplog):
    class Cursed:
        @property
        def __class__(self):
            raise SystemExit

    _, (bad, good) = submit_at_once(lambda items: [Cursed(), "fine"], ["a", "b"], start)
    assert values([good]) == ["fine"]
    assert isinstance(error_of(bad), RuntimeError)


def test_a_kept_error_does_not_keep_the_items_of_its_batch(start):
    def fails(items):
        raise ValueError

    batcher = start(fails)
    image = Gated()
    kept = weakref.ref(image)
    future = batcher.submit(image)
    del image
    assert isinstance(error_of(future), ValueError)
    gc.disable()
    try:
        batcher.stop()
        assert kept() is None
    finally:
        gc.enable()


def test_the_thread_survives_a_failing_on_batch_and_logs_it(start, caplog):
    def on_batch(report):
        raise SystemExit("metrics are down")

    batcher = start(lambda items: items, on_batch=on_batch)
    assert values([batcher.submit("a")]) == ["a"]
    assert values([batcher.submit("b")]) == ["b"]
    batcher.stop()
    assert [str(record.exc_info[1]) for record in caplog.records] == ["metrics are down"] * 2
    assert all(record.levelno == logging.ERROR for record in caplog.records)


def test_a_failing_callback_of_one_future_does_not_touch_the_others(busy):
    engine, batcher = busy()

    def leave(future):
        raise SystemExit

    futures = [batcher.submit("a"), batcher.submit("b"), batcher.submit("late", deadline=time.monotonic() - 1)]
    for future in futures:
        future.add_done_callback(leave)
    futures.append(batcher.submit("c"))
    engine.gate.set()
    assert wait(futures, timeout=PATIENCE_S).not_done == set()
    assert values([futures[0], futures[1], futures[3]]) == ["a", "b", "c"]
    assert futures[2].cancelled()


def test_a_future_that_somebody_else_has_ended_does_not_stop_the_others(busy):
    engine, batcher = busy()
    hijacked, fine = batcher.submit("a", key="its own", lane=0), batcher.submit("b")
    hijacked.set_result("mine")
    engine.gate.set()
    batcher.stop()
    assert values([fine]) == ["b"]
    assert hijacked.result() == "mine"


# What is told.


def test_every_result_says_how_long_it_queued_and_ran(clock, busy):
    engine, batcher = busy()
    first = batcher.submit("a")
    clock.now += 2
    second = batcher.submit("b")
    clock.now += 1
    engine.gate.set()
    done = [future.result(PATIENCE_S) for future in (first, second)]
    assert [(d.queued_ms, d.ran_ms, d.batch_size) for d in done] == [(3000, 0, 2), (1000, 0, 2)]


def test_queued_and_ran_add_up_to_the_whole_time_even_after_a_split(clock, start):
    def slow_and_fragile(items):
        clock.now += 1
        if len(items) > 1:
            raise ValueError
        return items

    _, futures = submit_at_once(slow_and_fragile, "ab", start)
    done = [future.result(PATIENCE_S) for future in futures]
    assert [(d.queued_ms, d.ran_ms, d.batch_size) for d in done] == [(1000, 1000, 1), (2000, 1000, 1)]


def test_every_batch_is_reported(clock, start):
    reports = []

    def one_second(items):
        clock.now += 1
        return [ValueError(), *items[1:]]

    batcher, futures = submit_at_once(one_second, "abc", start, on_batch=reports.append)
    wait(futures, timeout=PATIENCE_S)
    batcher.stop()
    report = reports[1]
    assert (report.name, report.size, report.cost, report.queued_ms, report.ran_ms) == ("test engine", 3, 3, 0, 1000)
    assert (report.split, report.out_of_memory, report.errors, report.safe_cost) == (False, False, 1, None)


# The end.


def test_stop_runs_what_is_queued(busy):
    engine, batcher = busy()
    futures = [batcher.submit(item) for item in "abc"]
    stopper = threading.Thread(target=batcher.stop)
    stopper.start()
    engine.gate.set()
    stopper.join(PATIENCE_S)
    assert [future.result(0).value for future in futures] == ["a", "b", "c"]


def test_nothing_is_taken_in_after_stop(start):
    batcher = start(lambda items: items)
    batcher.stop()
    batcher.stop()
    with pytest.raises(RuntimeError, match="'test engine' is stopped"):
        batcher.submit("a")
    with pytest.raises(RuntimeError, match="is stopped"):
        batcher.start()


def test_a_second_start_is_refused(start):
    with pytest.raises(RuntimeError):
        start(lambda items: items).start()


def test_stop_leaves_no_future_open_even_if_every_run_raises(busy):
    def broken(items):
        raise SystemExit

    batcher = Batcher(broken, BatchPolicy(max_cost=100))
    futures = [batcher.submit(number) for number in range(50)]
    batcher.start()
    batcher.stop()
    assert all(isinstance(future.exception(0), RuntimeError) for future in futures)


def test_a_batcher_that_never_started_cancels_its_items():
    batcher = Batcher(lambda items: items, BatchPolicy(max_cost=1))
    futures = [batcher.submit(item) for item in "abc"]
    batcher.stop()
    assert wait(futures, timeout=0).not_done == set()
    assert all(future.cancelled() for future in futures)


def test_stop_may_be_called_from_the_batchers_own_thread(start):
    stopped = threading.Event()

    def on_batch(report):
        batcher.stop()
        stopped.set()

    batcher = start(lambda items: items, on_batch=on_batch)
    batcher.submit("a")
    assert stopped.wait(PATIENCE_S)
    batcher.stop()


def test_an_item_with_an_unhashable_key_is_refused_and_harms_nobody(start):
    batcher = start(lambda items: items)
    with pytest.raises(TypeError):
        batcher.submit("a", key=[])
    assert values([batcher.submit("b")]) == ["b"]


# Everything at once.


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_engine_does_every_item_ends_with_what_is_its_own(start, seed):
    """Random failures of items and of whole batches, on random costs and keys."""
    dice = random.Random(seed)
    kinds = {number: dice.choice(["fine"] * 6 + ["value", "raise", "monster", "exit"]) for number in range(300)}
    keys = {number: dice.randrange(4) for number in kinds}
    costs = {number: dice.randrange(1, 9) for number in kinds}

    def moody(items):
        assert len({keys[item] for item in items}) == 1
        assert len(items) <= 16
        cost = sum(costs[item] for item in items)
        assert cost <= 40
        if cost > 20 or any(kinds[item] == "monster" for item in items):
            raise MemoryError
        if any(kinds[item] == "raise" for item in items):
            raise ValueError
        if any(kinds[item] == "exit" for item in items):
            raise SystemExit
        return [KeyError(item) if kinds[item] == "value" else item for item in items]

    expected = {"value": KeyError, "raise": ValueError, "monster": MemoryError, "exit": RuntimeError}
    batcher = start(moody, max_cost=40)
    futures = {
        number: batcher.submit(number, cost=costs[number], key=keys[number], lane=dice.randrange(3)) for number in kinds
    }
    for number, kind in kinds.items():
        if kind == "fine":
            assert futures[number].result(PATIENCE_S).value == number
        else:
            assert type(error_of(futures[number])) is expected[kind]


def test_under_many_threads_every_future_ends_exactly_once(start):
    """Submitting, cancelling, failing, late and out of memory, all at the same time, and stopped in between."""
    threads, each = 16, 150
    ends, ran = Counter(), Counter()
    futures, lock = {}, threading.Lock()
    weather = random.Random(0)
    refused = []

    def stormy(items):
        if len(items) > 1 and weather.random() < 0.2:
            raise weather.choice([MemoryError, ValueError, SystemExit])
        ran.update(items)
        return [ValueError(item) if weather.random() < 0.1 else item for item in items]

    def submitter(seed):
        dice = random.Random(seed)
        for index in range(each):
            item = (seed, index)
            deadline = dice.choice([None, None, time.monotonic() + 3600, time.monotonic() - 1])
            cost, key, lane = dice.randrange(1, 9), dice.randrange(3), dice.randrange(3)
            try:
                future = batcher.submit(item, cost=cost, key=key, lane=lane, deadline=deadline)
            except RuntimeError:
                refused.append(item)
                continue
            with lock:
                futures[item] = future
            future.add_done_callback(lambda future, item=item: count_end(item))
            if dice.random() < 0.3:
                future.cancel()
            elif dice.random() < 0.1:
                wait([future], timeout=PATIENCE_S)
            if item == (0, each - 20):
                stop_now.set()

    def count_end(item):
        with lock:
            ends[item] += 1

    stop_now = threading.Event()
    batcher = start(stormy, max_cost=60)
    crowd = [threading.Thread(target=submitter, args=(seed,)) for seed in range(threads)]
    for thread in crowd:
        thread.start()
    assert stop_now.wait(PATIENCE_S)
    batcher.stop()
    for thread in crowd:
        thread.join(PATIENCE_S)

    assert len(futures) + len(refused) == threads * each
    assert ends == Counter(futures.keys()), "each ends exactly once"
    assert max(ran.values()) == 1, "no item gave results twice"
    for item, future in futures.items():
        if future.cancelled():
            assert ran[item] == 0, "what is cancelled never ran"
            continue
        error = future.exception(0)
        assert ran[item] == 1
        if error is None:
            assert future.result(0).value == item
        else:
            assert (type(error), error.args) == (ValueError, (item,))


def test_ten_thousand_queued_items_are_all_served(busy):
    engine, batcher = busy(max_items=64)
    futures = [batcher.submit(number, key=number % 100, lane=number % 3) for number in range(10_000)]
    for future in futures[::10]:
        assert future.cancel()
    engine.gate.set()
    done = [future.result(PATIENCE_S).value for number, future in enumerate(futures) if number % 10]
    assert done == [number for number in range(10_000) if number % 10]
