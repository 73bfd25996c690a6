"""BlobService over the wire: uploads that break and go on, digests, limits, downloads, tenants."""

import hashlib
import uuid

import pytest
from google.protobuf.duration_pb2 import Duration

from triptych.v1 import blob_service_pb2 as pb
from triptych.v1 import job_service_pb2
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrSpec

DATA = bytes(range(256)) * 4096
SHA = hashlib.sha256(DATA).hexdigest()
NAME = f"blobs/sha256-{SHA}"
CHUNK = 256 * 1024


def header(upload_id, **fields):
    return pb.UploadBlobRequest(header=pb.UploadHeader(upload_id=upload_id, **fields))


def chunks(data=DATA):
    return [pb.UploadBlobRequest(chunk=data[i : i + CHUNK]) for i in range(0, len(data), CHUNK)]


def commit(data=DATA, sha256=None, size=None):
    size = len(data) if size is None else size
    return pb.UploadBlobRequest(
        commit=pb.UploadCommit(size_bytes=size, sha256=sha256 or hashlib.sha256(data).hexdigest())
    )


@pytest.fixture
def upload(client):
    def upload(*messages, **metadata):
        return client.blobs.UploadBlob(iter(messages), **metadata)

    return upload


@pytest.fixture
def upload_id():
    return str(uuid.uuid4())


async def test_an_upload_becomes_a_blob(client, upload, upload_id, samples):
    data = samples.pdf + DATA
    answer = await upload(header(upload_id), *chunks(data), commit(data))
    assert not answer.already_existed
    assert (answer.blob.name, answer.blob.size_bytes, answer.blob.media_type) == (
        f"blobs/sha256-{hashlib.sha256(data).hexdigest()}", len(data), "application/pdf",
    )  # fmt: skip
    assert (await client.blobs.GetBlob(pb.GetBlobRequest(name=answer.blob.name))).blob == answer.blob


async def test_a_blob_is_the_input_of_a_job(client, upload, upload_id, samples):
    blob = (await upload(header(upload_id), pb.UploadBlobRequest(chunk=samples.png), commit(samples.png))).blob
    spec = JobSpec(ocr=OcrSpec(input=InputSource(blob=blob.name)))
    assert (await client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec))).job.name


async def test_no_bytes_at_all_are_a_blob_too(upload, upload_id):
    answer = await upload(header(upload_id, size_bytes=0), commit(b""))
    assert answer.blob.size_bytes == 0


async def test_a_known_digest_is_answered_before_the_bytes_are_sent(upload, upload_id):
    await upload(header(upload_id), *chunks(), commit())
    answer = await upload(header(str(uuid.uuid4()), sha256=SHA, ttl=Duration(seconds=90_000)))
    assert answer.already_existed
    assert answer.blob.expire_time.seconds - answer.blob.create_time.seconds >= 90_000


async def test_a_broken_upload_goes_on_where_it_stopped(client, upload, upload_id, fails):
    failed = await fails(upload(header(upload_id), *chunks()[:2]))
    assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", "commit")
    size = (await client.blobs.GetUpload(pb.GetUploadRequest(upload_id=upload_id))).committed_size_bytes
    assert size == 2 * CHUNK
    answer = await upload(header(upload_id, offset_bytes=size), *chunks()[2:], commit())
    assert answer.blob.name == NAME


async def test_the_offset_must_be_where_the_upload_stands(upload, upload_id, fails):
    await fails(upload(header(upload_id), *chunks()[:1]))
    for offset in (0, 5):
        failed = await fails(upload(header(upload_id, offset_bytes=offset), *chunks()))
        assert (failed.code, failed.reason) == ("ABORTED", "UPLOAD_OFFSET_MISMATCH")


async def test_an_unknown_upload_cannot_go_on(client, upload, upload_id, fails):
    for call in (
        client.blobs.GetUpload(pb.GetUploadRequest(upload_id=upload_id)),
        upload(header(upload_id, offset_bytes=5), *chunks()),
    ):
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("NOT_FOUND", "UPLOAD_NOT_FOUND")


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 7}])
async def test_another_digest_or_size_drops_the_upload(client, upload, upload_id, fails, wrong):
    failed = await fails(upload(header(upload_id), *chunks(), commit(**wrong)))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
    failed = await fails(client.blobs.GetUpload(pb.GetUploadRequest(upload_id=upload_id)))
    assert failed.reason == "UPLOAD_NOT_FOUND"
    assert (await fails(client.blobs.GetBlob(pb.GetBlobRequest(name=NAME)))).reason == "BLOB_NOT_FOUND"


