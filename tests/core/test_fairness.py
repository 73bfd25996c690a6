"""Who is next: lanes, then tenants by weight, then whose job is due first."""

import pytest

from triptych.core import jobs, lookup
from triptych.core.jobs import NewJob
from triptych.core.records import JobRecord, new_job_id
from triptych.core.store import Store


@pytest.fixture
def lane(redis_url):
    store = Store(redis_url)
    yield Lane(store)
    store.close()


class Lane:
    def __init__(self, store):
        self.store = store

    def add(self, tenant="a", count=1, **changes):
        """Gives the id of the last one."""
        for _ in range(count):
            facts = {
                "id": new_job_id(), "tenant": tenant, "kind": "ocr", "lane": 1, "spec": b"",
                "queue_timeout_ms": 60_000, "execution_timeout_ms": 60_000, "ttl_ms": 60_000, **changes,
            }  # fmt: skip
            _, job_id = self.store.run(jobs.create(NewJob(**facts), max_pending=10_000))
        return job_id

    def take(self, **limits):
        return self.store.run(jobs.claim("ocr", "w", 10, **limits))

    def tenants(self, count, **limits):
        """The tenants of the next jobs."""
        return [self.take(**limits).tenant for _ in range(count)]

    def age(self, job_id, lane):
        """Makes a job look as if it had waited long."""
        self.store.redis.zincrby(f"triptych:pending:ocr:{lane}", -60_000, job_id)


def test_lanes_are_served_in_order(lane):
    for number in (2, 1, 0):
        lane.add(lane=number)
    assert [lane.take().lane for _ in range(3)] == [0, 1, 2]


def test_a_lane_whose_jobs_have_waited_long_goes_first_every_fourth_time(lane):
    for _ in range(2):
        lane.age(lane.add(lane=2), 2)
    lane.add(count=10, lane=0)
    assert [lane.take().lane for _ in range(8)] == [0, 0, 0, 2, 0, 0, 0, 2]


def test_a_tenant_with_many_jobs_delays_another_by_one(lane):
    lane.add("many", count=50)
    lane.tenants(5)
    lane.add("single")
    assert "single" in lane.tenants(2)


def test_tenants_share_by_weight(lane):
    lane.add("light", count=40)
    lane.add("heavy", count=40, weight=3.0)
    taken = lane.tenants(40)
    assert taken.count("heavy") == pytest.approx(30, abs=1)


def test_idling_earns_nothing(lane):
    lane.add("busy", count=40)
    lane.add("idle")
    lane.tenants(20)
    lane.add("idle", count=10)
    assert lane.tenants(10).count("idle") == pytest.approx(5, abs=1)


def test_sending_jobs_one_by_one_earns_nothing_either(lane):
    lane.add("patient", count=20)
    taken = []
    lane.add("single")
    for _ in range(20):
        taken += lane.tenants(1)
        if taken[-1] == "single":
            lane.add("single")
    assert taken.count("single") == pytest.approx(10, abs=1)


def test_what_is_remembered_of_tenants_that_are_gone_fades(lane):
    for number in range(50):
        lane.add(f"t{number}")
    lane.tenants(50)
    lane.add("last", count=3)
    lane.tenants(3)
    assert lane.store.redis.zcard("triptych:rests:ocr:1") == 1
    assert not lane.store.redis.exists("triptych:turns:ocr:1", "triptych:weights:ocr:1")


def test_inside_a_tenant_the_job_that_is_due_first_is_first(lane):
    late = lane.add(queue_timeout_ms=90_000)
    soon = lane.add(call_timeout_ms=5_000)
    usual = lane.add()
    assert [lane.take().id for _ in range(3)] == [soon, usual, late]


def test_jobs_that_are_not_for_this_worker_now_stay_where_they_are(lane):
    lane.add("full", lane=0)
    lane.add("other", lane=2)
    assert lane.take(lowest_lane=0, held_back=["full"]) == "held"
    assert lane.take(held_back=["full"]).tenant == "other"
    assert lane.take().tenant == "full"
    assert lane.take() == "none"


def test_a_tenant_beyond_many_that_are_held_back_is_found(lane):
    names = [f"t{number:02}" for number in range(40)]
    for name in names:
        lane.add(name)
    assert lane.take(held_back=names[:-1]).tenant == names[-1]
    assert lane.take(held_back=names[:-1]) == "held"


def test_a_waiting_job_is_told_how_many_are_ahead_of_it(lane):
    def position(job_id):
        return lane.store.run(lookup.get(job_id, "a")).to_job().progress.queue_position

    first, second = lane.add(), lane.add(queue_timeout_ms=70_000)
    assert (position(first), position(second)) == (0, 1)
    lane.add("many", count=10)
    assert (position(first), position(second)) == (1, 3)
    lane.add("urgent", count=2, lane=0)
    assert position(first) == 3
    running = lane.take()
    assert isinstance(running, JobRecord)
    assert not lane.store.run(lookup.get(running.id, "urgent")).to_job().progress.HasField("queue_position")
