"""The life of a job on a real Redis: every transition, and who may make it."""

import time

import pytest

from triptych.core import jobs, load, lookup
from triptych.core.errors import JobCancelled, JobNotFound, JobNotTerminal, MediaCorrupt, QueueFull, RequestIdReused
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.v1.job_pb2 import JobEvent, JobProgress, JobResult, JobState, TextDelta
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


def claim(store, worker="w1", *, kind="ocr", lease_s=10, **limits):
    return store.run(jobs.claim(kind, worker, lease_s, **limits))


def state(store, job_id):
    return store.run(lookup.get(job_id, "acme")).state


def sweep(store, sweeper="s", *, lease_s=0):
    """What goes back to its lane; None: another one sweeps."""
    found = store.run(jobs.sweep(("ocr", "reasoning"), sweeper, term_s=3, lease_s=lease_s))
    return found and [job_id for _kind, job_id in found.back]


def test_a_job_goes_from_pending_to_running_to_succeeded(store):
    job_id = create(store)
    assert state(store, job_id) == S.JOB_STATE_PENDING
    record = claim(store)
    assert (record.attempt, record.state, record.tenant) == (1, S.JOB_STATE_RUNNING, "acme")
    assert store.run(jobs.succeed(job_id, 1, RESULT))
    ended = store.run(lookup.get(job_id, "acme"))
    assert ended.state == S.JOB_STATE_SUCCEEDED
    assert JobResult.FromString(ended.result) == RESULT
    assert ended.expire_ms == ended.end_ms + 60_000


def test_only_one_worker_gets_a_job(store):
    job_id = create(store)
    assert claim(store, "w1").id == job_id
    assert claim(store, "w2") == "none"


def test_the_same_request_id_joins_the_job_and_another_body_is_refused(store):
    first = create(store, request_id="r1", request_digest="a")
    assert store.run(jobs.create(new_job(request_id="r1", request_digest="a"), max_pending=9)) == ("joined", first)
    with pytest.raises(RequestIdReused):
        create(store, request_id="r1", request_digest="b")
    assert create(store, tenant="other", request_id="r1", request_digest="b") != first


def test_after_its_caller_went_away_a_request_begins_anew_and_the_first_job_does_not_end_as_if_it_were_that(store):
    first = create(store, request_id="r1", request_digest="a")
    claim(store)
    store.run(jobs.cancel(first, "acme", abandoned=True))
    second = create(store, request_id="r1", request_digest="a")
    assert second != first
    assert store.run(jobs.succeed(first, 1, RESULT))  # it was done before it heard
    assert state(store, first) == S.JOB_STATE_CANCELLED
    claim(store)
    assert store.run(jobs.succeed(second, 1, RESULT))
    assert state(store, second) == S.JOB_STATE_SUCCEEDED


def test_a_job_that_ended_before_its_caller_went_away_is_joined_again(store):
    first = create(store, request_id="r1", request_digest="a")
    claim(store)
    store.run(jobs.succeed(first, 1, RESULT))
    store.run(jobs.cancel(first, "acme", abandoned=True))
    assert create(store, request_id="r1", request_digest="a") == first
    assert state(store, first) == S.JOB_STATE_SUCCEEDED


def test_a_full_lane_takes_nothing_more(store):
    create(store)
    with pytest.raises(QueueFull):
        store.run(jobs.create(new_job(), max_pending=1))
    assert store.run(jobs.create(new_job(lane=0), max_pending=1))[0] == "created"


def test_a_lane_filled_by_one_tenant_still_takes_the_share_of_another(store):
    for _ in range(4):
        store.run(jobs.create(new_job(), max_pending=4))
    for _ in range(2):
        store.run(jobs.create(new_job(tenant="other"), max_pending=4))
    for tenant in ("acme", "other"):
        with pytest.raises(QueueFull):
            store.run(jobs.create(new_job(tenant=tenant), max_pending=4))
    # Its weight is its share of the places.
    for _ in range(3):
        store.run(jobs.create(new_job(tenant="large", weight=6.0), max_pending=4))


def test_who_is_refused_is_told_when_a_place_will_be_free_one_after_the_other(store):
    for _ in range(60):
        create(store)
        claim(store)
    create(store)
    waits = []
    for _ in range(3):
        with pytest.raises(QueueFull) as caught:
            store.run(jobs.create(new_job(), max_pending=1))
        waits.append(caught.value.retry_after_s)
    # 60 jobs were taken just now, and the count fades over 20 s: about three a second.
    assert waits[0] == pytest.approx(1 / 3, rel=0.5)
    assert waits[1] == pytest.approx(2 * waits[0], rel=0.2)
    assert waits[2] == pytest.approx(3 * waits[0], rel=0.2)


