"""What jobs share, on a real Redis and a real blob store: each unit is computed once, whoever wants it or dies."""

import threading

import pytest
from workers.sharing import CountingReader, Worker, document

from triptych.core import jobs
from triptych.core.errors import JobCancelled, MediaCorrupt
from triptych.core.settings import Settings
from triptych.core.testing import ThrowawayRedis
from triptych.core.units import Work
from triptych.v1.common_pb2 import PageRange
from triptych.v1.job_pb2 import CachePolicy, JobState
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_PREFER, OCR_MODE_TEXT
from triptych.workers.flight import PORTION
from triptych.workers.kinds import ocr
from triptych.workers.supply import Supply

S = JobState
REFRESH, BYPASS = CachePolicy.CACHE_POLICY_REFRESH, CachePolicy.CACHE_POLICY_BYPASS
WORK = Work(kind="ocr", key="0" * 64)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def start(settings):
    """Starts workers: `worker = start(lease_s=1)`."""
    workers = []

    def start(engine=None, **changes):
        workers.append(Worker(settings.model_copy(update=changes), engine))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(start):
    return start()


class Killed(BaseException):
    """What no job's code catches."""


def files(worker):
    return [path for path in worker.settings.blobs_path.rglob("*") if path.is_file()]


def texts(job):
    return [page.text for page in job.result.ocr.pages]


def test_a_document_that_comes_again_is_not_read_again(worker):
    first, again = worker.read(document(20)), worker.read(document(20))
    assert again.result == first.result
    assert len(texts(again)) == 20
    assert set(worker.engine.read.values()) == {1}
    assert (first.cached, again.cached) == (False, True)
    assert sorted(worker.pages_told(again.name.removeprefix("jobs/"))) == list(range(1, 21))
    assert (again.progress.completed_unit_count, again.progress.percent) == (20, 100)


def test_pages_that_are_known_are_not_read_again_for_other_ranges(worker):
    worker.read(document(6), pages=[PageRange(first_page=2, last_page=4)])
    job = worker.read(document(6), pages=[PageRange(first_page=3)])
    assert [page.page_number for page in job.result.ocr.pages] == [3, 4, 5, 6]
    assert not job.cached
    assert worker.engine.read == {2: 1, 3: 1, 4: 1, 5: 1, 6: 1}


def test_what_is_known_is_not_weighed_against_the_time_that_is_left(worker, monkeypatch):
    worker.read(document(20), pages=[PageRange(first_page=2, last_page=4)])
    attempt, weighed = worker.attempt(document(20)), []
    monkeypatch.setattr(attempt, "afford", lambda _station, count, _what: weighed.append(count))
    assert worker.run(attempt).state == S.JOB_STATE_SUCCEEDED
    assert weighed == [17]


def test_two_workers_at_one_document_read_each_page_once(start):
    engines = [CountingReader(), CountingReader()]
    workers = [start(engine) for engine in engines]
    attempts = [worker.attempt(document(40)) for worker in workers]
    for engine in engines:
        engine.gate.clear()
    running = [worker.begin(attempt) for worker, attempt in zip(workers, attempts, strict=True)]
    for engine in engines:
        assert engine.started.wait(20)
    for engine in engines:
        engine.gate.set()
    for thread in running:
        thread.join(30)
    first, second = (worker.ended(attempt.job_id) for worker, attempt in zip(workers, attempts, strict=True))
    assert first.result == second.result
    assert len(texts(first)) == 40
    assert engines[0].read + engines[1].read == dict.fromkeys(range(1, 41), 1)
    assert all(engine.read for engine in engines), "both had their share"
    for worker, attempt in zip(workers, attempts, strict=True):
        assert sorted(worker.pages_told(attempt.job_id)) == list(range(1, 41))


