"""New bytes and new jobs are refused while there is still room for those that were accepted."""

import asyncio

import pytest

from triptych.core.errors import BackendUnavailable, HostExhausted
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.testing import ThrowawayRedis
from triptych.core.watermarks import Watermarks, disk_is_short

MIB = 1024 * 1024


@pytest.fixture
async def watermarks(settings):
    store = AsyncStore(settings.redis_url)

    def build(free_memory=lambda: 8192 * MIB, **changes):
        return Watermarks(settings.model_copy(update=changes), store, free_memory=free_memory)

    yield build
    await store.close()


async def refusal(admission):
    with pytest.raises(HostExhausted) as refused:
        await admission
    assert refused.value.retry_after_s
    return refused.value.metadata


async def admitted(*admissions):
    """Whether all are admitted; a refusal comes out as the error that it is."""
    await asyncio.gather(*admissions)
    return True


async def test_an_ordinary_machine_refuses_nothing(settings):
    store = AsyncStore(settings.redis_url)
    marks = Watermarks(settings, store)
    assert await admitted(marks.admit_bytes(MIB), marks.admit_job(MIB))
    await store.close()


async def test_low_memory_refuses_bytes_and_jobs(watermarks):
    low = watermarks(free_memory=lambda: 99 * MIB, min_free_memory_bytes=100 * MIB)
    facts = {"resource": "memory", "free_bytes": str(99 * MIB), "wanted_bytes": "5"}
    assert await refusal(low.admit_bytes(5)) == facts
    assert await refusal(low.admit_job(5)) == facts


async def test_memory_that_nobody_knows_refuses_nothing(watermarks):
    assert await admitted(watermarks(free_memory=lambda: None).admit_job(MIB))


async def test_a_disk_takes_what_leaves_the_mark_and_no_more(watermarks, small_disk):
    marks = watermarks(blob_dir=small_disk.path, min_free_disk_bytes=MIB)
    assert await admitted(marks.admit_bytes(3 * MIB), marks.admit_job(3 * MIB))
    facts = {"resource": "disk", "free_bytes": str(4 * MIB), "wanted_bytes": str(3 * MIB + 1)}
    assert await refusal(marks.admit_bytes(3 * MIB + 1)) == facts
    assert await refusal(marks.admit_job(3 * MIB + 1)) == facts


async def test_redis_near_its_maxmemory_refuses_jobs_and_the_bytes_that_go_there(watermarks, redis_used):
    redis_used(0.95)
    assert (await refusal(watermarks().admit_job(0)))["resource"] == "redis"
    assert (await refusal(watermarks(blob_store="redis").admit_bytes(0)))["resource"] == "redis"
    assert await admitted(watermarks().admit_bytes(MIB))


async def test_bytes_that_go_to_redis_count_there(watermarks, redis_used):
    redis_used(0.5)
    assert await admitted(watermarks().admit_job(1024 * MIB))
    assert (await refusal(watermarks(blob_store="redis").admit_job(1024 * MIB)))["resource"] == "redis"


async def test_0_switches_each_mark_off(watermarks, redis_used, small_disk):
    small_disk.fill()
    redis_used(0.99)
    marks = watermarks(
        free_memory=lambda: 0, blob_dir=small_disk.path,
        min_free_disk_bytes=0, min_free_memory_bytes=0, max_redis_memory_share=0,
    )  # fmt: skip
    assert await admitted(marks.admit_bytes(MIB), marks.admit_job(MIB))


async def test_a_burst_looks_once_and_what_changed_is_seen_soon(watermarks):
    looks = []

    def free_memory():
        looks.append(None)
        return 0 if len(looks) == 1 else MIB

    marks = watermarks(free_memory=free_memory, min_free_memory_bytes=1)
    burst = await asyncio.gather(*(marks.admit_bytes(1) for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in burst} == {HostExhausted}
    assert len(looks) == 1
    async with asyncio.timeout(20):
        while not await admitted_now(marks):  # noqa: ASYNC110 - a clock is waited for
            await asyncio.sleep(0.05)
    assert len(looks) == 2


async def admitted_now(marks):
    try:
        return await admitted(marks.admit_bytes(1))
    except HostExhausted:
        return False


async def test_a_caller_who_goes_away_takes_the_answer_from_nobody(watermarks):
    marks = watermarks()
    first, second = (asyncio.create_task(marks.admit_job(1)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await admitted(second)
    assert first.cancelled()


async def test_without_redis_bytes_come_in_and_jobs_as_soon_as_it_is_back(tmp_path):
    server = ThrowawayRedis()
    store = AsyncStore(server.url)
    marks = Watermarks(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path), store)
    assert await admitted(marks.admit_bytes(MIB))
    with pytest.raises(BackendUnavailable):
        await marks.admit_job(MIB)
    server.start()
    assert await admitted(marks.admit_job(MIB))
    await store.close()
    server.close()


def test_a_disk_is_short_when_it_would_refuse_the_largest_blob(settings, small_disk):
    marks = {"blob_dir": small_disk.path, "min_free_disk_bytes": MIB, "max_blob_bytes": 2 * MIB}
    assert not disk_is_short(settings.model_copy(update=marks))
    small_disk.fill(leave_bytes=2 * MIB)
    assert disk_is_short(settings.model_copy(update=marks))
    assert not disk_is_short(settings.model_copy(update={**marks, "blob_store": "redis"}))
