"""A page that kills whoever reads it costs its job that page, and nobody else anything."""

from collections import Counter

import pytest
import toy_pages
from toy_stack import ToyStack
from toy_worker import POISON

from triptych.core.errors import from_status
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PAGES, POISONED = 12, 7
INNOCENTS = {"beta": 6, "gamma": 6}


@pytest.fixture
def stack(tmp_path):
    with ToyStack(tmp_path, TRIPTYCH_LEASE_S=3, TOY_BATCH_S=0.1) as stack:
        yield stack


def submit(client, document):
    (source,) = client.sources([document])
    return client.submit(JobSpec(ocr=OcrSpec(input=source))).name


def test_a_page_that_kills_its_workers_is_set_aside_and_all_others_stand(stack):
    words = [POISON if number == POISONED else f"page{number}" for number in range(1, PAGES + 1)]
    with stack.client("alpha") as client:
        poisoned = submit(client, toy_pages.pdf(words))
        innocents = {}
        for tenant, count in INNOCENTS.items():
            with stack.client(tenant) as other:
                for n in range(count):
                    pages = [f"{tenant[0]}{n}-{page}" for page in range(3)]
                    innocents[tenant, submit(other, toy_pages.pdf(pages))] = pages
        ended = client.wait_job(poisoned, timeout_s=120)
    assert ended.state == JobState.JOB_STATE_SUCCEEDED
    assert list(ended.set_aside_units) == [f"page:{POISONED}"]
    assert [page.text for page in ended.result.ocr.pages] == [word if word != POISON else "" for word in words]
    (bad,) = (page for page in ended.result.ocr.pages if page.HasField("error"))
    assert (bad.page_number, from_status(bad.error).reason) == (POISONED, "WORKER_LOST")
    for (tenant, name), pages in innocents.items():
        with stack.client(tenant) as other:
            job = other.wait_job(name, timeout_s=60)
            assert [page.text for page in job.result.ocr.pages] == pages
            assert not job.set_aside_units
    assert sum(worker.deaths for worker in stack.workers) == stack.settings.max_lost_workers
    read = Counter(word for batch in stack.batches() for word in batch["words"])
    assert read.pop(POISON) == stack.settings.max_lost_workers
    # Once is the norm; what was in hand when the first worker died is read again, alone.
    assert max(read.values()) <= 2
