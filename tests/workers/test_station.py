"""A station: what it hands to its batcher, and what it learns from its batches."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from triptych.core.errors import JobCancelled
from triptych.workers.batch_history import ESTIMATE_LIFE_S
from triptych.workers.batcher import BatchPolicy
from triptych.workers.pace import Pace
from triptych.workers.station import Station
from triptych.workers.testing import EchoEngine

PATIENCE_S = 60


class TimedEngine(EchoEngine):
    """Takes a second for each batch and one more for each item, on a clock of its own."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0

    def run_batch(self, items):
        self.now += 1 + len(items)
        return super().run_batch(items)


@pytest.fixture
def engine(monkeypatch):
    engine = TimedEngine()
    clock = SimpleNamespace(monotonic=lambda: engine.now)
    for module in ("batcher", "batch_run", "station"):
        monkeypatch.setattr(f"triptych.workers.{module}.time", clock)
    return engine


@pytest.fixture
def station(engine):
    station = Station(engine, BatchPolicy(max_cost=100, max_items=4))
    yield station
    station.stop()


def run(station, *items):
    """Runs them, in as few batches as they fit; the station has learnt of it."""
    for item in items:
        station.submit(item, lane=1, deadline=None)
    station.start()
    station.stop()


def test_tenants_share_the_engine_by_weight_in_its_unit_of_cost(station, engine):
    for _ in range(8):
        station.submit("long", lane=1, deadline=None, tenant="a")
        station.submit("l", lane=1, deadline=None, tenant="b", weight=0.5)
    station.start()
    station.stop()
    assert engine.batches[:2] == [["long", "l", "l", "long"], ["l", "l", "long", "l"]]


def test_nothing_is_known_of_an_engine_that_has_not_run(station):
    assert station.least_s(1000) == 0


def test_items_take_at_least_their_share_of_the_quickest_batch(station):
    run(station, "a", "b", "c", "d", "e")  # 4 of them in 5 s, then 1 in 2 s
    assert station.least_s(0) == 0
    assert station.least_s(8) == pytest.approx(10)


def test_a_batch_with_errors_teaches_nothing(station):
    run(station, "bad", "b")
    assert station.least_s(1) == 0


def test_whoever_wants_to_hear_of_batches_still_does(engine):
    reports = []
    station = Station(engine, BatchPolicy(max_cost=100), reports.append)
    run(station, "a", "b")
    assert [report.size for report in reports] == [2]


def test_what_was_measured_grows_old():
    pace = Pace()
    pace.learn(items=2, ran_s=2, now=0)
    pace.learn(items=2, ran_s=6, now=30)
    pace.learn(items=2, ran_s=8, now=40)
    assert pace.least_s(10, now=ESTIMATE_LIFE_S) == 10
    assert pace.least_s(10, now=ESTIMATE_LIFE_S + 1) == 30
    assert pace.least_s(10, now=ESTIMATE_LIFE_S + 31) == 40
    assert pace.least_s(10, now=ESTIMATE_LIFE_S + 41) == 0


def test_a_quicker_batch_counts_at_once():
    pace = Pace()
    pace.learn(items=1, ran_s=5, now=0)
    pace.learn(items=1, ran_s=2, now=1)
    assert pace.least_s(3, now=1) == 6


@dataclass(frozen=True, kw_only=True)
class Word:
    text: str
    stopped: Callable[[], bool] = lambda: False


class AskingEngine(EchoEngine):
    """Asks every word of a batch whether it is stopped, then again when the gate opens."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def cost(self, item):
        return 1

    def run_batch(self, items):
        self.asked.append([item.stopped() for item in items])
        self.started.set()
        self.gate.wait(PATIENCE_S)
        self.asked.append([item.stopped() for item in items])
        return [item.text.upper() for item in items]


@pytest.fixture
def asking():
    engine = AskingEngine()
    engine.gate.clear()
    station = Station(engine, BatchPolicy(max_cost=100))
    yield station
    engine.gate.set()
    station.stop()


def test_an_items_future_ends_when_its_engine_hears_that_it_is_stopped_and_the_batch_goes_on(asking):
    leaves = asking.submit(Word(text="leaves", stopped=lambda: True), lane=1, deadline=None)
    stays = asking.submit(Word(text="stays"), lane=1, deadline=None)
    asking.start()
    with pytest.raises(JobCancelled):
        leaves.result(PATIENCE_S)
    assert not stays.done()
    asking.engine.gate.set()
    assert stays.result(PATIENCE_S).value == "STAYS"
    asking.stop()
    assert asking.least_s(1) == 0, "a batch of which something was stopped teaches nothing about the others"


def test_what_was_heard_to_be_stopped_stays_stopped(asking):
    answers = iter([True])
    item = Word(text="leaves", stopped=lambda: next(answers, False))
    future = asking.submit(item, lane=1, deadline=None)
    asking.engine.gate.set()
    asking.start()
    asking.stop()
    assert isinstance(future.exception(), JobCancelled)
    assert asking.engine.asked == [[True], [True]]
