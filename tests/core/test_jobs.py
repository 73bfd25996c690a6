"""The life of a job on a real Redis: every transition, and who may make it."""

import pytest

from triptych.core import jobs, lookup
from triptych.core.errors import JobCancelled, JobNotFound, JobNotTerminal, MediaCorrupt, QueueFull, RequestIdReused
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.v1.job_pb2 import JobEvent, JobProgress, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrResult

S = JobState
RESULT = JobResult(ocr=OcrResult(source_page_count=3))


@pytest.fixture
def store(redis_url):
    store = Store(redis_url)
    yield store
    store.close()


def new_job(**changes):
    facts = {
        "id": new_job_id(), "tenant": "acme", "kind": "ocr", "lane": 1, "spec": b"", "queue_timeout_ms": 60_000,
        "execution_timeout_ms": 60_000, "ttl_ms": 60_000,
    }  # fmt: skip
    return NewJob(**{**facts, **changes})


def create(store, **changes):
    return store.run(jobs.create(new_job(**changes), max_pending=100))[1]


def claim(store, job_id, worker="w1", lease_s=10):
    return store.run(jobs.claim(job_id, worker, lease_s))


def state(store, job_id):
    return store.run(lookup.get(job_id, "acme")).state


def sweep(store, **changes):
    options = {"max_lost": 3, "stale_s": 5, **changes}
    return store.run(jobs.sweep({"ocr": 1}, **options))


def test_a_job_goes_from_pending_to_running_to_succeeded(store):
    job_id = create(store)
    assert state(store, job_id) == S.JOB_STATE_PENDING
    record = claim(store, job_id)
    assert (record.attempt, record.state, record.tenant) == (1, S.JOB_STATE_RUNNING, "acme")
    assert store.run(jobs.succeed(job_id, 1, RESULT))
    ended = store.run(lookup.get(job_id, "acme"))
    assert ended.state == S.JOB_STATE_SUCCEEDED
    assert JobResult.FromString(ended.result) == RESULT
    assert ended.expire_ms == ended.end_ms + 60_000


def test_only_one_worker_gets_a_job(store):
    job_id = create(store)
    assert claim(store, job_id, "w1")
    assert claim(store, job_id, "w2") is None


def test_the_same_request_id_joins_the_job_and_another_body_is_refused(store):
    first = create(store, request_id="r1", request_digest="a")
    assert store.run(jobs.create(new_job(request_id="r1", request_digest="a"), max_pending=9)) == ("joined", first)
    with pytest.raises(RequestIdReused):
        create(store, request_id="r1", request_digest="b")
    assert create(store, tenant="other", request_id="r1", request_digest="b") != first


def test_a_full_lane_takes_nothing_more(store):
    create(store)
    with pytest.raises(QueueFull) as caught:
        store.run(jobs.create(new_job(), max_pending=1))
    assert caught.value.retry_after_s
    assert store.run(jobs.create(new_job(lane=0), max_pending=1))[0] == "created"


def test_a_worker_that_lost_its_lease_changes_nothing(store):
    job_id = create(store)
    claim(store, job_id, lease_s=-1)
    assert [m.job_id for m in sweep(store)] == [job_id]
    second = claim(store, job_id, "w2")
    assert second.attempt == 2
    assert store.run(jobs.renew(job_id, 1, 10)) == "lost"
    assert not store.run(jobs.emit(job_id, 1, JobEvent(progress=JobProgress(stage="ocr"))))
    assert not store.run(jobs.save_part(job_id, 1, "page:1", b"x"))
    assert not store.run(jobs.succeed(job_id, 1, RESULT))
    assert store.run(jobs.renew(job_id, 2, 10)) == "ok"
    assert store.run(jobs.succeed(job_id, 2, RESULT))


def test_parts_survive_the_attempt_that_made_them(store):
    job_id = create(store)
    claim(store, job_id, lease_s=-1)
    assert store.run(jobs.save_part(job_id, 1, "page:1", b"\x00one"))
    sweep(store)
    claim(store, job_id)
    assert store.run(lookup.parts(job_id)) == {"page:1": b"\x00one"}


def test_a_job_that_kills_its_workers_is_set_aside(store):
    job_id = create(store)
    for attempt in (1, 2, 3):
        assert claim(store, job_id, lease_s=-1).attempt == attempt
        sweep(store)
    record = store.run(lookup.get(job_id, "acme"))
    assert record.state == S.JOB_STATE_FAILED
    assert b"WORKER_LOST" in record.error
    assert claim(store, job_id) is None


def test_a_pending_job_is_cancelled_at_once_and_a_running_one_when_its_worker_says_so(store):
    waiting, running = create(store), create(store)
    claim(store, running)
    store.run(jobs.cancel(waiting, "acme"))
    store.run(jobs.cancel(running, "acme"))
    assert state(store, waiting) == S.JOB_STATE_CANCELLED
    assert state(store, running) == S.JOB_STATE_CANCELLING
    assert store.run(jobs.renew(running, 1, 10)) == "cancel"
    assert store.run(jobs.fail(running, 1, JobCancelled("stopped")))
    assert state(store, running) == S.JOB_STATE_CANCELLED


def test_a_cancelling_job_whose_worker_died_is_cancelled_by_the_sweeper(store):
    job_id = create(store)
    claim(store, job_id, lease_s=-1)
    store.run(jobs.cancel(job_id, "acme"))
    assert sweep(store) == []
    assert state(store, job_id) == S.JOB_STATE_CANCELLED


