"""Processes die and callers change their minds; nothing is lost and nothing is done twice."""

import time

import pytest
from e2e.papers import png, scanned_pdf

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobPriority, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]
PAGES = 20
WORKERS = ("worker-transcription", "worker-ocr", "worker-vision", "worker-reasoning")


@pytest.fixture(scope="module")
def pdf():
    return scanned_pdf([(f"Page {n} of twenty", f"Reference {7000 + n}", "Nothing else here") for n in range(PAGES)])


def submit(client, pdf):
    blob = client.upload(pdf)
    spec = JobSpec(ocr=OcrSpec(input=InputSource(blob=blob.name)))
    # Each test has all pages read, whatever the tests before it have had read.
    options = JobOptions(priority=JobPriority.JOB_PRIORITY_NORMAL, cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
    return client.submit(spec, options=options).name


def until_pages(client, job, pages):
    """Watches until that many pages are done; gives their numbers."""
    done = []
    for event in client.watch_job(job):
        if event.HasField("ocr_page"):
            done.append(event.ocr_page.page_number)
        if len(done) == pages:
            return done
    raise AssertionError(f"the job ended after {len(done)} pages")


def test_a_killed_worker_costs_an_attempt_and_no_page_twice(stack, client, pdf):
    job = submit(client, pdf)
    until_pages(client, job, 5)
    killed = stack.process("worker-ocr")["pid"]
    stack.kill("worker-ocr")
    ended = client.wait_job(job, timeout_s=240)
    assert ended.state == JobState.JOB_STATE_SUCCEEDED
    assert ended.attempt == 2
    texts = [page.text.splitlines()[0] for page in ended.result.ocr.pages]
    assert texts == [f"Page {n} of twenty" for n in range(PAGES)]
    stack.until_ready("worker-ocr", not_pid=killed)
    # The new process has counted what it recognized: at least the five pages that were done are missing.
    _, items = stack.batches("worker-ocr")
    assert 0 < items <= PAGES - 5


def test_a_cancelled_job_ends_within_a_second_and_reads_no_further_page(stack, client, pdf):
    job = submit(client, pdf)
    until_pages(client, job, 3)
    client.cancel_job(job)
    returned = time.monotonic()
    ended = client.wait_job(job, timeout_s=30)
    assert time.monotonic() - returned < 1
    assert ended.state == JobState.JOB_STATE_CANCELLED
    told = [event for event in client.watch_job(job) if event.HasField("ocr_page")]
    # A job that is read now waits for the engine: when it is done, whatever the cancelled one had in hand is over.
    client.recognize(png("after the storm"))
    _, items = stack.batches("worker-ocr")
    client.recognize(png("all is quiet"))
    _, later = stack.batches("worker-ocr")
    assert later - items == 1
    again = [event for event in client.watch_job(job) if event.HasField("ocr_page")]
    assert len(again) == len(told) < PAGES
    with pytest.raises(JobCancelled):
        client.result(ended)


def test_a_killed_redis_comes_back_with_the_job_and_no_worker_is_the_worse_for_it(stack, client, pdf):
    job = submit(client, pdf)
    until_pages(client, job, 2)
    workers = {name: stack.process(name)["pid"] for name in WORKERS}
    killed = stack.process("redis")["pid"]
    stack.kill("redis")
    stack.until_ready("redis", not_pid=killed)
    ended = client.wait_job(job, timeout_s=240)
    assert (ended.state, ended.attempt) == (JobState.JOB_STATE_SUCCEEDED, 1)
    assert len(ended.result.ocr.pages) == PAGES
    # The workers went on all the while, and so do they now.
    assert {name: stack.process(name)["pid"] for name in workers} == workers
    assert client.recognize(png("after the outage")).pages[0].text == "after the outage"
