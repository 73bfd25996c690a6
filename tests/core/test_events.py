"""Watchers see a snapshot, every event once and in order, and the outcome; on a real Redis."""

import asyncio
import contextlib

import pytest

from triptych.core import jobs
from triptych.core.errors import CursorExpired, FieldInvalid, JobNotFound
from triptych.core.events import EventHub
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import AsyncStore
from triptych.core.testing import ThrowawayRedis
from triptych.v1.job_pb2 import JobEvent, JobProgress, JobResult, JobState, TextDelta
from triptych.v1.ocr_pb2 import OcrPage, OcrResult


class World:
    def __init__(self, url):
        self.store = AsyncStore(url)
        self.hub = EventHub(self.store, url)

    async def job(self):
        job = NewJob(
            id=new_job_id(), tenant="t", kind="ocr", lane=1, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000,
        )  # fmt: skip
        return (await self.store.run(jobs.create(job, max_pending=9)))[1]

    async def emit(self, job_id, **event):
        assert await self.store.run(jobs.emit(job_id, 1, JobEvent(**event)))

    async def succeed(self, job_id):
        assert await self.store.run(jobs.succeed(job_id, 1, JobResult(ocr=OcrResult(source_page_count=7))))


@pytest.fixture
async def world(redis_url):
    world = World(redis_url)
    world.hub.start()
    yield world
    await world.hub.stop()
    await world.store.close()


async def collect(watch):
    return [event async for event in watch]


async def test_who_follows_a_job_hears_how_far_it_is_and_nothing_twice(world):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    async with contextlib.aclosing(world.hub.follow(job_id, every_s=0.01)) as told:
        for done in (1, 2):
            await world.emit(job_id, progress=JobProgress(stage="ocr", completed_unit_count=done))
            assert (await asyncio.wait_for(anext(told), 10)).completed_unit_count == done
            await world.emit(job_id, ocr_page=OcrPage(page_number=done))
    assert not world.hub._waiting


