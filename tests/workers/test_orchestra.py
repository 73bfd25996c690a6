"""Reasoning jobs on a real Redis: what becomes of them and of their children when workers go and Redis is away."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from workers.converters.files import archive

from triptych.core import jobs, lookup
from triptych.core.blob_choice import open_blobs
from triptych.core.blobs import blob_name, digest_of
from triptych.core.broker import TASK, Broker, celery_app
from triptych.core.errors import (
    CallTimeout,
    HostExhausted,
    InternalError,
    JobCancelled,
    MediaCorrupt,
    QueueFull,
    from_status,
)
from triptych.core.jobs import NewJob
from triptych.core.purging import Purge
from triptych.core.records import TERMINAL, JobRecord, new_job_id
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.testing import ThrowawayRedis
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, DataClass, JobOptions, JobResult, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument
from triptych.workers.claims import Claims
from triptych.workers.execution import Execution
from triptych.workers.forgetting import Forgetting
from triptych.workers.leases import Leases
from triptych.workers.orchestra import Orchestra
from triptych.workers.reasoning import pipeline
from triptych.workers.stoppable import HandedBack, LeaseLost

S = JobState
# A page without words: the answer is "not found", and no model is asked.
BLANK = JobResult(ocr=OcrResult(source_page_count=1, pages=[OcrPage(page_number=1)]))


class Worker:
    """A real orchestrator; the test plays those who run its children."""

    def __init__(self, settings):
        self.store, self.broker, self.blobs = Store(settings.redis_url), Broker(settings), open_blobs(settings)
        self.execution = Execution(settings, self.store, self.blobs, self.broker, worker="w")
        self.orchestra = Orchestra(settings, self.blobs, self.broker)
        self.leases = Leases(
            self.store, kind="reasoning", worker="w", models=list, lease_s=settings.lease_s,
            on_hung=self.execution.abandon, forgetting=Forgetting(self.store, self.orchestra.forget),
        )  # fmt: skip
        app = celery_app(settings)
        claims = Claims(self.execution, self.leases, kind="reasoning", share=settings.max_reasoning_jobs)
        self.orchestra.register(app, self.execution, self.leases, claims)
        self.task = app.tasks[TASK]
        self.orchestra.start()
        self.leases.start()

    def job(self, document_count=1, **facts):
        return self.job_of(*(b"%%PDF-1.7 %d" % n for n in range(document_count)), **facts)

    def job_of(self, *contents, tenant="t", **facts):
        sources = [SourceDocument(input=InputSource(blob=self.blobs.put(tenant, data).name)) for data in contents]
        spec = JobSpec(reasoning=ReasoningSpec(question="Who?", documents=sources))
        job = NewJob(
            id=new_job_id(), tenant=tenant, kind="reasoning", lane=1, spec=spec.SerializeToString(),
            queue_timeout_ms=60_000, execution_timeout_ms=60_000, ttl_ms=60_000, **facts,
        )  # fmt: skip
        return self.store.run(jobs.create(job, max_pending=9))[1]

    def state(self, job_id):
        return self.store.run(lookup.get(job_id, lookup.ANY_TENANT)).state

    def claim_child(self):
        child = self._claim_child()
        # Submitting is over when the parent waits.
        while child.id not in self.orchestra._hub._waiting:
            threading.Event().wait(0.01)
        return child

    def _claim_child(self):
        while True:
            record = self.store.run(jobs.claim("ocr", "hand", 60))
            if isinstance(record, JobRecord):
                return record

    def refused(self, reason):
        """An event that is set when a child is refused for this reason."""
        refused, submit = threading.Event(), self.orchestra._submission.submit

        async def watched(submittal):
            try:
                return await submit(submittal)
            except reason:
                refused.set()
                raise

        self.orchestra._submission.submit = watched
        return refused

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
    worker.task()
    child = worker.claim_child()
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


def test_children_have_their_parents_cache_policy_and_count_as_readers_of_its_documents(worker):
    job_id = worker.job(2, cache_policy=CachePolicy.CACHE_POLICY_REFRESH, documents=("f" * 64,))
    worker.task()
    children = [worker.claim_child(), worker.claim_child()]
    for child in children:
        assert child.cache_policy == CachePolicy.CACHE_POLICY_REFRESH
        assert set(child.documents) > {child.job_spec().ocr.input.blob.removeprefix("blobs/sha256-")}
    for child in children:
        worker.store.run(jobs.succeed(child.id, 1, BLANK, cached=child is children[1]))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    stages = worker.store.run(lookup.get(job_id, "t")).to_job().result.reasoning.stages
    assert {stage.job: stage.cached for stage in stages if stage.stage == "ocr"} == {
        f"jobs/{children[0].id}": False,
        f"jobs/{children[1].id}": True,
    }


def test_what_was_made_of_a_document_is_there_for_its_tenants_next_question_until_a_purge(worker):
    page = JobResult(ocr=OcrResult(source_page_count=1, pages=[OcrPage(page_number=1, text="a page")]))

    def looks(**facts):
        """How often documents were found and not found, while one question was answered."""
        before = [looked(outcome) for outcome in ("hit", "miss")]
        job_id = worker.job(**facts)
        worker.task()
        worker.store.run(jobs.succeed(worker.claim_child().id, 1, page))
        assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
        return [looked(outcome) - old for outcome, old in zip(("hit", "miss"), before, strict=True)]

    assert looks() == [0, 1]
    assert looks() == [1, 0]
    assert looks(tenant="other") == [0, 1]
    assert looks(cache_policy=CachePolicy.CACHE_POLICY_BYPASS) == [0, 0]
    Purge(worker.store, worker.blobs, tenant="other").remove()
    while REGISTRY.get_sample_value("triptych_reading_bytes"):
        threading.Event().wait(0.01)
    assert looks() == [0, 1]


def looked(outcome):
    return REGISTRY.get_sample_value("triptych_reading_looks_total", {"outcome": outcome}) or 0


def test_what_is_in_an_archive_is_read_by_children_and_goes_with_it(worker):
    inner = [b"%PDF-1.7 in an archive", b"\x89PNG\r\n\x1a\n in an archive"]
    data = archive([("a.pdf", inner[0]), ("b.png", inner[1])])
    digest = digest_of(blob_name(data))
    job_id = worker.job_of(data, documents=(digest,))
    first = worker.execution.claim("reasoning")
    conducted = worker.orchestra.conduct(first, worker.execution, worker.leases)
    children = [worker.claim_child(), worker.claim_child()]
    assert {worker.blobs.read("t", child.job_spec().ocr.input.blob) for child in children} == set(inner)
    assert all(digest in child.documents for child in children)
    # The next attempt opens it again, and joins the children of the first.
    first.stop(HandedBack("the worker shuts down"))
    conducted.result(20)
    worker.task()
    for child in children:
        worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    reports = worker.store.run(lookup.get(job_id, "t")).to_job().result.reasoning.documents
    assert [(report.document_id, report.path) for report in reports] == [
        ("d1", ""),
        ("d1.1", "a.pdf"),
        ("d1.2", "b.png"),
    ]
    assert len(worker.blobs.names("t")) == 3
    purge = Purge(worker.store, worker.blobs, tenant="t", document=blob_name(data))
    assert purge.remove().blob_count == 3
    assert purge.traces() == 0
    assert not worker.blobs.names("t")


def test_a_cancelled_job_ends_the_process_that_opens_its_document(worker):
    page = b"<html>" + b"<p>a</p>" * 3_000_000
    job_id = worker.job_of(page)
    worker.task()
    while not (found := children_of(os.getpid(), "triptych.core.guarded_process")):
        threading.Event().wait(0.01)
    worker.store.run(jobs.cancel(job_id, "t"))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_CANCELLED
    while found & children_of(os.getpid(), "triptych.core.guarded_process"):
        threading.Event().wait(0.01)


def children_of(pid, program):
    """Processes that this one started and that still run a program."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(OSError):
                if program in Path(f"/proc/{child}/cmdline").read_text():
                    found.add(child)
    return found