def test_a_released_job_goes_back_to_its_place_without_a_lost_worker(store):
    job_id = create(store)
    claim(store, job_id)
    assert store.run(jobs.release(job_id, 1)).job_id == job_id
    assert state(store, job_id) == S.JOB_STATE_PENDING
    assert store.run(jobs.release(job_id, 1)) is None
    assert claim(store, job_id).attempt == 2


def test_a_job_over_its_queue_deadline_fails_with_queue_timeout(store):
    job_id = create(store, queue_timeout_ms=-1)
    assert claim(store, job_id) is None
    sweep(store)
    record = store.run(lookup.get(job_id, "acme"))
    assert record.state == S.JOB_STATE_FAILED
    assert b"QUEUE_TIMEOUT" in record.error


def test_a_lost_message_is_sent_again_but_only_where_the_queue_is_empty(store):
    job_id = create(store)
    assert sweep(store, stale_s=-1) == []
    found = store.run(jobs.sweep({"ocr": 0}, max_lost=3, stale_s=-1))
    assert [(m.kind, m.lane, m.job_id) for m in found] == [("ocr", 1, job_id)]
    assert store.run(jobs.sweep({"ocr": 0}, max_lost=3, stale_s=5)) == []


def test_a_child_of_a_parent_that_stopped_is_refused(store):
    parent = create(store, kind="reasoning")
    with pytest.raises(JobCancelled):
        create(store, parent=parent)
    claim(store, parent)
    child = create(store, parent=parent)
    assert store.run(jobs.cancel(parent, "acme")) == [child]


def test_another_tenants_job_is_not_there(store):
    job_id = create(store)
    for op in (lookup.get(job_id, "other"), jobs.cancel(job_id, "other"), jobs.delete(job_id, "other")):
        with pytest.raises(JobNotFound):
            store.run(op)


def test_only_a_terminal_job_can_be_deleted(store):
    job_id = create(store)
    with pytest.raises(JobNotTerminal):
        store.run(jobs.delete(job_id, "acme"))
    claim(store, job_id)
    store.run(jobs.fail(job_id, 1, MediaCorrupt("no image")))
    store.run(jobs.delete(job_id, "acme"))
    with pytest.raises(JobNotFound):
        store.run(lookup.get(job_id, "acme"))


def test_jobs_are_listed_newest_first_in_pages(store):
    ids = [create(store, labels={"n": str(n)}) for n in range(5)]
    create(store, tenant="other")
    first = store.run(lookup.list_page("acme", offset=0, limit=3))
    rest = store.run(lookup.list_page("acme", offset=3, limit=3))
    listed = [record.id for page in (first, rest) for record in page.records]
    assert sorted(listed) == sorted(ids)
    assert (first.looked_at, rest.looked_at) == (3, 2)
    assert first.records[0].labels["n"] in "01234"


def test_ids_sort_by_time():
    ids = [new_job_id() for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(job_id[14] == "7" and job_id[19] in "89ab" for job_id in ids)


def test_a_message_that_later_ones_overtook_is_sent_again_although_the_queue_is_never_empty(store):
    lost, later, last = create(store), create(store), create(store)
    store.redis.hincrby(f"triptych:job:{lost}", "published_ms", -60_000)
    assert sweep(store) == []
    claim(store, later)
    assert [m.job_id for m in sweep(store)] == [lost]
    assert sweep(store) == []
    assert state(store, last) == S.JOB_STATE_PENDING


def test_a_message_was_lost_if_a_slower_lane_is_served(store):
    lost, slow = create(store, lane=0), create(store, lane=2)
    store.redis.hincrby(f"triptych:job:{lost}", "published_ms", -60_000)
    store.redis.hincrby(f"triptych:job:{slow}", "published_ms", -120_000)
    claim(store, slow)
    assert [m.job_id for m in sweep(store)] == [lost]


def test_a_slower_lane_waits_for_a_faster_one_and_nothing_is_sent_again(store):
    waiting, fast = create(store, lane=2), create(store, lane=0)
    store.redis.hincrby(f"triptych:job:{waiting}", "published_ms", -60_000)
    claim(store, fast)
    assert sweep(store) == []


def test_a_child_whose_parent_ended_is_cancelled_instead_of_run(store):
    parent = create(store, kind="reasoning")
    claim(store, parent)
    child = create(store, parent=parent)
    store.run(jobs.fail(parent, 1, MediaCorrupt("no image")))
    assert claim(store, child) is None
    assert state(store, child) == S.JOB_STATE_CANCELLED


def test_a_child_of_a_parent_that_waits_for_its_next_attempt_runs(store):
    parent = create(store, kind="reasoning")
    claim(store, parent)
    child = create(store, parent=parent)
    store.run(jobs.release(parent, 1))
    assert claim(store, child).attempt == 1


def test_the_index_forgets_every_job_that_expired_however_many_outlive_it(store):
    kept = [create(store) for _ in range(25)]
    gone = create(store, ttl_ms=1)
    claim(store, gone)
    store.run(jobs.succeed(gone, 1, RESULT))
    while store.redis.exists(f"triptych:job:{gone}"):
        pass
    assert store.run(lookup.list_page("acme", offset=0, limit=50)).looked_at == len(kept) + 1
    sweep(store)
    assert store.run(lookup.list_page("acme", offset=0, limit=50)).looked_at == len(kept)
