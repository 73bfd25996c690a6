"""A message becomes an attempt, and the attempt always an outcome."""

import pytest

from triptych.core import jobs, lookup
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import TASK, Broker, celery_app
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.v1.job_pb2 import JobResult, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult
from triptych.workers import tasks
from triptych.workers.claims import Claims
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases


@pytest.fixture
def store(settings):
    store = Store(settings.redis_url)
    yield store
    store.close()


@pytest.fixture
def run(settings, store):
    """Runs one job with this code; gives its record."""
    settings = settings.model_copy(update={"max_inline_result_bytes": 1024})
    broker = Broker(settings)
    execution = Execution(settings, store, open_blobs(settings), broker, worker="w")
    leases = Leases(store, kind="ocr", worker="w", models=list, lease_s=10, on_hung=execution.abandon)
    claims = Claims(execution, leases, kind="ocr", share=16)

    def run(code):
        job = NewJob(
            id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000,
        )  # fmt: skip
        store.run(jobs.create(job, max_pending=9))
        app = celery_app(settings)
        tasks.register(app, execution, leases, claims, code)
        app.tasks[TASK]()
        return store.run(lookup.get(job.id, "t"))

    yield run
    broker.close()


def test_the_result_of_the_code_is_that_of_the_job(run):
    result = JobResult(ocr=OcrResult(source_page_count=3))
    assert run(lambda _attempt: result).to_job().result == result


def test_a_result_that_cannot_be_stored_fails_the_job_at_once(run, settings):
    settings.blobs_path.parent.mkdir(parents=True, exist_ok=True)
    settings.blobs_path.write_text("no folder")
    record = run(lambda _attempt: JobResult(ocr=OcrResult(pages=[OcrPage(text="x" * 5000)])))
    assert record.state == JobState.JOB_STATE_FAILED
    assert b"INTERNAL" in record.error
