"""From claim to outcome on a real Redis: every way an attempt can end."""

import threading

import pytest

from triptych.core import jobs, load, lookup
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker
from triptych.core.errors import (
    BackendUnavailable,
    CallTimeout,
    HostExhausted,
    MediaCorrupt,
    TriptychError,
    from_status,
)
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.testing import ThrowawayRedis
from triptych.v1.job_pb2 import JobResult, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult
from triptych.workers import leases
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases
from triptych.workers.stoppable import HandedBack, LeaseLost

RESULT = JobResult(ocr=OcrResult(source_page_count=3))


class Worker:
    def __init__(self, settings, **changes):
        self.settings = settings.model_copy(update=changes)
        self.store, self.broker, self.blobs = Store(settings.redis_url), Broker(settings), open_blobs(settings)
        self.execution = Execution(self.settings, self.store, self.blobs, self.broker, worker="w")
        self.leases = Leases(
            self.store, kind="ocr", worker="w", models=lambda: ["m"], lease_s=self.settings.lease_s,
            on_hung=self.execution.abandon,
        )  # fmt: skip

    def job(self, **changes):
        job = NewJob(
            id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000, **changes,
        )  # fmt: skip
        return self.store.run(jobs.create(job, max_pending=9))[1]

    def claim(self, **changes):
        """An attempt at a new job."""
        self.job(**changes)
        return self.execution.claim("ocr")

    def record(self, job_id):
        return self.store.run(lookup.get(job_id, "t"))

    def error(self, job_id):
        return from_status(self.record(job_id).to_job().error)


@pytest.fixture
def worker(settings):
    worker = Worker(settings)
    worker.leases.start()
    yield worker
    worker.leases.stop()
    worker.broker.close()
    worker.store.close()


def test_a_result_ends_the_job(worker):
    attempt = worker.claim()
    worker.execution.succeed(attempt, RESULT)
    assert worker.record(attempt.job_id).to_job().result == RESULT


def test_a_large_result_goes_to_a_blob(worker):
    worker.settings = worker.settings.model_copy(update={"max_inline_result_bytes": 1024})
    worker.execution = Execution(worker.settings, worker.store, worker.blobs, worker.broker, worker="w")
    attempt = worker.claim()
    large = JobResult(ocr=OcrResult(pages=[OcrPage(text="x" * 5000)]))
    worker.execution.succeed(attempt, large)
    job = worker.record(attempt.job_id).to_job()
    assert JobResult.FromString(worker.blobs.read("t", job.result_blob)) == large


def test_an_error_ends_the_job_with_its_reason(worker):
    attempt = worker.claim()
    worker.execution.fail(attempt, MediaCorrupt("no image"))
    assert worker.record(attempt.job_id).state == JobState.JOB_STATE_FAILED
    assert isinstance(worker.error(attempt.job_id), MediaCorrupt)


def test_a_bug_is_internal_and_keeps_its_text_to_the_log(worker, caplog):
    attempt = worker.claim()
    worker.execution.fail(attempt, ZeroDivisionError("secret"))
    error = worker.error(attempt.job_id)
    assert error.reason == "INTERNAL"
    assert "secret" not in error.message
    assert "secret" in caplog.text


def test_a_job_that_is_taken_or_gone_is_no_work(worker):
    job_id = worker.job()
    assert worker.execution.claim("ocr").job_id == job_id
    assert worker.execution.claim("ocr") == "none"


def test_a_cancellation_reaches_the_attempt(worker):
    attempt, stopped = worker.claim(), threading.Event()
    attempt.call_on_stop(stopped.set)
    with worker.leases.held(attempt):
        worker.store.run(jobs.cancel(attempt.job_id, "t"))
        assert stopped.wait(5)
    worker.execution.fail(attempt, attempt.stopped_by())
    assert worker.record(attempt.job_id).state == JobState.JOB_STATE_CANCELLED


def test_a_held_lease_does_not_run_out(settings):
    worker = Worker(settings, lease_s=0.6)
    attempt, renewed = worker.claim(), threading.Event()
    run_all = worker.store.run_all
    beats = []

    def counted(ops):
        answers = run_all(ops)
        beats.extend(answers)
        if len(beats) > 5:
            renewed.set()
        return answers

    worker.store.run_all = counted
    worker.leases.start()
    with worker.leases.held(attempt):
        assert renewed.wait(20)
        assert worker.store.run(jobs.sweep(("ocr",), "s", term_s=3, lease_s=0)).back == []
    assert {renewal.standing for renewal in beats} == {"ok"}
    worker.leases.stop()
    worker.broker.close()


def test_an_attempt_whose_lease_went_to_another_is_stopped_and_silent(worker):
    job_id = worker.job()
    attempt, stopped = worker.execution.claim("ocr"), threading.Event()
    attempt.call_on_stop(stopped.set)
    worker.store.run(jobs.release(job_id, 1))
    second = worker.execution.claim("ocr")
    with worker.leases.held(attempt):
        assert stopped.wait(5)
    assert isinstance(attempt.stopped_by(), LeaseLost)
    worker.execution.fail(attempt, attempt.stopped_by())
    worker.execution.succeed(attempt, RESULT)
    assert worker.record(job_id).state == JobState.JOB_STATE_RUNNING
    worker.execution.succeed(second, RESULT)
    assert worker.record(job_id).attempt == 2


def test_a_drain_hands_the_job_back_and_sends_its_message_again(worker):
    attempt, stopped = worker.claim(), threading.Event()
    attempt.call_on_stop(stopped.set)
    with worker.leases.held(attempt):
        worker.leases.drain(after_s=0)
        assert stopped.wait(5)
    assert isinstance(attempt.stopped_by(), HandedBack)
    worker.execution.fail(attempt, attempt.stopped_by())
    assert worker.record(attempt.job_id).state == JobState.JOB_STATE_PENDING
    assert worker.broker.queue_lengths()["ocr"] == 1


