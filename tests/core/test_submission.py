"""What a submitted job leaves behind: bytes in the blob store, a record, and a message with an id and nothing else."""

import asyncio
import base64
import json

import pytest
import redis
from google.protobuf.duration_pb2 import Duration

from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable, BlobNotFound, RequestIdReused
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.submission import Submission, Submittal
from triptych.core.testing import ThrowawayRedis
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobOptions, JobPriority, JobSpec
from triptych.v1.ocr_pb2 import OcrSpec


@pytest.fixture
async def submission(settings):
    store, broker = AsyncStore(settings.redis_url), Broker(settings)
    submission = Submission(settings, store, broker, open_blobs(settings))
    yield submission
    submission.close()
    broker.close()
    await store.close()


def ocr(content=b"%PDF-", **options):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=content)))
    return {"tenant": "t", "spec": spec, "options": JobOptions(**options)}


async def test_inline_bytes_go_to_the_blob_store_and_the_caller_keeps_his_spec(submission, settings):
    asked = ocr()
    record = await submission.submit(Submittal(**asked))
    source = record.job_spec().ocr.input
    assert source.WhichOneof("source") == "blob"
    assert open_blobs(settings).read("t", source.blob) == b"%PDF-"
    assert asked["spec"].ocr.input.content == b"%PDF-"


async def test_the_message_is_json_and_carries_nothing(submission, settings):
    record = await submission.submit(Submittal(**ocr(priority=JobPriority.JOB_PRIORITY_INTERACTIVE)))
    raw = redis.Redis.from_url(settings.redis_url).lindex("triptych:broker:ocr", 0)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert json.loads(base64.b64decode(message["body"]))[0] == []
    assert record.lane == 0


async def test_the_messages_of_all_lanes_are_counted(submission, settings):
    for priority in (JobPriority.JOB_PRIORITY_NORMAL, JobPriority.JOB_PRIORITY_BATCH):
        await submission.submit(Submittal(**ocr(priority=priority)))
    broker = Broker(settings)
    assert broker.queue_lengths() == {"transcription": 0, "ocr": 2, "vision": 0, "reasoning": 0}
    broker.close()


async def test_a_repeated_request_joins_and_a_changed_one_is_refused(submission):
    first = await submission.submit(Submittal(**ocr(), request_id="r"))
    again = await submission.submit(Submittal(**ocr(), request_id="r"))
    assert again.id == first.id
    with pytest.raises(RequestIdReused):
        await submission.submit(Submittal(**ocr(content=b"%PDF-2"), request_id="r"))


async def test_a_blob_that_is_not_there_is_told_at_once(submission):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(blob="blobs/sha256-" + "0" * 64)))
    with pytest.raises(BlobNotFound):
        await submission.submit(Submittal(tenant="t", spec=spec, options=JobOptions()))


async def test_without_redis_nothing_is_accepted_and_the_caller_knows(tmp_path):
    server = ThrowawayRedis()
    settings = Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path)
    store, broker = AsyncStore(settings.redis_url), Broker(settings)
    submission = Submission(settings, store, broker, open_blobs(settings))
    with pytest.raises(BackendUnavailable):
        await submission.submit(Submittal(**ocr()))
    with pytest.raises(BackendUnavailable):
        broker.queue_lengths()
    submission.close()
    await store.close()
    server.close()


async def test_inputs_live_as_long_as_their_job_may_wait_and_run(submission, settings):
    day = 24 * 3600
    options = {"queue_timeout": Duration(seconds=3 * day), "execution_timeout": Duration(seconds=day)}
    record = await submission.submit(Submittal(**ocr(**options)))
    name = record.job_spec().ocr.input.blob
    assert open_blobs(settings).stat("t", name).expire_time_s >= record.create_ms / 1000 + 4 * day - 1


async def test_a_broker_that_says_nothing_holds_nobody_up(tmp_path):
    server = ThrowawayRedis().start()
    broker = Broker(Settings(_env_file=None, redis_url=server.url, state_dir=tmp_path))
    broker.publish("ocr")
    server.freeze()
    try:
        for ask in (lambda: broker.publish("ocr"), broker.queue_lengths):
            with pytest.raises(BackendUnavailable):
                await asyncio.wait_for(asyncio.to_thread(ask), 20)
    finally:
        server.thaw()
        broker.close()
        server.close()