async def test_messages_come_in_order_and_within_limits(serve, fails, upload_id):
    _, client = await serve(max_blob_bytes=CHUNK + 5, max_chunk_bytes=CHUNK)

    async def reason(*messages):
        failed = await fails(client.blobs.UploadBlob(iter(messages)))
        return failed.reason, failed.error.metadata.get("field")

    start = header(upload_id)
    assert await reason() == ("FIELD_INVALID", "header")
    assert await reason(chunks()[0]) == ("FIELD_INVALID", "header")
    assert await reason(start, start) == ("FIELD_INVALID", "header")
    assert await reason(start, pb.UploadBlobRequest(chunk=b"")) == ("FIELD_INVALID", "chunk")
    assert await reason(start, pb.UploadBlobRequest(chunk=DATA[: CHUNK + 1])) == ("FIELD_INVALID", "chunk")
    assert await reason(start, commit(sha256="XX")) == ("FIELD_INVALID", "commit.sha256")
    assert await reason(header("../x")) == ("FIELD_INVALID", "header.upload_id")
    assert await reason(header(upload_id, sha256="zz")) == ("FIELD_INVALID", "header.sha256")
    assert await reason(header(upload_id, offset_bytes=-1)) == ("FIELD_INVALID", "header.offset_bytes")
    assert await reason(header(upload_id, ttl=Duration(seconds=5))) == ("FIELD_INVALID", "header.ttl")
    assert (await reason(header(upload_id, size_bytes=CHUNK + 6)))[0] == "INPUT_TOO_LARGE"
    assert (await reason(start, *chunks()[:2]))[0] == "INPUT_TOO_LARGE"


async def test_a_download_gives_any_part(client, upload, upload_id, fails):
    await upload(header(upload_id), *chunks(), commit())

    async def read(**fields):
        return b"".join([m.chunk async for m in client.blobs.DownloadBlob(pb.DownloadBlobRequest(name=NAME, **fields))])

    assert await read() == DATA
    assert await read(offset_bytes=CHUNK - 3, limit_bytes=CHUNK + 9) == DATA[CHUNK - 3 : 2 * CHUNK + 6]
    assert await read(offset_bytes=len(DATA)) == b""
    failed = await fails(client.blobs.DownloadBlob(pb.DownloadBlobRequest(name=NAME, offset_bytes=len(DATA) + 1)))
    assert (failed.code, failed.reason) == ("OUT_OF_RANGE", "RANGE_OUTSIDE_SOURCE")
    failed = await fails(client.blobs.DownloadBlob(pb.DownloadBlobRequest(name=NAME, limit_bytes=-1)))
    assert failed.reason == "FIELD_INVALID"


async def test_missing_blobs_are_found(client, upload, upload_id, fails):
    await upload(header(upload_id), *chunks(), commit())
    other = f"blobs/sha256-{'0' * 64}"
    answer = await client.blobs.FindMissingBlobs(pb.FindMissingBlobsRequest(names=[NAME, other]))
    assert list(answer.missing_names) == [other]
    for names in (["rubbish"], [NAME] * 1001):
        assert (
            await fails(client.blobs.FindMissingBlobs(pb.FindMissingBlobsRequest(names=names)))
        ).reason == "FIELD_INVALID"


async def test_deleting_twice_is_no_error(client, upload, upload_id, fails):
    await upload(header(upload_id), *chunks(), commit())
    for _ in range(2):
        await client.blobs.DeleteBlob(pb.DeleteBlobRequest(name=NAME))
    for call in (
        client.blobs.GetBlob(pb.GetBlobRequest(name=NAME)),
        client.blobs.DownloadBlob(pb.DownloadBlobRequest(name=NAME)),
    ):
        assert (await fails(call)).reason == "BLOB_NOT_FOUND"


async def test_names_of_blobs_are_never_paths(client, fails):
    for name in ("", "blobs/", "blobs/../../etc/passwd", f"blobs/sha256-{'A' * 64}"):
        for call in (
            client.blobs.GetBlob(pb.GetBlobRequest(name=name)),
            client.blobs.DownloadBlob(pb.DownloadBlobRequest(name=name)),
            client.blobs.DeleteBlob(pb.DeleteBlobRequest(name=name)),
        ):
            assert (await fails(call)).reason == "FIELD_INVALID"
