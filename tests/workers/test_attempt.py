"""What a job's code sees of the world: stopping, waiting, telling."""

import threading

import pytest

from triptych.core.errors import AcceleratorMemoryExhausted, CallTimeout, ExecutionTimeout, JobCancelled, WorkerLost
from triptych.v1.job_pb2 import JobSpec, ProgressUnit
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import BatchPolicy
from triptych.workers.gate import Gate
from triptych.workers.station import Station
from triptych.workers.stoppable import HandedBack
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


def test_a_unit_is_in_hand_until_it_is_kept_or_let_go():
    backstage = MemoryBackstage()
    attempt = new_attempt(backstage)
    attempt.hand.begin("page:1")
    attempt.hand.begin("page:2")
    assert backstage.begun == ["page:1", "page:2"]
    attempt.hand.save_part("page:1", b"x")
    attempt.hand.settle("page:2")
    with pytest.raises(ZeroDivisionError), attempt.hand.unit("page:3"):
        raise ZeroDivisionError
    assert backstage.begun == []


def test_a_unit_that_two_threads_have_in_hand_is_in_hand_until_both_let_go():
    backstage, gate = MemoryBackstage(), Gate()
    attempt = new_attempt(backstage, gate=gate)
    both, one_is_done = threading.Barrier(2, timeout=5), threading.Event()

    def first():
        with attempt.hand.unit("pages:d1"):
            both.wait()
        one_is_done.set()

    thread = threading.Thread(target=first)
    thread.start()
    with attempt.hand.unit("pages:d1"):
        both.wait()
        assert one_is_done.wait(5)
        # A worker that died now would be told of the unit.
        assert backstage.begun == ["pages:d1"]
    thread.join()
    assert backstage.begun == []
    # Nobody is left inside: a suspect of any job can run.
    gate.enter(alone=True, check=lambda: pytest.fail("has to wait"))


def test_a_suspect_runs_alone_and_one_that_killed_too_often_is_set_aside():
    backstage, gate = MemoryBackstage(), Gate()
    backstage.deaths = {"page:1": 1, "page:2": 3}
    attempt = new_attempt(backstage, number=2, gate=gate, max_deaths=3)
    assert attempt.hand.suspect("page:1")
    assert not attempt.hand.suspect("page:3")
    with pytest.raises(WorkerLost, match="page:2"):
        attempt.hand.begin("page:2")
    assert backstage.set_aside == ["page:2"]
    neighbour = new_attempt(gate=gate)
    neighbour.hand.begin("page:9")
    inside = threading.Event()
    alone = threading.Thread(target=lambda: (attempt.hand.begin("page:1"), inside.set()))
    alone.start()
    assert not inside.wait(0.2)
    neighbour.hand.settle("page:9")
    assert inside.wait(5)
    attempt.close()
    neighbour.hand.begin("page:10")


def test_a_unit_that_the_engine_is_done_with_holds_up_nobody(station):
    gate = Gate()
    attempt = new_attempt(gate=gate)
    attempt.hand.begin("page:1")
    attempt.result(attempt.submit(station, "a", unit="page:1"))
    # Its thread has not kept it yet, and perhaps waits for others itself.
    gate.enter(alone=True, check=lambda: None)


def test_after_a_cancellation_it_is_told_when_nothing_runs_any_more(station, engine):
    told = []
    engine.gate.clear()
    attempt = new_attempt(on_free=told.append)
    future = attempt.submit(station, "running")
    assert engine.started.wait(5)
    attempt.stop(JobCancelled("enough"), since_s=10)
    attempt.close()
    assert not told
    engine.gate.set()
    future.result(5)
    while not told:  # the engine's thread tells it just after the future's end
        threading.Event().wait(0.001)
    assert 10 <= told[0] < 15


def test_work_that_cannot_be_done_in_time_by_what_was_measured_is_refused(station, engine):
    engine.gate.clear()
    attempt = new_attempt(execution_timeout_s=100)
    attempt.afford(station, 1_000_000, "pages")
    slow = attempt.submit(station, "slow")
    assert engine.started.wait(5)
    threading.Event().wait(0.2)
    engine.gate.set()
    attempt.result(slow)
    while not station.least_s(1):  # the engine's thread notes it just after the future's end
        threading.Event().wait(0.001)
    attempt.afford(station, 10, "pages")
    with pytest.raises(ExecutionTimeout, match="1000000 pages"):
        attempt.afford(station, 1_000_000, "pages")
    attempt.extend_call(0.5)
    with pytest.raises(CallTimeout):
        attempt.afford(station, 10, "pages")
    attempt.extend_call(None)
    attempt.afford(station, 10, "pages")


def test_work_that_was_left_out_for_a_call_that_ended_stays_left_out():
    attempt = new_attempt()
    attempt.extend_call(0.01)
    while not attempt.stopped():
        threading.Event().wait(0.001)
    with pytest.raises(CallTimeout):
        attempt.check()
    attempt.extend_call(0.1)  # the same call, measured a little more exactly
    assert attempt.stopped()
    with pytest.raises(CallTimeout):
        attempt.check()


def test_a_call_that_joins_as_the_first_one_ends_gets_the_whole_result_from_a_new_attempt():
    attempt = new_attempt()
    attempt.extend_call(0.01)
    while not attempt.stopped():
        threading.Event().wait(0.001)
    attempt.extend_call(30)
    assert attempt.stopped()
    with pytest.raises(HandedBack):
        attempt.check()
    attempt.stop(JobCancelled("enough"))
    with pytest.raises(JobCancelled):
        attempt.check()


def test_time_for_the_whole_attempt_is_not_given_again():
    attempt = new_attempt(execution_timeout_s=0.01)
    while not attempt.stopped():
        threading.Event().wait(0.001)
    attempt.extend_call(30)
    with pytest.raises(ExecutionTimeout):
        attempt.check()
