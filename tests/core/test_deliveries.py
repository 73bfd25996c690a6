"""Messages to webhooks on a real Redis: made with the end of the job, fenced, kept apart by host, forgotten in time."""

import pytest

from triptych.core import deliveries, jobs, lookup
from triptych.core.errors import DeliveryNotFound, JobNotFound
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.v1.job_pb2 import JobState, JobView

URL = "https://hooks.example.com/jobs?token=t"


@pytest.fixture
def store(redis_url):
    store = Store(redis_url)
    yield store
    store.close()


def ended_job(store, url=URL, tenant="acme", **changes):
    """A job that ended: cancelled before a worker took it."""
    job = NewJob(
        id=new_job_id(), tenant=tenant, kind="ocr", lane=1, spec=b"much to do", webhook=url, labels={"team": "x"},
        **{"queue_timeout_ms": 60_000, "execution_timeout_ms": 60_000, "ttl_ms": 60_000, **changes},
    )  # fmt: skip
    store.run(jobs.create(job, max_pending=1000))
    store.run(jobs.cancel(job.id, tenant))
    return job.id


def lease(store, *, lease_s=30, limit=100, per_host=100, busy=None):
    return store.run(deliveries.lease(lease_s=lease_s, limit=limit, per_host=per_host, busy=busy or {}))


def listed(store, tenant="acme"):
    return store.run(deliveries.list_page(tenant, after="", limit=100))


def test_the_end_of_a_job_leaves_a_message_with_all_that_is_told(store):
    job_id = ended_job(store)
    told = store.run(lookup.get(job_id, "acme")).to_job(JobView.JOB_VIEW_BASIC)
    (delivery,) = lease(store).deliveries
    assert (delivery.id, delivery.url, delivery.host) == (job_id, URL, "hooks.example.com")
    assert delivery.record.to_job(JobView.JOB_VIEW_BASIC) == told
    assert told.state == JobState.JOB_STATE_CANCELLED
    assert told.labels == {"team": "x"}
    assert delivery.record.spec == b""


def test_a_job_without_a_webhook_leaves_none(store):
    ended_job(store, url="")
    assert lease(store).deliveries == []
    assert store.redis.keys("triptych:deliver*") == []


def test_a_message_outlives_its_job(store):
    job_id = ended_job(store, ttl_ms=1)
    while store.redis.exists(f"triptych:job:{job_id}"):
        pass
    with pytest.raises(JobNotFound):
        store.run(lookup.get(job_id, "acme"))
    assert lease(store).deliveries[0].record.end_ms


def test_a_leased_message_is_nobody_elses_until_the_lease_ends(store):
    job_id = ended_job(store)
    assert [d.id for d in lease(store, lease_s=-1).deliveries] == [job_id]
    # Whoever had it was killed.
    assert [d.attempts for d in lease(store).deliveries] == [2]
    assert lease(store).deliveries == []


def test_what_came_of_an_attempt_counts_only_while_no_later_one_has_begun(store):
    ended_job(store)
    (first,) = lease(store, lease_s=-1).deliveries
    (second,) = lease(store).deliveries
    for stale in (deliveries.taken(first), deliveries.again(first, 0, "e"), deliveries.give_up(first, 60, "e")):
        assert not store.run(stale)
    assert store.run(deliveries.taken(second))
    assert not store.run(deliveries.taken(second))
    assert listed(store) == []
    assert store.redis.keys("triptych:deliver*") == store.redis.keys("triptych:outbox*") == []


def test_a_failed_attempt_lets_it_wait_and_says_why(store):
    ended_job(store)
    (delivery,) = lease(store).deliveries
    store.run(deliveries.again(delivery, 60, "HTTP 503"))
    assert lease(store).deliveries == []
    (waiting,) = listed(store)
    assert (waiting.attempts, waiting.last_error, waiting.dead) == (1, "HTTP 503", False)
    assert 0 < waiting.next_ms - waiting.record.end_ms - 60_000 < 30_000


def test_a_dead_letter_is_kept_for_a_while_and_can_be_replayed(store):
    job_id = ended_job(store)
    store.run(deliveries.give_up(lease(store).deliveries[0], 60, "HTTP 410"))
    leased = lease(store)
    assert (leased.deliveries, leased.dead_count) == ([], 1)
    assert [(d.dead, d.next_ms) for d in listed(store)] == [(True, 0)]
    replayed = store.run(deliveries.replay(job_id, "acme"))
    assert (replayed.dead, replayed.series, replayed.attempts) == (False, 0, 1)
    (again,) = lease(store).deliveries
    assert (again.series, again.attempts) == (1, 2)


def test_a_replay_overrides_an_attempt_that_is_under_way(store):
    job_id = ended_job(store)
    (under_way,) = lease(store).deliveries
    store.run(deliveries.replay(job_id, "acme"))
    assert not store.run(deliveries.again(under_way, 3600, "HTTP 500"))
    (replayed,) = lease(store).deliveries
    assert (replayed.id, replayed.series) == (job_id, under_way.series)
    assert not store.run(deliveries.again(under_way, 3600, "HTTP 500"))
    assert store.run(deliveries.taken(replayed))


def test_a_dead_letter_is_forgotten_in_time(store):
    job_id = ended_job(store)
    store.run(deliveries.give_up(lease(store).deliveries[0], -1, "HTTP 410"))
    assert lease(store).dead_count == 0
    assert listed(store) == []
    with pytest.raises(DeliveryNotFound):
        store.run(deliveries.replay(job_id, "acme"))


def test_a_host_gets_so_many_at_a_time_and_others_are_not_behind_it(store):
    for _ in range(20):
        ended_job(store, url="https://slow.example/a")
    other = ended_job(store, url="https://quick.example/b")
    first = lease(store, limit=5, per_host=4).deliveries
    assert sorted(d.host for d in first) == ["quick.example"] + ["slow.example"] * 4
    ended_job(store, url="https://quick.example/b")
    busy = {"slow.example": 4, "quick.example": 1}
    assert [d.host for d in lease(store, limit=1, per_host=4, busy=busy).deliveries] == ["quick.example"]
    assert other in [d.id for d in first]


def test_upper_case_makes_no_other_host(store):
    ended_job(store, url="https://HOOKS.example/a")
    ended_job(store, url="https://hooks.EXAMPLE/a")
    assert len(lease(store, per_host=1).deliveries) == 1


def test_another_tenants_delivery_is_not_there(store):
    job_id = ended_job(store)
    assert listed(store, "other") == []
    with pytest.raises(DeliveryNotFound):
        store.run(deliveries.replay(job_id, "other"))
    assert not store.run(deliveries.drop(job_id, "other"))
    assert store.run(deliveries.drop(job_id, "acme"))
    assert lease(store).deliveries == listed(store) == []


def test_pages_go_on_after_what_was_seen_whatever_is_taken_meanwhile(store):
    ids = [ended_job(store) for _ in range(6)]
    first = store.run(deliveries.list_page("acme", after="", limit=3))
    assert [d.place for d in first] == sorted((d.place for d in first), reverse=True)
    store.run(deliveries.drop(first[0].id, "acme"))
    store.run(deliveries.drop(first[2].id, "acme"))
    rest = store.run(deliveries.list_page("acme", after=first[2].place, limit=100))
    assert sorted(d.id for d in (*first, *rest)) == sorted(ids)