def test_children_are_kept_as_closely_as_their_parent(worker):
    options = JobOptions(data_class=DataClass.DATA_CLASS_RESTRICTED)
    job_id = worker.job(options=options.SerializeToString())
    worker.task()
    child = worker.claim_child()
    assert child.job_options().data_class == DataClass.DATA_CLASS_RESTRICTED
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("reason", [HandedBack("the worker shuts down"), LeaseLost("another attempt runs the job")])
def test_the_next_attempt_joins_the_children_of_one_that_went(worker, reason):
    job_id = worker.job()
    first = worker.execution.claim("reasoning")
    conducted = worker.orchestra.conduct(first, worker.execution, worker.leases)
    child = worker.claim_child()
    first.stop(reason)
    conducted.result(20)
    if isinstance(reason, LeaseLost):
        assert worker.store.run(jobs.release(job_id, 1))
    assert worker.state(child.id) == S.JOB_STATE_RUNNING
    worker.task()
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


def test_the_children_of_a_cancelled_job_are_cancelled(worker):
    job_id = worker.job()
    worker.task()
    child = worker.claim_child()
    worker.store.run(jobs.cancel(job_id, "t"))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_CANCELLED
    assert worker.state(child.id) == S.JOB_STATE_CANCELLING


def test_long_work_holds_up_the_end_of_no_job(settings, monkeypatch):
    # As many as the loop has threads of its own, and one more.
    count, go_on, waited = min(32, (os.cpu_count() or 1) + 4) + 1, threading.Event(), []
    monkeypatch.setattr(pipeline, "passages", lambda _readings: waited.append(go_on.wait(20)) or [])
    worker = Worker(settings.model_copy(update={"max_reasoning_jobs": count}))
    job_ids = [worker.job() for _ in range(count)]
    for _ in job_ids:
        worker.task()
        worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    for job_id in job_ids:
        worker.store.run(jobs.cancel(job_id, "t"))
    assert [worker.until(job_id, TERMINAL) for job_id in job_ids] == [S.JOB_STATE_CANCELLED] * count
    assert waited == []
    go_on.set()
    worker.close()