def test_a_lane_that_is_not_served_gives_no_hope_because_another_is(store):
    create(store, lane=2)
    for _ in range(60):
        create(store)
        claim(store)
    with pytest.raises(QueueFull) as caught:
        store.run(jobs.create(new_job(lane=2), max_pending=1))
    assert caught.value.retry_after_s == 30


def test_a_place_is_kept_for_who_comes_back_when_told(store):
    def ask(request_id):
        return store.run(jobs.create(new_job(request_id=request_id), max_pending=4))[0]

    for _ in range(100):
        create(store)
        claim(store)
    for _ in range(4):
        create(store)
    with pytest.raises(QueueFull) as told:
        ask("told")
    claim(store)
    with pytest.raises(QueueFull):
        ask("newcomer")
    # Who comes too early is told the same time.
    with pytest.raises(QueueFull) as early:
        ask("told")
    assert early.value.retry_after_s <= told.value.retry_after_s
    time.sleep(told.value.retry_after_s)
    assert ask("told") == "created"


def test_no_more_than_a_quarter_of_the_places_is_kept_for_those_who_may_not_come(store):
    for _ in range(8):
        create(store)
    for number in range(8):
        with pytest.raises(QueueFull):
            store.run(jobs.create(new_job(request_id=f"{number}"), max_pending=8))
    now_s, _ = store.redis.time()
    store.redis.zadd("triptych:told:ocr:1", {f"gone-{number}": now_s * 1000 for number in range(8)})
    for _ in range(2):
        claim(store)
    with pytest.raises(QueueFull):
        store.run(jobs.create(new_job(), max_pending=8))
    claim(store)
    assert store.run(jobs.create(new_job(), max_pending=8))[0] == "created"


def test_a_worker_that_lost_its_lease_changes_nothing(store):
    job_id = create(store)
    claim(store, lease_s=-1)
    assert sweep(store) == [job_id]
    second = claim(store, "w2")
    assert second.attempt == 2
    assert store.run(jobs.renew(job_id, 1, 10)).standing == "lost"
    assert not store.run(jobs.emit(job_id, 1, JobEvent(progress=JobProgress(stage="ocr"))))
    assert not store.run(jobs.save_part(job_id, 1, "page:1", b"x"))
    assert not store.run(jobs.succeed(job_id, 1, RESULT))
    assert store.run(jobs.renew(job_id, 2, 10)).standing == "ok"
    assert store.run(jobs.succeed(job_id, 2, RESULT))


def test_an_event_that_is_sent_again_after_a_lost_reply_is_told_once(store):
    job_id = create(store)
    claim(store)
    told, same = (jobs.emit(job_id, 1, JobEvent(text_delta=TextDelta(text="ha"))) for _ in range(2))
    before = store.redis.xlen(f"triptych:events:{job_id}")
    assert all(store.run(op) for op in (told, told, same, same))
    assert store.redis.xlen(f"triptych:events:{job_id}") == before + 2


def test_a_claim_that_is_sent_again_after_a_lost_answer_gives_the_job_that_it_took(store):
    first, second = create(store), create(store)
    lost, other = (jobs.claim("ocr", "w1", 10) for _ in range(2))
    assert [(r.id, r.attempt) for r in (store.run(lost), store.run(lost))] == [(first, 1), (first, 1)]
    assert store.run(other).id == second
    # One that was cancelled meanwhile too: whoever holds it ends it.
    store.run(jobs.cancel(first, "acme"))
    assert store.run(lost).state == S.JOB_STATE_CANCELLING
    store.run(jobs.fail(first, 1, JobCancelled("the job was cancelled")))
    assert store.run(lost) == "none"


def test_a_claim_that_is_sent_again_when_its_lease_is_over_does_not_get_the_next_attempts_job(store):
    create(store)
    lost = jobs.claim("ocr", "w1", -1)
    assert store.run(lost).attempt == 1
    sweep(store)
    assert claim(store, "w2").attempt == 2
    assert store.run(lost) == "none"


