"""A host that is nearly full refuses new bytes and new jobs, says when to come back, and ends the work it has."""

import asyncio
import hashlib
import os
import uuid

import grpc
import pytest
from prometheus_client import REGISTRY

from triptych.client import AsyncClient, specs
from triptych.core.directory_blobs import DirectoryBlobs
from triptych.core.errors import BlobNotFound
from triptych.services.metrics import watch_host
from triptych.v1 import blob_service_pb2 as blobs
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.ocr_service_pb2 import RecognizeRequest

MIB = 1024 * 1024
KIB = 1024


def ocr(source):
    return OcrSpec(input=source if isinstance(source, InputSource) else InputSource(content=source))


def submission(source, **fields):
    return pb.SubmitJobRequest(spec=JobSpec(ocr=ocr(source)), **fields)


def upload(data, size_bytes=None, upload_id="", offset=0):
    """The messages of an upload; `size_bytes` is what its header announces."""
    header = blobs.UploadHeader(
        upload_id=upload_id or str(uuid.uuid4()), size_bytes=size_bytes or len(data), offset_bytes=offset
    )
    yield blobs.UploadBlobRequest(header=header)
    for start in range(offset, len(data), 256 * KIB):
        yield blobs.UploadBlobRequest(chunk=data[start : start + 256 * KIB])
    sha256 = hashlib.sha256(data).hexdigest()
    yield blobs.UploadBlobRequest(commit=blobs.UploadCommit(size_bytes=len(data), sha256=sha256))


def refusals(resource="disk"):
    return REGISTRY.get_sample_value("triptych_host_refusals_total", {"resource": resource}) or 0


@pytest.fixture
async def served(serve, small_disk):
    """A server whose blobs have a disk of 4 MiB, of which 1 MiB is kept, and its client."""
    return await serve(blob_dir=small_disk.path / "blobs", min_free_disk_bytes=MIB)


@pytest.fixture
def client(served):
    return served[1]


class Disk:
    """Fills the small disk up to its mark and clears it, each until the server has seen it."""

    def __init__(self, client, small_disk, eventually):
        self._client, self._small_disk, self._eventually = client, small_disk, eventually

    async def fill(self):
        self._small_disk.fill(leave_bytes=MIB // 2)
        await self._eventually(self._refuses)

    async def clear(self):
        self._small_disk.clear()
        await self._eventually(self._takes)

    async def _takes(self):
        try:
            return await self._client.blobs.UploadBlob(upload(b"is there room?"))
        except grpc.aio.AioRpcError:
            return False

    async def _refuses(self):
        return not await self._takes()


@pytest.fixture
def disk(client, small_disk, eventually):
    return Disk(client, small_disk, eventually)


async def test_a_nearly_full_disk_takes_no_new_bytes_and_no_new_jobs(client, worker, samples, disk, fails):
    known = (await client.blobs.UploadBlob(upload(samples.png))).blob
    await disk.fill()
    before = refusals()
    calls = (
        client.blobs.UploadBlob(upload(samples.pdf)),
        client.jobs.SubmitJob(submission(samples.png)),
        client.jobs.SubmitJob(submission(InputSource(blob=known.name))),
        client.ocr.Recognize(RecognizeRequest(spec=ocr(samples.png)), timeout=10),
        client.ocr.StreamRecognize(RecognizeRequest(spec=ocr(samples.png)), timeout=10),
    )
    for call in calls:
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "HOST_EXHAUSTED")
        assert failed.error.retry_after_s == 5
        assert failed.metadata["grpc-retry-pushback-ms"] == "5000"
        assert failed.error.metadata["resource"] == "disk"
        assert int(failed.error.metadata["free_bytes"]) <= MIB // 2
    assert refusals() == before + len(calls)
    assert (await client.jobs.ListJobs(pb.ListJobsRequest())).jobs == []
    await disk.clear()
    assert (await client.jobs.SubmitJob(submission(samples.png))).job.name


async def test_what_was_accepted_goes_on_and_ends(client, worker, samples, disk, fails):
    job = (await client.jobs.SubmitJob(submission(samples.png, request_id="again"))).job
    waiting = (await client.jobs.SubmitJob(submission(samples.pdf))).job
    record = await worker.claim()
    await disk.fill()
    assert (await fails(client.jobs.SubmitJob(submission(samples.png)))).reason == "HOST_EXHAUSTED"
    # The same call again joins its job and brings nothing new.
    assert (await client.jobs.SubmitJob(submission(samples.png, request_id="again"))).job.name == job.name
    await worker.succeed(record)
    await worker.succeed(await worker.claim())
    for name in (job.name, waiting.name):
        ended = (await client.jobs.WaitJob(pb.WaitJobRequest(name=name), timeout=20)).job
        assert ended.state == JobState.JOB_STATE_SUCCEEDED


async def test_an_upload_too_large_for_the_disk_is_refused_before_its_bytes_are_sent(client, fails):
    upload_id = str(uuid.uuid4())
    failed = await fails(client.blobs.UploadBlob(upload(b"beginning", 3 * MIB + 1, upload_id)))
    assert (failed.reason, failed.error.metadata["wanted_bytes"]) == ("HOST_EXHAUSTED", str(3 * MIB + 1))
    failed = await fails(client.blobs.GetUpload(blobs.GetUploadRequest(upload_id=upload_id)))
    assert failed.reason == "UPLOAD_NOT_FOUND"


