"""What a worker may take, given what it holds."""

import threading

import pytest

from triptych.core import jobs
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.testing import ThrowawayRedis
from triptych.workers.claims import Claims, thread_count
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases


class Worker:
    """A worker of which one tenant may have two threads."""

    def __init__(self, settings):
        self.store, self.broker = Store(settings.redis_url), Broker(settings)
        self.execution = Execution(settings, self.store, open_blobs(settings), self.broker, worker="w")
        self.leases = Leases(
            self.store, kind="ocr", worker="w", models=list, lease_s=60, on_hung=self.execution.abandon
        )
        self.claims = Claims(self.execution, self.leases, kind="ocr", share=2)

    def add(self, tenant, lane=0):
        job = NewJob(
            id=new_job_id(), tenant=tenant, kind="ocr", lane=lane, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000,
        )  # fmt: skip
        return self.store.run(jobs.create(job, max_pending=99))[1]


@pytest.fixture
def worker(settings):
    worker = Worker(settings)
    yield worker
    worker.broker.close()
    worker.store.close()


def test_nothing_waits_and_nothing_is_given(worker):
    assert worker.claims.next() is None


def test_a_tenant_that_has_its_share_leaves_the_rest_to_others(worker):
    for _ in range(3):
        worker.add("many")
    held = [worker.claims.next() for _ in range(2)]
    found = []
    waiting = threading.Thread(target=lambda: found.append(worker.claims.next()))
    waiting.start()
    worker.add("single")
    waiting.join(10)
    assert [attempt.tenant for attempt in (*held, *found)] == ["many", "many", "single"]
    # The message that was kept waiting is of use as soon as a thread is free.
    waiting = threading.Thread(target=lambda: found.append(worker.claims.next()))
    waiting.start()
    worker.leases.drop(held[0])
    waiting.join(10)
    assert found[-1].tenant == "many"


def test_a_job_that_is_not_interactive_finds_a_thread_beside_the_long_ones_of_another_tenant(worker):
    for _ in range(3):
        worker.add("many", lane=1)
    held = [worker.claims.next() for _ in range(2)]
    for _ in range(2):
        worker.add("single", lane=1)
    held.append(worker.claims.next())
    assert [attempt.tenant for attempt in held] == ["many", "many", "single"]
    # Each tenant finds one such thread, and no more.
    found = []
    waiting = threading.Thread(target=lambda: found.append(worker.claims.next()))
    waiting.start()
    worker.leases.drop(held[2])
    waiting.join(10)
    assert found[0].tenant == "single"


def test_jobs_that_are_not_interactive_leave_room_for_those_that_are(worker):
    for tenant in "abcd":
        worker.add(tenant, lane=2)
    held = [worker.claims.next() for _ in range(3)]
    worker.add("e", lane=0)
    assert [attempt.lane for attempt in (*held, worker.claims.next())] == [2, 2, 2, 0]


def test_a_worker_that_drains_takes_nothing(worker):
    worker.add("a")
    worker.leases.drain(60)
    assert worker.claims.next() is None


def test_there_are_always_threads_beyond_the_share():
    assert [thread_count(share) for share in (1, 2, 16)] == [3, 4, 24]


def test_the_job_that_a_claim_took_whose_answer_was_lost_is_the_next_one_in_its_first_attempt(tmp_path):
    server = ThrowawayRedis().start()
    worker = Worker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path))
    worker.store.redis.connection_pool.connection_kwargs["socket_timeout"] = 0.2
    ids = [worker.add("t") for _ in range(2)]
    worker.store.redis.connection_pool.disconnect()
    server.freeze()
    assert worker.execution.claim("ocr") == "held"
    server.thaw()
    assert [(a.job_id, a.number) for a in (worker.claims.next(), worker.claims.next())] == [(ids[0], 1), (ids[1], 1)]
    assert worker.claims.next() is None
    worker.broker.close()
    worker.store.close()
    server.close()


def test_a_message_is_kept_until_redis_is_back_and_given_up_when_the_worker_leaves(tmp_path):
    server = ThrowawayRedis().start()
    worker = Worker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path))
    job_id = worker.add("t")
    server.kill()
    found = []
    asking = threading.Thread(target=lambda: found.append(worker.claims.next()))
    asking.start()
    server.start()
    asking.join(20)
    assert [attempt.job_id for attempt in found] == [job_id]
    server.kill()
    asking = threading.Thread(target=lambda: found.append(worker.claims.next()))
    asking.start()
    worker.leases.drain(after_s=0)
    asking.join(20)
    assert found[1:] == [None]
    worker.broker.close()
    worker.store.close()
    server.close()
