"""A question over a long document while processes are killed: what was read stays read."""

from collections import Counter

import pytest
import toy_pages
from toy_stack import ToyStack, until

from triptych.client import specs
from triptych.v1.job_pb2 import JOB_KIND_OCR, PROGRESS_UNIT_PAGE, JobState
from triptych.v1.job_service_pb2 import JobFilter

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGES = 50


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    # One page a batch: what is done again is then counted in pages. A lost lease is noticed soon.
    toys = {"TOY_BATCH_S": 0.15, "TRIPTYCH_MAX_BATCH_ITEMS": 1, "TRIPTYCH_LEASE_S": 2}
    with ToyStack(tmp_path_factory.mktemp("toys"), orchestrators=1, **toys) as stack:
        yield stack


def ask(client, *documents):
    return client.submit(specs.reasoning("What do they say?", client.sources(list(documents)))).name


def children(client, job):
    return client.list_jobs(JobFilter(parent_job=job, kinds=[JOB_KIND_OCR]))


def in_the_middle(stack, client, job, word, done):
    """Whether a page is in the engine, and so many before it are safe."""
    begun = any(word in batch["words"] for batch in stack.batches())
    return begun and any(child.progress.completed_unit_count >= done for child in children(client, job))


def read_again(stack, words):
    read = Counter(word for batch in stack.batches() for word in batch["words"])
    assert set(words) <= set(read)
    return sum(read[word] - 1 for word in words)


@pytest.mark.parametrize("victim", ["workers", "orchestrators"])
def test_a_crash_in_the_middle_of_a_document_repeats_one_page_at_most(stack, victim):
    words = [f"{victim[0]}{page}" for page in range(PAGES)]
    (process,) = getattr(stack, victim)
    with stack.client("alpha") as client:
        job = ask(client, toy_pages.pdf(words))
        until(lambda: in_the_middle(stack, client, job, words[35], 35))
        process.kill()
        process.start().until_ready()
        ended = client.wait_job(job, timeout_s=120)
        assert ended.state == JobState.JOB_STATE_SUCCEEDED
        assert ended.result.reasoning.documents[0].page_count == PAGES
        (child,) = children(client, job)
        attempts = {"workers": (1, 2), "orchestrators": (2, 1)}[victim]
        assert (ended.attempt, child.attempt) == attempts
    assert read_again(stack, words) <= (victim == "workers")


def test_a_watcher_sees_the_pages_of_all_documents_come_in(stack):
    documents = [toy_pages.pdf([f"{name}{page}" for page in range(20)]) for name in "xy"]
    with stack.client("beta") as client:
        told = [
            event.progress
            for event in client.watch_job(ask(client, *documents), timeout_s=120)
            if event.HasField("progress")
        ]
    pages = [progress for progress in told if progress.unit == PROGRESS_UNIT_PAGE]
    assert {progress.stage for progress in pages} == {"ocr"}
    counts = [progress.completed_unit_count for progress in pages]
    assert counts == sorted(counts)
    assert len(set(counts)) > 4
    assert (counts[-1], pages[-1].total_unit_count) == (40, 40)
    percents = [progress.percent for progress in told]
    assert percents == sorted(percents)


def test_cancelling_a_question_stops_the_reading_of_all_its_documents(stack):
    words = [[f"c{document}-{page}" for page in range(30)] for document in range(12)]
    with stack.client("gamma") as client:
        job = ask(client, *map(toy_pages.pdf, words))
        until(lambda: len(children(client, job)) == 12 and any("c" in b["words"][0] for b in stack.batches()))
        client.cancel_job(job)
        assert client.wait_job(job, timeout_s=60).state == JobState.JOB_STATE_CANCELLED
        until(lambda: all(child.HasField("end_time") for child in children(client, job)))
        assert {child.state for child in children(client, job)} == {JobState.JOB_STATE_CANCELLED}
    read = {word for batch in stack.batches() for word in batch["words"]}
    assert any(word not in read for document in words for word in document)