def test_jobs_that_want_the_same_units_in_opposite_order_do_not_wait_for_each_other(worker):
    names = [f"page:{n}" for n in range(5 * PORTION)]
    attempts = [worker.attempt(b"%PDF-"), worker.attempt(b"%PDF-")]
    computed, known, both = [], [[], []], threading.Barrier(2)

    def run(index):
        flight = attempts[index].flight(WORK)
        supply = Supply(flight, names[:: 1 - 2 * index], known[index].append)
        both.wait(10)
        while True:
            while name := supply.next():
                computed.append(name)
                flight.keep(name.encode(), name)
            if not supply.await_others():
                return

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert sorted(computed) == sorted(names)
    assert len(known[0]) + len(known[1]) == len(names)


@pytest.mark.parametrize("end", ["lease", "cancelled", "failed", "handed back"])
def test_the_units_of_a_holder_that_ends_are_free_at_once(start, end):
    holder, other = start(lease_s=60 if end != "lease" else 0.6), start()
    attempt = holder.attempt(document(3))
    flight = attempt.flight(WORK)
    assert len(flight.take(["a", "b"]).own) == 2
    flight.keep(b"value", "a")
    asking = other.attempt(document(3)).flight(WORK)
    taken = asking.take(["a", "b", "c"])
    assert (taken.known, taken.elsewhere, taken.own) == ({"a": b"value"}, ["b"], ["c"])
    if end == "cancelled":
        holder.store.run(jobs.cancel(attempt.job_id, "t"))
    elif end == "failed":
        holder.store.run(jobs.fail(attempt.job_id, 1, MediaCorrupt("no page")))
    elif end == "handed back":
        holder.store.run(jobs.release(attempt.job_id, 1))
    assert asking.find("b") is None, "it is ours now"


def test_a_killed_holder_costs_its_unfinished_pages_only(start):
    dying, engine = CountingReader(), CountingReader()
    first = start(dying, lease_s=0.6)
    attempt = first.attempt(document(12))
    finished = set()

    def killed_at_the_fourth_page(event):
        if event.HasField("ocr_page"):
            finished.add(event.ocr_page.page_number)
            if len(finished) == 4:
                raise Killed

    attempt.emit = killed_at_the_fourth_page
    with pytest.raises(Killed):
        ocr.run(attempt, attempt.spec.ocr, first.stations)
    job = start(engine).read(document(12))
    assert job.state == S.JOB_STATE_SUCCEEDED
    assert set(engine.read) == set(range(1, 13)) - finished


def test_nobody_waits_for_a_slower_lane(worker):
    slow, fast = worker.attempt(document(3), lane=2), worker.attempt(document(3), lane=0)
    assert slow.flight(WORK).take(["a"]).own == ["a"]
    assert fast.flight(WORK).take(["a"]).own == ["a"]
    assert slow.flight(WORK).take(["a"]).elsewhere == ["a"]


def test_whoever_waits_can_be_cancelled(worker):
    worker.attempt(b"%PDF-").flight(WORK).take(["a"])
    waiting = worker.attempt(b"%PDF-")
    threading.Timer(0.05, waiting.stop, [JobCancelled("enough")]).start()
    with pytest.raises(JobCancelled):
        waiting.flight(WORK).find("a")


def test_a_page_that_failed_is_free_for_others_while_its_job_goes_on(worker):
    worker.engine.bad = {2}
    attempt = worker.attempt(document(3))
    result = ocr.run(attempt, attempt.spec.ocr, worker.stations)
    assert [page.HasField("error") for page in result.pages] == [False, True, False]
    worker.engine.bad = set()
    job = worker.read(document(3))
    assert worker.ended(attempt.job_id).state == S.JOB_STATE_RUNNING
    assert all(texts(job))
    assert worker.engine.read == {1: 1, 2: 2, 3: 1}


def test_refresh_reads_anew_and_replaces_what_was_known(worker):
    worker.read(document(2))
    refreshed = worker.read(document(2), policy=REFRESH)
    assert worker.engine.read == {1: 2, 2: 2}
    assert not refreshed.cached
    assert worker.read(document(2)).cached
    assert worker.engine.read == {1: 2, 2: 2}


