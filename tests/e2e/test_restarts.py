"""Services and workers come and go under load: callers notice nothing, and nothing is lost or done twice."""

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import toy_pages
from toy_stack import Process, ToyStack, until

from triptych.client import Client
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.workers.recognition.reading import MAX_PAGES_AHEAD

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

REPEATS = 100
CALLERS = 6
LONG = 120


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    with ToyStack(folder, services=2, workers=2, TRIPTYCH_DRAIN_S=1, TOY_BATCH_S=0.1) as stack:
        yield stack


def read_count(stack, word):
    return sum(batch["words"].count(word) for batch in stack.batches())


def test_a_request_sent_a_hundred_times_across_a_killed_service_is_one_job(stack):
    pages = [f"one-{number}" for number in range(40)]
    request_id = str(uuid.uuid4())
    service = stack.services[0]
    with stack.client("alpha") as client, ThreadPoolExecutor(REPEATS) as pool:
        document = toy_pages.pdf(pages)
        calls = [pool.submit(client.recognize, document, request_id=request_id, timeout_s=60) for _ in range(REPEATS)]
        until(lambda: read_count(stack, pages[8]))
        service.kill()
        assert not any(call.done() for call in calls)
        service.start().until_ready()
        answers = {call.result().SerializeToString(deterministic=True) for call in calls}
        assert len(answers) == 1
        assert [page.text for page in calls[0].result().pages] == pages
        (job,) = client.list_jobs()
        assert (job.state, job.attempt) == (JobState.JOB_STATE_SUCCEEDED, 1)
    assert [read_count(stack, page) for page in pages] == [1] * len(pages)


class Load:
    """Callers that go on until they are told to stop; what fails is kept."""

    def __init__(self, stack):
        self._stack = stack
        self._over = threading.Event()
        self._calls = Counter()
        self.failures = []
        self.words = []
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until_more(self, more=20):
        """Waits until so many further calls ended."""
        wanted = len(self.words) + more
        until(lambda: len(self.words) + len(self.failures) >= wanted)

    def _call(self, number):
        with self._stack.client("beta") as client:
            while not self._over.is_set():
                # Every third one is still being read when its worker has to leave.
                pages = LONG if number % 3 == 0 else 1
                words = [f"{number:x}{self._calls[number]}-{page}" for page in range(pages)]
                self._calls[number] += 1
                try:
                    assert self._read(client, toy_pages.pdf(words), waits=number % 2 == 0) == words
                except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
                    self.failures.append(error)
                else:
                    self.words.append(words)

    def _read(self, client, document, *, waits):
        if waits:
            pages = client.recognize(document, timeout_s=60).pages
        else:
            (source,) = client.sources([document])
            name = client.submit(JobSpec(ocr=OcrSpec(input=source))).name
            (*_, last) = client.watch_job(name, timeout_s=60)
            pages = last.job.result.ocr.pages
        return [page.text for page in pages]


def test_a_rolling_restart_of_everything_fails_no_call_and_loses_nothing(stack):
    with Load(stack) as load:
        for process in (*stack.services, *stack.workers):
            load.until_more()
            assert process.stop() == 0
            process.start().until_ready()
        load.until_more()
    assert load.failures == []
    with stack.client("beta") as client:
        jobs = client.list_jobs(limit=10_000)
    assert {job.state for job in jobs} == {JobState.JOB_STATE_SUCCEEDED}
    assert len(jobs) == len(load.words)
    # A drain hands back, and what the engine had in hand then is read again: nothing else is.
    read = Counter(word for batch in stack.batches() for word in batch["words"])
    again = sum(read[word] - 1 for words in load.words for word in words)
    assert again <= MAX_PAGES_AHEAD * sum(job.attempt - 1 for job in jobs)


def told(events):
    """Cursors of what happened; a watch that begins or resumes first tells how it stands, which is no event."""
    cursors = []
    for event in events:
        snapshot = event.HasField("job") and event.cursor in {"0-0", *cursors[-1:]}
        if not snapshot and not event.HasField("heartbeat"):
            cursors.append(event.cursor)
    return cursors


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
def test_a_watch_goes_on_after_the_last_event_when_its_service_restarts(stack, end):
    service = stack.services[0]
    with Client(stack.addresses[0], api_key="gamma") as client:
        words = [f"w{page}" for page in range(LONG)]
        (source,) = client.sources([toy_pages.pdf(words)])
        job = client.submit(JobSpec(ocr=OcrSpec(input=source))).name
        watched = []
        for event in client.watch_job(job, timeout_s=60):
            watched.append(event)
            if len(watched) in {60, 120}:
                end(service)
                service.start()
        assert [event.ocr_page.text for event in watched if event.HasField("ocr_page")] == words
        assert watched[-1].job.state == JobState.JOB_STATE_SUCCEEDED
        assert told(watched) == told(client.watch_job(job))