async def test_an_upload_that_meets_the_mark_goes_on_when_there_is_room(client, disk, fails, eventually):
    data, upload_id = os.urandom(MIB), str(uuid.uuid4())

    async def stored():
        try:
            return (await client.blobs.GetUpload(blobs.GetUploadRequest(upload_id=upload_id))).committed_size_bytes
        except grpc.aio.AioRpcError:
            return 0

    async def filling_up():
        for n, message in enumerate(upload(data, upload_id=upload_id)):
            if n == 2:
                await eventually(stored)
                await disk.fill()
            yield message

    assert (await fails(client.blobs.UploadBlob(filling_up()))).reason == "HOST_EXHAUSTED"
    kept = await stored()
    assert kept == 256 * KIB
    await disk.clear()
    blob = (await client.blobs.UploadBlob(upload(data, upload_id=upload_id, offset=kept))).blob
    assert blob.size_bytes == len(data)


async def test_known_bytes_are_answered_whatever_the_disk_has(client, samples, disk):
    blob = (await client.blobs.UploadBlob(upload(samples.png))).blob
    await disk.fill()
    header = blobs.UploadHeader(upload_id=str(uuid.uuid4()), sha256=blob.name.removeprefix("blobs/sha256-"))
    answer = await client.blobs.UploadBlob(iter([blobs.UploadBlobRequest(header=header)]))
    assert answer.already_existed


async def test_a_disk_that_is_full_all_the_same_is_no_bug_of_ours(serve, samples, small_disk, fails):
    _, client = await serve(blob_dir=small_disk.path / "blobs", min_free_disk_bytes=0)
    small_disk.fill(leave_bytes=64 * KIB)
    for call in (
        client.blobs.UploadBlob(upload(os.urandom(512 * KIB))),
        client.jobs.SubmitJob(submission(samples.png + os.urandom(512 * KIB))),
    ):
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "HOST_EXHAUSTED")
        assert failed.error.retry_after_s
    assert small_disk.halves() == []
    small_disk.clear()
    assert (await client.jobs.SubmitJob(submission(samples.png + os.urandom(512 * KIB)))).job.name


async def test_a_short_disk_is_rid_of_what_expired_at_once(serve, small_disk, eventually):
    store = DirectoryBlobs(small_disk.path / "blobs", ttl_s=60)

    def gone(data):
        async def look():
            return not any(path.stem == hashlib.sha256(data).hexdigest() for path in small_disk.path.rglob("*"))

        return look

    async def put_expired(data):
        with pytest.raises(BlobNotFound):
            store.put("t", data, ttl_s=-1)

    await put_expired(b"old")
    await serve(blob_dir=small_disk.path / "blobs", min_free_disk_bytes=MIB, max_blob_bytes=2 * MIB)
    await eventually(gone(b"old"))
    # From here on it would be looked for in a minute.
    await put_expired(b"new")
    small_disk.fill(leave_bytes=MIB)
    async with asyncio.timeout(30):
        await eventually(gone(b"new"))


async def test_the_client_comes_back_when_it_was_told_to(served, samples, small_disk, eventually):
    server, _ = served
    # More than gRPC buffers for its retries unless told to.
    large = samples.png + os.urandom(900 * KIB)
    small_disk.fill(leave_bytes=MIB)
    before = refusals()
    async with AsyncClient(server.address) as client:
        calls = asyncio.gather(client.upload(large[:-1]), client.submit(specs.ocr(InputSource(content=large))))

        async def both_refused():
            return refusals() >= before + 2

        await eventually(both_refused)
        assert not calls.done()
        small_disk.clear()
        blob, job = await calls
    assert (blob.size_bytes, job.state) == (len(large) - 1, JobState.JOB_STATE_PENDING)


async def test_a_redis_near_its_maxmemory_takes_no_new_jobs(client, samples, redis_used, fails):
    redis_used(0.95)
    failed = await fails(client.jobs.SubmitJob(submission(samples.png)))
    assert (failed.reason, failed.error.metadata.get("resource")) == ("HOST_EXHAUSTED", "redis")


async def test_a_redis_without_memory_is_away_until_it_has_some(serve, worker, samples, redis_used, fails, eventually):
    _, client = await serve(max_redis_memory_share=0)
    job = (await client.jobs.SubmitJob(submission(samples.png))).job
    record = await worker.claim()
    redis_used(2)
    for call in (
        client.jobs.SubmitJob(submission(samples.pdf)),
        client.ocr.Recognize(RecognizeRequest(spec=ocr(samples.png)), timeout=10),
        client.jobs.CancelJob(pb.CancelJobRequest(name=job.name)),
    ):
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
    redis_used(0)
    await worker.succeed(record)
    ended = (await client.jobs.WaitJob(pb.WaitJobRequest(name=job.name), timeout=20)).job
    assert (ended.state, ended.attempt) == (JobState.JOB_STATE_SUCCEEDED, 1)
    assert (await client.jobs.SubmitJob(submission(samples.pdf))).job.name


def test_the_metrics_page_tells_what_the_host_has_left(settings, small_disk):
    watch_host(settings.model_copy(update={"blob_dir": small_disk.path}))
    small_disk.fill(leave_bytes=MIB)
    assert REGISTRY.get_sample_value("triptych_host_free_bytes", {"resource": "disk"}) == MIB
    assert REGISTRY.get_sample_value("triptych_host_free_bytes", {"resource": "memory"}) > 0
