"""What a job's code sees of the world: stopping, waiting, telling."""

import threading

import pytest

from triptych.core.errors import AcceleratorMemoryExhausted, ExecutionTimeout, JobCancelled
from triptych.v1.job_pb2 import JobSpec, ProgressUnit
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import BatchPolicy
from triptych.workers.station import Station
from triptych.workers.testing import EchoEngine, MemoryBackstage


def new_attempt(backstage=None, **changes):
    facts = {
        "job_id": "j", "tenant": "t", "number": 1, "lane": 1, "spec": JobSpec(), "execution_timeout_s": 60, **changes,
    }  # fmt: skip
    return Attempt(backstage or MemoryBackstage(), **facts)


@pytest.fixture
def engine():
    return EchoEngine()


@pytest.fixture
def station(engine):
    station = Station(engine, BatchPolicy(max_cost=100))
    station.start()
    yield station
    engine.gate.set()
    station.stop()


def test_results_come_with_their_index_and_a_bad_item_is_a_value(station):
    attempt = new_attempt()
    futures = [attempt.submit(station, text) for text in ("a", "bad", "c")]
    outcomes = dict(attempt.results(futures))
    assert (outcomes[0].value, outcomes[2].value) == ("A", "C")
    assert isinstance(outcomes[1], ValueError)


def test_stopping_frees_the_waiter_while_the_batch_still_runs(station, engine):
    engine.gate.clear()
    attempt = new_attempt()
    running = attempt.submit(station, "running")
    assert engine.started.wait(5)
    queued = attempt.submit(station, "queued")
    threading.Timer(0.05, attempt.stop, [JobCancelled("enough")]).start()
    with pytest.raises(JobCancelled):
        list(attempt.results([running, queued]))
    engine.gate.set()
    station.stop()
    assert engine.batches == [["running"]]


def test_a_stopped_attempt_submits_nothing_more(station, engine):
    attempt = new_attempt()
    attempt.stop(JobCancelled("enough"))
    with pytest.raises(JobCancelled):
        attempt.submit(station, "late")
    assert engine.batches == []
    assert attempt.stopped()


def test_the_first_reason_to_stop_stays(station):
    attempt = new_attempt()
    attempt.stop(JobCancelled("first"))
    attempt.stop(ExecutionTimeout("second"))
    assert attempt.stopped_by().message == "first"


def test_an_attempt_over_its_time_stops_by_itself(station):
    attempt = new_attempt(execution_timeout_s=-1)
    assert attempt.stopped()
    with pytest.raises(ExecutionTimeout):
        attempt.check()


def test_a_callback_set_after_the_stop_is_called_at_once():
    attempt, called = new_attempt(), threading.Event()
    attempt.stop(JobCancelled("enough"))
    attempt.call_on_stop(called.set)
    assert called.is_set()


def test_an_item_that_does_not_fit_alone_says_so():
    class Tiny(EchoEngine):
        def run_batch(self, items):
            raise MemoryError

    station = Station(Tiny(), BatchPolicy(max_cost=100))
    station.start()
    attempt = new_attempt()
    with pytest.raises(AcceleratorMemoryExhausted):
        attempt.result(attempt.submit(station, "big"))
    station.stop()


def test_progress_counts_and_gives_percent():
    backstage = MemoryBackstage()
    new_attempt(backstage).progress("ocr", 1, 3, ProgressUnit.PROGRESS_UNIT_PAGE)
    told = backstage.events[0].progress
    assert (told.percent, told.completed_unit_count, told.total_unit_count) == (33, 1, 3)


def test_parts_are_asked_for_only_after_a_lost_attempt():
    backstage = MemoryBackstage(parts={"page:1": b"x"})
    assert new_attempt(backstage).parts() == {}
    assert new_attempt(backstage, number=2).parts() == {"page:1": b"x"}
