"""Reasoning jobs on a real Redis: what becomes of them and of their children when workers go and Redis is away."""

import threading

import pytest

from triptych.core import jobs, lookup
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import TASK, Broker, celery_app
from triptych.core.errors import InternalError, JobCancelled, MediaCorrupt, QueueFull
from triptych.core.jobs import NewJob
from triptych.core.records import TERMINAL, new_job_id
from triptych.core.settings import Settings
from triptych.core.store import PREFIX, Store
from triptych.core.testing import ThrowawayRedis
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobResult, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument
from triptych.workers.attempt import HandedBack, LeaseLost
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases
from triptych.workers.orchestra import Orchestra

S = JobState
# A page without words: the answer is "not found", and no model is asked.
BLANK = JobResult(ocr=OcrResult(source_page_count=1, pages=[OcrPage(page_number=1)]))


class Worker:
    """A real orchestrator; the test plays those who run its children."""

    def __init__(self, settings):
        self.store, self.broker, self.blobs = Store(settings.redis_url), Broker(settings), open_blobs(settings)
        self.execution = Execution(settings, self.store, self.blobs, self.broker, worker="w")
        self.leases = Leases(self.store, kind="reasoning", worker="w", models=list, lease_s=settings.lease_s)
        self.orchestra = Orchestra(settings, self.blobs, self.broker)
        app = celery_app(settings)
        self.orchestra.register(app, self.execution, self.leases)
        self.task = app.tasks[TASK]
        self.orchestra.start()
        self.leases.start()

    def job(self, documents=1):
        sources = [
            SourceDocument(input=InputSource(blob=self.blobs.put("t", b"%%PDF-1.7 %d" % n).name))
            for n in range(documents)
        ]
        spec = JobSpec(reasoning=ReasoningSpec(question="Who?", documents=sources))
        job = NewJob(
            id=new_job_id(), tenant="t", kind="reasoning", lane=1, spec=spec.SerializeToString(),
            queue_timeout_ms=60_000, execution_timeout_ms=60_000, ttl_ms=60_000,
        )  # fmt: skip
        return self.store.run(jobs.create(job, max_pending=9))[1]

    def state(self, job_id):
        return self.store.run(lookup.get(job_id, "t")).state

    def claim_child(self):
        child = self._claim_child()
        # Submitting is over when the parent waits.
        while child.id not in self.orchestra._hub._waiting:
            threading.Event().wait(0.01)
        return child

    def _claim_child(self):
        while True:
            for job_id in self.store.redis.zrange(f"{PREFIX}pending:ocr:1", 0, 0):
                if record := self.store.run(jobs.claim(job_id.decode(), "hand", 60)):
                    return record

    def until(self, job_id, wanted):
        while self.state(job_id) not in wanted:
            threading.Event().wait(0.01)
        return self.state(job_id)

    def close(self):
        self.leases.drain(after_s=0)
        self.orchestra.wait_idle()
        self.orchestra.stop()
        self.leases.stop()
        self.broker.close()
        self.store.close()


@pytest.fixture
def worker(settings):
    worker = Worker(settings.model_copy(update={"max_reasoning_jobs": 2}))
    yield worker
    worker.close()


pytestmark = pytest.mark.timeout(60)


def test_a_job_ends_when_its_children_have(worker):
    job_id = worker.job()
    worker.task(job_id)
    child = worker.claim_child()
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("reason", [HandedBack("the worker shuts down"), LeaseLost("another attempt runs the job")])
def test_the_next_attempt_joins_the_children_of_one_that_went(worker, reason):
    job_id = worker.job()
    first = worker.execution.claim(job_id)
    conducted = worker.orchestra.conduct(first, worker.execution, worker.leases)
    child = worker.claim_child()
    first.stop(reason)
    conducted.result(20)
    if isinstance(reason, LeaseLost):
        assert worker.store.run(jobs.release(job_id, 1))
    assert worker.state(child.id) == S.JOB_STATE_RUNNING
    worker.task(job_id)
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


def test_the_children_of_a_cancelled_job_are_cancelled(worker):
    job_id = worker.job()
    worker.task(job_id)
    child = worker.claim_child()
    worker.store.run(jobs.cancel(job_id, "t"))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_CANCELLED
    assert worker.state(child.id) == S.JOB_STATE_CANCELLING


def test_a_failed_child_takes_its_siblings_along(worker):
    job_id = worker.job(documents=2)
    worker.task(job_id)
    guilty, other = worker.claim_child(), worker.claim_child()
    worker.store.run(jobs.fail(guilty.id, 1, MediaCorrupt("no page")))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_FAILED
    assert worker.state(other.id) == S.JOB_STATE_CANCELLING


def test_a_full_lane_makes_an_accepted_job_wait_and_not_fail(settings):
    worker = Worker(settings.model_copy(update={"max_pending_per_lane": 1}))
    in_the_way = NewJob(
        id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=60_000,
        execution_timeout_ms=60_000, ttl_ms=60_000,
    )  # fmt: skip
    worker.store.run(jobs.create(in_the_way, max_pending=1))
    refused, submit = threading.Event(), worker.orchestra._submission.submit

    async def watched(submittal):
        try:
            return await submit(submittal)
        except QueueFull:
            refused.set()
            raise

    worker.orchestra._submission.submit = watched
    job_id = worker.job()
    worker.task(job_id)
    assert refused.wait(20)
    assert worker.store.run(jobs.claim(in_the_way.id, "hand", 60))
    worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    worker.close()


def test_what_stopped_an_attempt_is_its_outcome_whatever_came_of_it(worker):
    attempt = worker.execution.claim(worker.job())
    attempt.stop(JobCancelled("the job was cancelled"))
    worker.execution.fail(attempt, InternalError("it fell over when it was stopped"))
    assert worker.state(attempt.job_id) == S.JOB_STATE_CANCELLED


def test_a_claim_that_fails_costs_no_place(worker, monkeypatch):
    def claim(job_id):
        raise RuntimeError(job_id)

    with monkeypatch.context() as patch:
        patch.setattr(worker.execution, "claim", claim)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                worker.task("j")
    job_id = worker.job()
    worker.task(job_id)
    worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


def test_a_job_outlives_an_outage_of_redis(tmp_path):
    server = ThrowawayRedis().start()
    worker = Worker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path, lease_s=60))
    job_id = worker.job()
    worker.task(job_id)
    child = worker.claim_child()
    server.kill()
    # Its hub asks every 5 s, so that the outage is noticed while it waits.
    threading.Event().wait(8)
    server.start()
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    worker.close()
    server.close()
