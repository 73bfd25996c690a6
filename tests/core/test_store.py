"""What counts as "Redis is away": everything that passes without anybody changing the program."""

import asyncio

import pytest
import redis

from triptych.core import jobs, load, lookup
from triptych.core.errors import BackendUnavailable
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import AsyncStore, Store


@pytest.fixture(params=["min-replicas-to-write", "maxmemory"])
def refusing(request, redis_url):
    """A server that takes no writes for now, for one reason or another; a full disk and a failover look the same."""
    admin = redis.Redis.from_url(redis_url)
    admin.config_set(request.param, 1)
    yield redis_url
    admin.config_set(request.param, 0)
    admin.close()


def new_job():
    job = NewJob(
        id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=1, execution_timeout_ms=1, ttl_ms=1
    )
    return jobs.create(job, max_pending=9)


def test_a_server_that_takes_no_writes_is_away(refusing):
    store = Store(refusing)
    for work in (lambda: store.run(new_job()), lambda: store.run_all([new_job(), new_job()])):
        with pytest.raises(BackendUnavailable):
            work()
    store.close()


async def test_a_server_that_takes_no_writes_is_away_for_services_too(refusing):
    store = AsyncStore(refusing)
    with pytest.raises(BackendUnavailable):
        await store.run(new_job())
    await store.close()


def test_a_mistake_of_ours_is_no_outage(redis_url):
    store = Store(redis_url)
    store.redis.set("triptych:parts:j", "no hash")
    with pytest.raises(redis.exceptions.ResponseError):
        store.run(lookup.parts("j"))
    store.close()


async def test_a_cancellation_is_heeded_at_every_step_of_a_call(redis_url):
    # While it connects, the client library loses one now and then: the call went on, and whoever cancelled it waited.
    for steps in range(80):
        store = AsyncStore(redis_url)
        call = asyncio.create_task(store.run(load.live_workers("ocr")))
        for _ in range(steps):
            await asyncio.sleep(0)
        asked = call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() or not asked, f"lost after {steps} steps"
        await store.close()
