"""Whatever one tenant has waiting or running, another one's single page waits for a few batches at most."""

import pytest
import toy_pages
from toy_stack import ToyStack, until

from triptych.core import jobs, load
from triptych.core.blob_choice import open_blobs
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

JOBS, DOCUMENTS = 10_000, 500
BATCHES = 3
PAGES = 200
NORMAL, HOUR_MS = 1, 3_600_000


@pytest.fixture
def stack(tmp_path):
    # So long that the way of a page to the batcher is not what is measured.
    with ToyStack(tmp_path, TOY_BATCH_S=0.4) as stack:
        yield stack


@pytest.fixture
def store(stack):
    store = Store(stack.redis.url)
    yield store
    store.close()


def spec(source):
    return JobSpec(ocr=OcrSpec(input=source))


def queue_at_once(stack, store, tenant, count):
    """Writes the records of jobs without their messages: the caretaker sends those, as after any loss."""
    blobs = open_blobs(stack.settings)
    names = [blobs.put(tenant, toy_pages.png(f"{tenant[0]}{n}")).name for n in range(DOCUMENTS)]
    ops = [
        jobs.create(
            NewJob(
                id=new_job_id(),
                tenant=tenant,
                kind="ocr",
                lane=NORMAL,
                spec=spec(InputSource(blob=names[n % DOCUMENTS])).SerializeToString(),
                queue_timeout_ms=HOUR_MS,
                execution_timeout_ms=HOUR_MS,
                ttl_ms=HOUR_MS,
            ),
            max_pending=count,
        )
        for n in range(count)
    ]
    store.run(ops[0])
    store.run_all(ops[1:])


def lane(store):
    return next(load for load in store.run(load.lanes(["ocr"])) if load.lane == NORMAL)


def batches_until(stack, tenant, word):
    """Submits a page; gives how many further batches began until it was in one, that one included."""
    with stack.client(tenant) as client:
        (source,) = client.sources([toy_pages.png(word)])
        job = client.submit(spec(source))
        began = len(stack.batches())
        assert client.wait_job(job.name, timeout_s=60).state == JobState.JOB_STATE_SUCCEEDED
    return 1 + next(n for n, batch in enumerate(stack.batches()) if word in batch["words"]) - began


def test_ten_thousand_waiting_jobs_cost_another_tenant_three_batches_at_most(stack, store):
    queue_at_once(stack, store, "alpha", JOBS)
    until(lambda: len(stack.batches()) >= 3)
    assert batches_until(stack, "beta", "lone") <= BATCHES
    assert lane(store).pending > JOBS / 2


def test_long_jobs_on_all_threads_of_one_tenant_cost_another_tenant_three_batches_at_most(stack, store):
    share = stack.settings.worker_threads
    with stack.client("alpha") as client:
        for n in range(share + 4):
            (source,) = client.sources([toy_pages.pdf([f"a{n}-{page}" for page in range(PAGES)])])
            client.submit(spec(source))
    until(lambda: lane(store).running == share)
    full = len(stack.batches())
    until(lambda: len(stack.batches()) > full + 1)
    assert batches_until(stack, "beta", "lone") <= BATCHES
    assert lane(store).running == share
    assert lane(store).pending == 4