async def test_a_watch_sees_everything_from_snapshot_to_outcome(world):
    job_id = await world.job()
    watch = world.hub.watch(job_id, "t")
    snapshot = await anext(watch)
    watching = asyncio.create_task(collect(watch))
    await world.store.run(jobs.claim("ocr", "w", 10))
    await world.emit(job_id, progress=JobProgress(stage="ocr", completed_unit_count=1))
    await world.emit(job_id, text_delta=TextDelta(text="hi"))
    await world.succeed(job_id)
    events = [snapshot, *await asyncio.wait_for(watching, 10)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "job"
    assert kinds[-3:] == ["progress", "text_delta", "job"]
    assert events[-1].job.state == JobState.JOB_STATE_SUCCEEDED
    assert events[-1].job.result.ocr.source_page_count == 7
    assert all(not event.job.HasField("result") for event in events[:-1])


async def test_a_watch_resumes_after_its_cursor(world):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    for text in "abc":
        await world.emit(job_id, text_delta=TextDelta(text=text))
    await world.succeed(job_id)
    events = await collect(world.hub.watch(job_id, "t"))
    after_b = next(event.cursor for event in events if event.text_delta.text == "b")
    resumed = await collect(world.hub.watch(job_id, "t", after_cursor=after_b))
    assert [event.text_delta.text for event in resumed if event.HasField("text_delta")] == ["c"]
    # Whoever has the outcome has everything: the snapshot, of a job that has ended by now, must not tell it.
    assert [event.cursor for event in resumed if event.job.WhichOneof("outcome")] == [events[-1].cursor]


async def test_a_watcher_that_fell_too_far_behind_is_told_instead_of_given_a_gap(world):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    watch = world.hub.watch(job_id, "t")
    async for event in watch:
        if event.job.state == JobState.JOB_STATE_RUNNING and event.cursor != "0-0":
            break
    for text in "abc":
        await world.emit(job_id, text_delta=TextDelta(text=text))
    await world.store.redis.xtrim(f"triptych:events:{job_id}", maxlen=1, approximate=False)
    with pytest.raises(CursorExpired):
        await collect(watch)


async def test_partials_are_left_out_on_request(world):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    await world.emit(job_id, text_delta=TextDelta(text="a"))
    await world.emit(job_id, progress=JobProgress(stage="generate"))
    await world.succeed(job_id)
    kinds = [event.WhichOneof("event") for event in await collect(world.hub.watch(job_id, "t", partials=False))]
    assert "text_delta" not in kinds
    assert "progress" in kinds


async def test_silence_is_broken_by_heartbeats(world):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    watch = world.hub.watch(job_id, "t", heartbeat_s=0.05)
    async for event in watch:
        if event.HasField("heartbeat"):
            break
    await watch.aclose()
    assert event.cursor


async def test_events_that_a_watcher_does_not_get_break_no_silence(world, monkeypatch):
    job_id = await world.job()
    await world.store.run(jobs.claim("ocr", "w", 10))
    after = world.hub._after

    async def always_one_more(*place):
        await world.emit(job_id, ocr_page=OcrPage(page_number=1))
        return await after(*place)

    monkeypatch.setattr(world.hub, "_after", always_one_more)
    watch = world.hub.watch(job_id, "t", partials=False, heartbeat_s=0.2)
    async with asyncio.timeout(20):
        seen = [(await anext(watch)).WhichOneof("event") for _ in range(4)]
    assert seen == ["job", "job", "job", "heartbeat"]
    await watch.aclose()


async def test_while_a_job_waits_silence_is_broken_by_its_place_in_the_queue(world):
    await world.job()
    watch = world.hub.watch(await world.job(), "t", heartbeat_s=0.05)
    events = [await anext(watch) for _ in range(3)]
    await watch.aclose()
    assert events[0].job.progress.queue_position == 1
    assert events[2].progress.queue_position == 1
    await world.store.run(jobs.claim("ocr", "w", 10))


async def test_a_wrong_cursor_is_told_apart_from_an_old_one(world):
    job_id = await world.job()
    with pytest.raises(FieldInvalid):
        await anext(world.hub.watch(job_id, "t", after_cursor="yesterday"))
    with pytest.raises(CursorExpired):
        await anext(world.hub.watch(job_id, "t", after_cursor="1-1"))


async def test_nobody_watches_a_job_that_is_not_there_or_anothers(world):
    for job_id, tenant in ((new_job_id(), "t"), (await world.job(), "other")):
        with pytest.raises(JobNotFound):
            await anext(world.hub.watch(job_id, tenant))
        with pytest.raises(JobNotFound):
            await world.hub.wait(job_id, tenant, 1)


async def test_waiting_ends_with_the_job_or_with_the_time(world):
    job_id = await world.job()
    assert not (await world.hub.wait(job_id, "t", 0.05)).terminal
    waiting = asyncio.create_task(world.hub.wait(job_id, "t", 10))
    await world.store.run(jobs.claim("ocr", "w", 10))
    await world.succeed(job_id)
    assert (await waiting).state == JobState.JOB_STATE_SUCCEEDED


async def test_a_watcher_outlives_a_restart_of_redis():
    server = ThrowawayRedis().start()
    world = World(server.url)
    world.hub.start()
    try:
        job_id = await world.job()
        await world.store.run(jobs.claim("ocr", "w", 60))
        waiting = asyncio.create_task(world.hub.wait(job_id, "t", 20))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await world.succeed(job_id)
        assert (await waiting).state == JobState.JOB_STATE_SUCCEEDED
    finally:
        await world.hub.stop()
        await world.store.close()
        server.close()


async def test_a_hub_can_be_stopped_at_any_moment(redis_url):
    for steps in range(60):
        store = AsyncStore(redis_url)
        hub = EventHub(store, redis_url)
        hub.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await hub.stop()
        await store.close()
        assert hub._listener.done()
