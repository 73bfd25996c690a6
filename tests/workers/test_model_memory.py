"""Two models on one device: their batches fit the budget together, whatever comes."""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from triptych.core.errors import JobCancelled
from triptych.workers.batcher import BatchPolicy
from triptych.workers.memory_budget import MemoryBudget
from triptych.workers.model_memory import ModelMemory
from triptych.workers.station import Station
from triptych.workers.testing import EchoEngine, StatedMeter

PATIENCE_S = 60
A_CHARACTER = 10
"""Bytes that a batch takes for each character in it."""


class Device:
    """Counts what runs on it at once."""

    def __init__(self):
        self._lock = threading.Lock()
        self.now = self.most = 0

    def take(self, size_bytes):
        with self._lock:
            self.now += size_bytes
            self.most = max(self.most, self.now)


class HungryEngine(EchoEngine):
    """Takes memory for every character while it runs."""

    def __init__(self, device, meter):
        super().__init__()
        self._device = device
        self._meter = meter

    def run_batch(self, items):
        size_bytes = A_CHARACTER * sum(map(len, items))
        self._device.take(size_bytes)
        self._meter.peak_bytes = size_bytes
        try:
            return super().run_batch(items)
        finally:
            self._device.take(-size_bytes)


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def serve(device):
    """Gives a function that starts a station with a budget."""
    stations = []

    def serve(budget, name="model", *, meter=None, **options):
        meter = meter or StatedMeter()
        engine = HungryEngine(device, meter)
        memory = ModelMemory(name, budget, meter, weigh=lambda: 0, **options)
        station = Station(engine, BatchPolicy(max_cost=1000, max_items=64), memory=memory)
        station.start()
        stations.append(station)
        return station

    yield serve
    for station in stations:
        station.engine.gate.set()
        station.stop()


def submit(station, *items):
    return [station.submit(item, lane=1, deadline=None) for item in items]


def values(futures):
    return [future.result(PATIENCE_S).value for future in futures]


def busy(station):
    """Has the engine run a batch of one character until its gate opens."""
    station.engine.started.clear()
    station.engine.gate.clear()
    plug = submit(station, "p")
    assert station.engine.started.wait(PATIENCE_S)
    return plug


def batches_after(station, futures):
    station.engine.batches.clear()
    station.engine.gate.set()
    values(futures)
    return [len(batch) for batch in station.engine.batches]


def sample(name, model):
    return REGISTRY.get_sample_value(name, {"model": model})


def test_a_model_is_tried_with_one_item_then_with_ever_larger_batches(serve):
    station = serve(MemoryBudget(1_000_000))
    station.engine.gate.clear()
    futures = submit(station, *"abcdefghijklmnopqrstuvwxyz")
    station.engine.gate.set()
    values(futures)
    assert [len(batch) for batch in station.engine.batches] == [1, 4, 16, 5]


def test_batches_are_as_large_as_the_budget_leaves_beside_the_models(serve):
    budget = MemoryBudget(1_000)
    station = serve(budget)
    values(submit(station, "abcd"))
    plug = busy(station)
    # A character takes 10 bytes, 12.5 with the margin.
    futures = submit(station, *"abcdefghijklmnopqrst")
    budget.hold("model", 900)
    assert batches_after(station, plug + futures) == [8, 8, 4]


def test_two_engines_at_once_stay_within_the_budget_and_both_get_on(serve, device):
    budget = MemoryBudget(250)
    stations = [serve(budget, name) for name in ("one", "two")]
    for station in stations:
        values(submit(station, "abcd"))
    device.most = 0
    words = ["x" * (1 + n % 16) for n in range(200)]
    futures = [submit(station, *words) for station in stations]
    assert [values(those) for those in futures] == [[word.upper() for word in words]] * 2
    assert 160 < device.most <= 250


def test_a_batch_waits_while_it_does_not_fit_beside_another(serve):
    budget = MemoryBudget(100)
    one, two = serve(budget, "one"), serve(budget, "two")
    values(submit(one, "abcd") + submit(two, "abcd"))
    one.engine.gate.clear()
    one.engine.started.clear()
    first = submit(one, "abcdef")
    assert one.engine.started.wait(PATIENCE_S)
    two.engine.started.clear()
    second = submit(two, "abcdef")
    assert not two.engine.started.wait(0.3), "75 bytes each are expected"
    one.engine.gate.set()
    assert values(first + second) == ["ABCDEF"] * 2


def test_an_item_larger_than_the_budget_runs_alone_and_is_counted(serve):
    station = serve(MemoryBudget(100), "large")
    values(submit(station, "abcd"))
    assert sample("triptych_over_budget_total", "large") == 0
    assert values(submit(station, "x" * 50)) == ["X" * 50]
    assert sample("triptych_over_budget_total", "large") == 1