def test_a_job_whose_thread_hangs_is_ended_without_it(worker, monkeypatch):
    monkeypatch.setattr(leases, "HUNG_S", 0.1)
    attempt = worker.claim()
    with worker.leases.held(attempt):
        worker.store.run(jobs.cancel(attempt.job_id, "t"))
        while worker.record(attempt.job_id).state != JobState.JOB_STATE_CANCELLED:
            threading.Event().wait(0.01)
    worker.execution.succeed(attempt, RESULT)
    assert worker.record(attempt.job_id).state == JobState.JOB_STATE_CANCELLED


def test_an_attempt_stops_when_its_caller_is_past_the_deadline(worker):
    attempt = worker.claim(call_timeout_ms=400)
    with worker.leases.held(attempt):
        while not isinstance(attempt._stopped_by, CallTimeout):
            threading.Event().wait(0.01)
    worker.execution.fail(attempt, attempt.stopped_by())
    assert worker.error(attempt.job_id).reason == "CALL_TIMEOUT"


def test_a_worker_is_seen_while_it_lives_and_not_after(worker, settings):
    announced = threading.Event()
    run = worker.store.run

    def spied(op):
        answer = run(op)
        announced.set()
        return answer

    worker.store.run = spied
    assert announced.wait(10)
    watcher = Store(settings.redis_url)
    assert [(w.worker, w.model) for w in watcher.run(load.live_workers("ocr"))] == [("w", "m")]
    worker.leases.stop()
    assert watcher.run(load.live_workers("ocr")) == []
    watcher.close()


def test_a_result_outlives_an_outage_of_redis(tmp_path):
    server = ThrowawayRedis().start()
    settings = Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path, lease_s=60)
    worker = Worker(settings)
    attempt = worker.claim()
    server.kill()
    reporting = threading.Thread(target=worker.execution.succeed, args=(attempt, RESULT))
    reporting.start()
    server.start()
    reporting.join(30)
    assert worker.record(attempt.job_id).state == JobState.JOB_STATE_SUCCEEDED
    worker.broker.close()
    worker.store.close()
    server.close()


class FullDisk:
    """A worker with a large result and no room for it; it knows how often it looked for some."""

    def __init__(self, settings, small_disk):
        blobs_on = {"blob_dir": small_disk.path / "blobs", "max_inline_result_bytes": 1024}
        self.worker = Worker(settings.model_copy(update=blobs_on))
        self.worker.leases.start()
        self.attempt = self.worker.claim()
        self.refused = threading.Event()
        self.large = JobResult(ocr=OcrResult(pages=[OcrPage(text="x" * 1024 * 1024)]))
        put = self.worker.blobs.put

        def watched(*args):
            try:
                return put(*args)
            except HostExhausted:
                self.refused.set()
                raise

        self.worker.blobs.put = watched
        small_disk.fill(leave_bytes=64 * 1024)
        self.ending = threading.Thread(target=self._end)
        self.ending.start()
        assert self.refused.wait(20)

    def _end(self):
        with self.worker.leases.held(self.attempt):
            try:
                self.worker.execution.succeed(self.attempt, self.large)
            except TriptychError as error:
                self.worker.execution.fail(self.attempt, error)

    def close(self):
        self.worker.execution.close()
        self.ending.join(20)
        self.worker.leases.stop()
        self.worker.broker.close()
        self.worker.store.close()


@pytest.fixture
def full_disk(settings, small_disk):
    full_disk = FullDisk(settings, small_disk)
    yield full_disk
    full_disk.close()


def test_a_large_result_waits_until_the_disk_has_room(full_disk, small_disk):
    worker, job_id = full_disk.worker, full_disk.attempt.job_id
    assert worker.record(job_id).state == JobState.JOB_STATE_RUNNING
    assert small_disk.halves() == []
    small_disk.clear()
    full_disk.ending.join(20)
    job = worker.record(job_id).to_job()
    assert (job.state, job.attempt) == (JobState.JOB_STATE_SUCCEEDED, 1)
    assert JobResult.FromString(worker.blobs.read("t", job.result_blob)) == full_disk.large


def test_a_job_that_waits_for_room_can_be_cancelled(full_disk):
    full_disk.worker.store.run(jobs.cancel(full_disk.attempt.job_id, "t"))
    full_disk.ending.join(20)
    assert full_disk.worker.record(full_disk.attempt.job_id).state == JobState.JOB_STATE_CANCELLED


def test_a_job_that_waits_for_room_can_be_handed_back(full_disk):
    full_disk.worker.leases.drain(after_s=0)
    full_disk.ending.join(20)
    assert full_disk.worker.record(full_disk.attempt.job_id).state == JobState.JOB_STATE_PENDING


def test_a_result_outlives_a_redis_without_memory(worker, redis_used):
    attempt = worker.claim()
    with worker.leases.held(attempt):
        redis_used(2)
        worker.execution.save_part(attempt.job_id, attempt.number, "page:1", b"lost, and only to be done again")
        reporting = threading.Thread(target=worker.execution.succeed, args=(attempt, RESULT))
        refused, run = threading.Event(), worker.store.run

        def watched(op):
            try:
                return run(op)
            except BackendUnavailable:
                if threading.current_thread() is reporting:
                    refused.set()
                raise

        worker.store.run = watched
        reporting.start()
        assert refused.wait(20)
        assert worker.record(attempt.job_id).state == JobState.JOB_STATE_RUNNING
        redis_used(0)
        reporting.join(20)
    assert worker.record(attempt.job_id).to_job().result == RESULT