def test_a_failed_child_takes_its_siblings_along(worker):
    job_id = worker.job(2)
    worker.task()
    guilty, other = worker.claim_child(), worker.claim_child()
    worker.store.run(jobs.fail(guilty.id, 1, MediaCorrupt("no page")))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_FAILED
    assert worker.state(other.id) == S.JOB_STATE_CANCELLING


@pytest.mark.parametrize(("call_timeout_ms", "reason"), [(0, "EXECUTION_TIMEOUT"), (30_000, "CALL_TIMEOUT")])
def test_a_child_that_cannot_be_in_time_fails_its_parent_by_the_parents_limit(worker, call_timeout_ms, reason):
    job_id = worker.job(call_timeout_ms=call_timeout_ms)
    worker.task()
    child = worker.claim_child()
    worker.store.run(jobs.fail(child.id, 1, CallTimeout("the job took longer than its call waits")))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_FAILED
    assert from_status(worker.store.run(lookup.get(job_id, "t")).to_job().error).reason == reason


def test_a_full_lane_makes_an_accepted_job_wait_and_not_fail(settings):
    worker = Worker(settings.model_copy(update={"max_pending_per_lane": 1}))
    in_the_way = NewJob(
        id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=60_000,
        execution_timeout_ms=60_000, ttl_ms=60_000,
    )  # fmt: skip
    worker.store.run(jobs.create(in_the_way, max_pending=1))
    refused = worker.refused(QueueFull)
    job_id = worker.job()
    worker.task()
    assert refused.wait(20)
    assert worker.store.run(jobs.claim("ocr", "hand", 60))
    worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    worker.close()


def test_a_full_disk_makes_an_accepted_job_wait_and_not_fail(settings, small_disk):
    # Children keep their inputs for longer than the blobs were put for, and that has to be written.
    on_disk = {"blob_dir": small_disk.path, "execution_timeout_s": settings.blob_ttl_s}
    worker = Worker(settings.model_copy(update=on_disk))
    refused = worker.refused(HostExhausted)
    job_id = worker.job()
    small_disk.fill()
    worker.task()
    assert refused.wait(20)
    assert worker.state(job_id) == S.JOB_STATE_RUNNING
    small_disk.clear()
    worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    worker.close()


def test_what_stopped_an_attempt_is_its_outcome_whatever_came_of_it(worker):
    worker.job()
    attempt = worker.execution.claim("reasoning")
    attempt.stop(JobCancelled("the job was cancelled"))
    worker.execution.fail(attempt, InternalError("it fell over when it was stopped"))
    assert worker.state(attempt.job_id) == S.JOB_STATE_CANCELLED


def test_a_claim_that_fails_costs_no_place(worker, monkeypatch):
    def claim(kind, **_limits):
        raise RuntimeError(kind)

    with monkeypatch.context() as patch:
        patch.setattr(worker.execution, "claim", claim)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                worker.task()
    job_id = worker.job()
    worker.task()
    worker.store.run(jobs.succeed(worker.claim_child().id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED


def test_a_job_outlives_an_outage_of_redis(tmp_path):
    server = ThrowawayRedis().start()
    worker = Worker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path, lease_s=60))
    job_id = worker.job()
    worker.task()
    child = worker.claim_child()
    server.kill()
    # Its hub asks every 5 s, so that the outage is noticed while it waits.
    threading.Event().wait(8)
    server.start()
    worker.store.run(jobs.succeed(child.id, 1, BLANK))
    assert worker.until(job_id, TERMINAL) == S.JOB_STATE_SUCCEEDED
    worker.close()
    server.close()
