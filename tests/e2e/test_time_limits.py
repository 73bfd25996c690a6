"""Time limits hold whatever the code under them does, and what cannot be done in time is not begun."""

import pytest
import toy_pages
from toy_stack import ToyStack, until
from toy_worker import HANG, STALL

from triptych.core.errors import CallTimeout, from_status
from triptych.v1.job_pb2 import JobOptions, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PAGES, PAGE_S = 100, 0.1


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with ToyStack(tmp_path_factory.mktemp("toys"), TRIPTYCH_DRAIN_S=1, TOY_HUNG_S=1, TOY_PAGE_S=PAGE_S) as stack:
        yield stack


@pytest.fixture
def client(stack):
    with stack.client("alpha") as client:
        yield client


def submit(client, word, execution_timeout_ms=60_000):
    options = JobOptions()
    options.execution_timeout.FromMilliseconds(execution_timeout_ms)
    (source,) = client.sources([toy_pages.png(word)])
    return client.submit(JobSpec(ocr=OcrSpec(input=source)), options).name


def test_a_job_whose_thread_never_returns_ends_in_time(client):
    ended = client.wait_job(submit(client, HANG, execution_timeout_ms=500), timeout_s=30)
    assert ended.state == JobState.JOB_STATE_FAILED
    assert from_status(ended.error).reason == "EXECUTION_TIMEOUT"
    assert ended.attempt == 1
    # The others go on beside the thread, which still hangs.
    assert client.recognize(toy_pages.png("after")).pages[0].text == "after"


@pytest.mark.parametrize("word", [HANG, STALL])
def test_a_worker_leaves_in_time_whatever_hangs_and_its_job_goes_back(stack, client, word):
    job = submit(client, word)
    until(lambda: client.get_job(job).state == JobState.JOB_STATE_RUNNING)
    if word == STALL:
        until(lambda: STALL in stack.batches()[-1]["words"])
    (worker,) = stack.workers
    assert worker.stop() == 0
    assert client.get_job(job).state == JobState.JOB_STATE_PENDING
    client.cancel_job(job)
    worker.start().until_ready()


def test_a_call_whose_pages_cannot_be_read_in_time_is_refused_before_any_is_decoded(stack, client):
    # What a page takes is not known before one was read.
    client.recognize(toy_pages.png("first"))
    with pytest.raises(CallTimeout, match=r"would take longer \(100 pages take"):
        client.recognize(toy_pages.pdf([f"c{page}" for page in range(PAGES)]), timeout_s=PAGES * PAGE_S / 4)
    assert stack.batches()[-1]["words"] == ["first"]