def test_parts_survive_the_attempt_that_made_them(store):
    job_id = create(store)
    claim(store, lease_s=-1)
    assert store.run(jobs.save_part(job_id, 1, "page:1", b"\x00one"))
    sweep(store)
    claim(store)
    assert store.run(lookup.parts(job_id)) == {"page:1": b"\x00one"}


def test_the_units_in_hand_when_a_worker_died_are_blamed_and_no_others(store):
    job_id = create(store)
    claim(store, lease_s=-1)
    assert store.run(jobs.begin(job_id, 1, ("page:1", "page:2", "page:3")))
    store.run(jobs.save_part(job_id, 1, "page:1", b"x"))
    store.run(jobs.settle(job_id, 1, "page:2"))
    sweep(store)
    assert store.run(lookup.blame(job_id)) == {"page:3": 1}
    claim(store)
    assert not store.run(jobs.begin(job_id, 1, ("page:4",)))
    # A drain is nobody's fault.
    store.run(jobs.begin(job_id, 2, ("page:5",)))
    store.run(jobs.release(job_id, 2))
    assert store.run(lookup.blame(job_id)) == {"page:3": 1}


def test_a_unit_that_is_set_aside_is_named_and_its_job_is_a_dead_letter(store):
    job_id = create(store)
    claim(store)
    for _ in range(2):
        store.run(jobs.settle(job_id, 1, "page:7", set_aside=True))
    store.run(jobs.settle(job_id, 1, "page:9", set_aside=True))
    store.run(jobs.succeed(job_id, 1, RESULT))
    assert list(store.run(lookup.get(job_id, "acme")).to_job().set_aside_units) == ["page:7", "page:9"]
    assert store.redis.zrange("triptych:dead:acme", 0, -1) == [job_id.encode()]


def test_a_job_whose_workers_die_without_a_unit_in_hand_is_set_aside_in_the_end(store):
    job_id = create(store)
    for attempt in range(1, jobs.MAX_UNEXPLAINED_LOSSES + 1):
        assert claim(store, lease_s=-1).attempt == attempt
        sweep(store)
    record = store.run(lookup.get(job_id, "acme"))
    assert record.state == S.JOB_STATE_FAILED
    assert b"WORKER_LOST" in record.error
    assert record.set_aside == "job"
    assert claim(store) == "none"


def test_a_job_that_gets_on_is_never_set_aside_for_its_workers_deaths(store):
    job_id = create(store)
    for attempt in range(1, 2 * jobs.MAX_UNEXPLAINED_LOSSES):
        claim(store, lease_s=-1)
        store.run(jobs.save_part(job_id, attempt, f"page:{attempt}", b"x"))
        sweep(store)
    assert state(store, job_id) == S.JOB_STATE_PENDING


def test_a_pending_job_is_cancelled_at_once_and_a_running_one_when_its_worker_says_so(store):
    running = create(store)
    claim(store)
    waiting = create(store)
    store.run(jobs.cancel(waiting, "acme"))
    store.run(jobs.cancel(running, "acme"))
    assert state(store, waiting) == S.JOB_STATE_CANCELLED
    assert state(store, running) == S.JOB_STATE_CANCELLING
    assert store.run(jobs.renew(running, 1, 10)).standing == "cancel"
    assert store.run(jobs.fail(running, 1, JobCancelled("stopped")))
    assert state(store, running) == S.JOB_STATE_CANCELLED


def test_a_cancelling_job_whose_worker_died_is_cancelled_by_the_sweeper(store):
    job_id = create(store)
    claim(store, lease_s=-1)
    store.run(jobs.cancel(job_id, "acme"))
    assert sweep(store) == []
    assert state(store, job_id) == S.JOB_STATE_CANCELLED


def test_a_released_job_goes_back_to_its_place_without_a_lost_worker(store):
    job_id = create(store)
    claim(store)
    assert store.run(jobs.release(job_id, 1))
    assert state(store, job_id) == S.JOB_STATE_PENDING
    assert not store.run(jobs.release(job_id, 1))
    assert claim(store).attempt == 2


def test_a_job_over_its_queue_deadline_fails_with_queue_timeout_even_before_it_is_swept(store):
    late, swept = create(store, queue_timeout_ms=-1), create(store, lane=2, queue_timeout_ms=-1)
    assert claim(store, lowest_lane=1) == "held"
    assert state(store, late) == S.JOB_STATE_FAILED
    sweep(store)
    record = store.run(lookup.get(swept, "acme"))
    assert record.state == S.JOB_STATE_FAILED
    assert b"QUEUE_TIMEOUT" in record.error


