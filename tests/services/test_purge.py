"""BlobService.Purge over the wire, with real workers: running jobs are stopped first, and no byte is left."""

import asyncio

import pytest
from workers.sharing import MARKER, CountingReader, Worker, document

from triptych.core.blobs import blob_name
from triptych.core.errors import JobCancelled
from triptych.v1 import blob_service_pb2 as pb
from triptych.v1 import job_service_pb2
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument

S = JobState
DATA = document(12)
NAME = blob_name(DATA)


@pytest.fixture
def reader(settings):
    """A worker of the tenant that callers without keys are; its results are too large to be told inline."""
    reader = Worker(settings.model_copy(update={"max_inline_result_bytes": 100}), CountingReader())
    yield reader
    reader.close()


@pytest.fixture
def submit(client):
    async def submit(spec=None):
        spec = spec or JobSpec(ocr=OcrSpec(input=InputSource(content=DATA)))
        answer = await client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec, request_id="once"))
        return answer.job.name.removeprefix("jobs/")

    return submit


def places(settings, reader, text):
    """Keys and files that hold a text, by an own search."""
    found = []
    for key in reader.store.redis.keys("*"):
        read = {
            b"string": ("GET", key), b"hash": ("HGETALL", key), b"set": ("SMEMBERS", key),
            b"zset": ("ZRANGE", key, 0, -1), b"stream": ("XRANGE", key, "-", "+"), b"list": ("LRANGE", key, 0, -1),
        }[reader.store.redis.type(key)]  # fmt: skip
        if text in repr((key, reader.store.redis.execute_command(*read))):
            found.append(key)
    files = [path for path in settings.blobs_path.rglob("*") if path.is_file()]
    return found + [path for path in files if text.encode() in path.read_bytes() or text in path.name]


async def run(reader, job_id):
    attempt = await asyncio.to_thread(reader.execution.claim, "ocr")
    assert attempt.job_id == job_id
    return await asyncio.to_thread(reader.run, attempt)


async def test_no_byte_of_a_document_is_left(client, submit, reader, settings):
    job = await run(reader, await submit())
    assert job.result_blob
    assert len(places(settings, reader, MARKER)) > 12
    answer = await client.blobs.Purge(pb.PurgeRequest(document=NAME))
    assert (answer.job_count, answer.unit_count, answer.blob_count, answer.remaining_count) == (1, 12, 14, 0)
    for text in (MARKER, NAME.removeprefix("blobs/sha256-")):
        assert places(settings, reader, text) == []
    assert (await run(reader, await submit())).state == S.JOB_STATE_SUCCEEDED
    assert set(reader.engine.read.values()) == {2}


async def test_a_running_job_is_cancelled_first_and_leaves_nothing_behind(client, submit, reader, settings, eventually):
    job_id = await submit()
    reader.engine.gate.clear()
    attempt = await asyncio.to_thread(reader.execution.claim, "ocr")
    assert attempt.job_id == job_id
    running = reader.begin(attempt)
    await asyncio.to_thread(reader.engine.started.wait, 10)
    purging = asyncio.ensure_future(client.blobs.Purge(pb.PurgeRequest(document=NAME), timeout=60))

    async def is_cancelling():
        return reader.ended(job_id, "default").state == S.JOB_STATE_CANCELLING

    await eventually(is_cancelling)
    # As the lease keeper does when it hears of it.
    attempt.stop(JobCancelled("the job was cancelled"))
    answer = await purging
    reader.engine.gate.set()
    await asyncio.to_thread(running.join)
    assert (answer.job_count, answer.remaining_count) == (1, 0)
    assert places(settings, reader, MARKER) == []


async def test_a_job_that_does_not_stop_is_told_as_a_trace(client, submit, worker):
    await submit()
    record = await worker.claim()
    answer = await client.blobs.Purge(pb.PurgeRequest(document=NAME), timeout=2)
    assert answer.job_count == 0
    assert answer.remaining_count > 0
    await worker.fail(record, JobCancelled("at last"))
    again = await client.blobs.Purge(pb.PurgeRequest(document=NAME), timeout=60)
    assert (again.job_count, again.remaining_count) == (1, 0)


async def test_a_question_goes_with_its_children_if_one_of_its_documents_does(client, submit, worker, store, settings):
    sources = [SourceDocument(input=InputSource(content=data)) for data in (DATA, document(1, first_shade=99))]
    question = await submit(JobSpec(reasoning=ReasoningSpec(question="Who?", documents=sources)))
    parent = await worker.claim("reasoning")
    assert parent.id == question
    await worker.succeed(parent)
    answer = await client.blobs.Purge(pb.PurgeRequest(document=NAME))
    assert (answer.job_count, answer.blob_count, answer.remaining_count) == (1, 1, 0)
    other = blob_name(document(1, first_shade=99))
    assert (await client.blobs.GetBlob(pb.GetBlobRequest(name=other))).blob.name == other


async def test_everything_of_a_tenant_goes_and_another_keeps_the_same_document(serve, reader, settings):
    _, client = await serve(api_keys={"a": "acme", "b": "beta"})
    for tenant in ("acme", "beta"):
        await asyncio.to_thread(reader.read, DATA, tenant=tenant)
    answer = await client.blobs.Purge(pb.PurgeRequest(tenant=True), metadata=[("x-api-key", "a")])
    assert (answer.job_count, answer.unit_count, answer.blob_count, answer.remaining_count) == (1, 12, 14, 0)
    assert places(settings, reader, "acme") == []
    assert (await asyncio.to_thread(reader.read, DATA, tenant="beta")).cached


@pytest.mark.parametrize(
    "request_", [pb.PurgeRequest(), pb.PurgeRequest(tenant=False), pb.PurgeRequest(document="blobs/x")]
)
async def test_a_purge_of_nothing_in_particular_is_refused(client, fails, request_):
    assert (await fails(client.blobs.Purge(request_))).reason == "FIELD_INVALID"