def test_idle_models_leave_when_a_single_item_needs_their_room(serve):
    budget = MemoryBudget(200)
    budget.hold("idle", 150)
    asked = []

    def spare(missing_bytes):
        asked.append(missing_bytes)
        budget.drop("idle")
        return True

    station = serve(budget, spare=spare)
    values(submit(station, "abcd"))
    values(submit(station, "abcdefgh"))
    assert asked == [50]


@dataclass(frozen=True, kw_only=True)
class Word:
    text: str
    stopped: Callable[[], bool]

    def __len__(self):
        return len(self.text)


def test_a_stopped_item_does_not_wait_for_memory(serve):
    budget = MemoryBudget(100)
    station = serve(budget)
    stopped = threading.Event()
    with budget.lease(100):
        future = station.submit(Word(text="word", stopped=stopped.is_set), lane=1, deadline=None)
        assert not future.done()
        stopped.set()
        assert isinstance(future.exception(PATIENCE_S), JobCancelled)


def test_a_failed_batch_teaches_nothing_of_memory():
    meter, budget = StatedMeter(), MemoryBudget(1_000)
    memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
    meter.peak_bytes = 700
    with pytest.raises(MemoryError), memory.leased(["a"], None, 1):
        raise MemoryError
    assert memory.max_cost(None) == 0
    assert budget.leased_bytes() == 0


def test_a_batch_of_which_a_part_failed_teaches_nothing_of_memory(serve):
    station = serve(MemoryBudget(1_000_000))
    values(submit(station, "a"))
    plug = busy(station)
    bad, good = submit(station, "bad", "c")
    station.engine.gate.set()
    values([*plug, good])
    assert isinstance(bad.exception(PATIENCE_S), ValueError)
    assert station.engine.batches[-1] == ["bad", "c"]
    assert station._batcher._memory.max_cost(None) == 4, "only the single item has run"


def test_the_items_of_a_batch_that_others_join_are_not_kept():
    class Pixels:
        pass

    item = Pixels()
    there = weakref.ref(item)
    memory = ModelMemory("model", MemoryBudget(1_000), StatedMeter(), weigh=lambda: 0)
    with memory.leased([item], None, 1):
        del item
        assert there() is None


def test_what_a_process_of_its_own_keeps_of_earlier_batches_is_not_leased_twice():
    meter = StatedMeter(alone=True)
    budget = MemoryBudget(1_000)
    memory = ModelMemory("model", budget, meter, weigh=lambda: 300 + meter.kept)
    budget.hold("model", 300)
    with memory.leased(["a"], None, 1) as lease:
        assert budget.leased_bytes() == 700, "nothing is known: all there is"
        meter.peak_bytes = 400
        meter.kept = 350
        lease.learn(1)
    assert budget.room_bytes() == 1_000 - 650
    with memory.leased(["a"], None, 1):
        assert budget.leased_bytes() == 400 * 1.25 - 350


def test_what_ran_beside_another_is_not_measured_unless_its_process_is_its_own():
    for alone, known in ((False, None), (True, 500)):
        meter, budget = StatedMeter(alone=alone), MemoryBudget(1_000)
        memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
        with memory.leased(["a"], None, 1) as lease:
            budget.lease(0).release()
            meter.peak_bytes = 400
            lease.learn(1)
        assert memory._peaks.expected_bytes(None, 1) == known


def test_items_may_join_and_leave_a_batch_that_runs():
    meter, budget = StatedMeter(), MemoryBudget(1_000)
    memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
    meter.peak_bytes = 40
    with memory.leased(["a"], "key", 4) as lease:
        lease.learn(4)
    with memory.leased(["a"], "key", 4) as lease:
        assert budget.leased_bytes() == 50
        assert lease.admit(4)
        assert budget.leased_bytes() == 100
        assert not lease.admit(1000)
        meter.peak_bytes = 88
        lease.learn(8)
        assert sample("triptych_batch_leased_bytes", "model") == 100
        lease.settle(4)
        assert budget.leased_bytes() == 50
        assert sample("triptych_batch_leased_bytes", "model") == 50
    assert memory._peaks.expected_bytes("key", 8) == 110


def test_a_process_that_was_just_started_anew_counts_as_what_it_will_take():
    meter, budget, now = StatedMeter(alone=True), MemoryBudget(1_000), [300]
    memory = ModelMemory("model", budget, meter, weigh=lambda: now[0])
    for weighed, held in ((500, 500), (5, 300), (0, 300)):
        with memory.leased(["a"], None, 1):
            now[0] = weighed
        assert budget.room_bytes() == 1_000 - held


def test_where_nothing_can_be_measured_nothing_is_bounded():
    meter = StatedMeter()
    meter.begin = lambda: False
    budget = MemoryBudget(10)
    memory = ModelMemory("model", budget, meter, weigh=lambda: 0)
    assert memory.max_cost(None) == float("inf")
    budget.hold("other", 20)
    with memory.leased(["a"], None, 1000) as lease:
        assert budget.leased_bytes() == 0
        assert lease.admit(1000)