def test_a_job_whose_caller_is_past_its_deadline_fails_with_call_timeout(store):
    job_id = create(store, call_timeout_ms=-1)
    sweep(store)
    assert b"CALL_TIMEOUT" in store.run(lookup.get(job_id, "acme")).error


def test_a_job_waits_as_long_as_the_most_patient_of_its_callers(store):
    hasty = {"request_id": "r", "request_digest": "d", "call_timeout_ms": -1}
    job_id = create(store, **hasty)
    assert create(store, **{**hasty, "call_timeout_ms": 60_000}) == job_id
    assert sweep(store) == []
    assert 0 < claim(store).call_left_ms <= 60_000
    assert create(store, **{**hasty, "call_timeout_ms": 0}) == job_id
    assert store.run(jobs.renew(job_id, 1, 10)).call_left_ms is None


def test_a_job_that_went_back_may_wait_as_long_as_a_new_one(store):
    job_id = create(store, queue_timeout_ms=50)
    claim(store)
    store.run(jobs.release(job_id, 1))
    assert (
        float(store.redis.zscore("triptych:deadlines", job_id)) >= store.run(lookup.get(job_id, "acme")).update_ms + 50
    )


def test_one_sweeper_at_a_time_is_elected(store):
    assert sweep(store, "a") == []
    assert sweep(store, "b") is None
    store.redis.delete("triptych:sweeper")
    assert sweep(store, "b") == []
    assert sweep(store, "a") is None


def test_after_a_silence_leases_are_left_alone_until_their_holders_could_speak(store):
    job_id = create(store)
    assert sweep(store, lease_s=10) == []
    claim(store, lease_s=-1)
    # A sweep a moment later is no silence, but the first one of all was.
    assert sweep(store, lease_s=10) == []
    store.redis.hset("triptych:sweeping", "quiet_until_ms", 0)
    assert sweep(store, lease_s=10) == [job_id]


def test_after_a_silence_workers_are_live_until_they_could_speak(store):
    def live():
        return [found.worker for found in store.run(load.live_workers("ocr"))]

    def ago(seconds):
        now_s, micros = store.redis.time()
        return (now_s - seconds) * 1000 + micros // 1000

    store.redis.hset("triptych:sweeping", mapping={"last_ms": ago(30), "quiet_until_ms": 0})
    store.redis.zadd("triptych:workers:ocr", {"was-there m": ago(26), "was-gone m": ago(31)})
    assert live() == ["was-there"]
    sweep(store, lease_s=10)
    assert live() == ["was-there"]
    store.redis.hset("triptych:sweeping", "quiet_until_ms", 0)
    assert live() == []


def test_a_sweep_counts_what_waits(store):
    create(store)
    create(store, lane=2)
    found = store.run(jobs.sweep(("ocr", "vision"), "s", term_s=3, lease_s=0))
    assert found.waiting == {"ocr": 2, "vision": 0}


def test_a_child_of_a_parent_that_stopped_is_refused(store):
    parent = create(store, kind="reasoning")
    with pytest.raises(JobCancelled):
        create(store, parent=parent)
    claim(store, kind="reasoning")
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
    claim(store)
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


def test_a_child_whose_parent_ended_is_cancelled_instead_of_run(store):
    parent = create(store, kind="reasoning")
    claim(store, kind="reasoning")
    child = create(store, parent=parent)
    store.run(jobs.fail(parent, 1, MediaCorrupt("no image")))
    assert claim(store) == "none"
    assert state(store, child) == S.JOB_STATE_CANCELLED


def test_a_child_of_a_parent_that_waits_for_its_next_attempt_runs(store):
    parent = create(store, kind="reasoning")
    claim(store, kind="reasoning")
    child = create(store, parent=parent)
    store.run(jobs.release(parent, 1))
    assert claim(store).id == child


def test_the_index_forgets_every_job_that_expired_however_many_outlive_it(store):
    gone = create(store, ttl_ms=1)
    kept = [create(store) for _ in range(25)]
    claim(store)
    store.run(jobs.succeed(gone, 1, RESULT))
    while store.redis.exists(f"triptych:job:{gone}"):
        pass
    assert store.run(lookup.list_page("acme", offset=0, limit=50)).looked_at == len(kept) + 1
    sweep(store)
    assert store.run(lookup.list_page("acme", offset=0, limit=50)).looked_at == len(kept)