def test_bypass_neither_reads_nor_writes(worker):
    worker.read(document(2), policy=BYPASS)
    assert not worker.store.redis.keys("triptych:units:*")
    worker.read(document(2))
    assert not worker.read(document(2), policy=BYPASS).cached
    assert worker.engine.read == {1: 3, 2: 3}


def test_without_a_time_to_live_nothing_is_shared(start):
    worker = start(unit_ttl_s=0)
    worker.read(document(2))
    assert not worker.read(document(2)).cached
    assert not worker.store.redis.keys("triptych:units:*")


def test_another_tenant_shares_nothing(worker):
    worker.read(document(2))
    assert not worker.read(document(2), tenant="other").cached
    assert worker.engine.read == {1: 2, 2: 2}


def test_another_revision_of_the_model_shares_nothing(start):
    start().read(document(2))
    assert not start(CountingReader(revision="2")).read(document(2)).cached


@pytest.mark.parametrize("revision", ["", "unpinned"])
def test_weights_that_may_have_changed_share_nothing(start, revision):
    worker = start(CountingReader(revision=revision))
    worker.read(document(2))
    assert not worker.read(document(2)).cached


@pytest.mark.parametrize(
    "config", [{"render_dpi": 100}, {"min_confidence": 0.5}, {"enable_words": True}, {"language_codes": ["de"]}]
)
def test_another_option_shares_nothing(worker, config):
    worker.read(document(2))
    assert not worker.read(document(2), config=config).cached


@pytest.mark.parametrize(
    "config",
    [
        {"render_dpi": 200},
        {"min_confidence": 0},
        {"mode": OCR_MODE_TEXT, "embedded_text_policy": EMBEDDED_TEXT_POLICY_PREFER},
        {"model": "shades"},
    ],
)
def test_a_default_that_is_said_is_the_same_work(worker, config):
    worker.read(document(2))
    assert worker.read(document(2), config=config).cached


def test_a_unit_whose_bytes_are_gone_or_torn_is_computed_again(worker):
    worker.read(document(4))
    [units] = worker.store.redis.keys("triptych:units:*")
    names = {unit: name.decode() for unit, name in worker.store.redis.hgetall(units).items()}
    worker.blobs.delete("t", names[b"page:1"])
    torn = names[b"page:2"].removeprefix("blobs/sha256-")
    next(path for path in files(worker) if path.name == torn).write_bytes(b"half")
    job = worker.read(document(4))
    assert not job.cached
    assert worker.engine.read == {1: 2, 2: 2, 3: 1, 4: 1}
    assert len(texts(job)) == 4


def test_a_disk_that_takes_nothing_costs_the_cache_and_no_job(worker, monkeypatch):
    data = document(2)
    attempt = worker.attempt(data)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(worker.blobs, "put", full)
        assert worker.run(attempt).state == S.JOB_STATE_SUCCEEDED
    assert not worker.read(data).cached
    assert worker.read(data).cached


def test_an_attempt_that_runs_no_more_leaves_nothing_behind(worker):
    attempt = worker.attempt(document(2))
    worker.store.run(jobs.cancel(attempt.job_id, "t"))
    worker.execution.fail(attempt, JobCancelled("enough"))
    flight = attempt.flight(WORK)
    assert flight.take(["a"]).own == ["a"]
    flight.keep(b"value", "a")
    assert not worker.store.redis.keys("triptych:units:*")
    assert not worker.store.redis.keys("triptych:derived:*")
    assert b"value" not in b"".join(path.read_bytes() for path in files(worker))


def test_without_redis_everything_is_computed_and_nothing_fails(tmp_path):
    server = ThrowawayRedis().start()
    worker = Worker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path, lease_s=60))
    attempt = worker.attempt(document(3))
    server.kill()
    result = ocr.run(attempt, attempt.spec.ocr, worker.stations)
    assert len(result.pages) == 3
    worker.close()
    server.close()
