"""What stands around every call: keys, tenants, deadlines, errors, log and metrics."""

import logging
import uuid

import pytest
from prometheus_client import REGISTRY

from triptych.core import errors
from triptych.services.caller import Keys, trace_id
from triptych.v1 import blob_service_pb2, error_reason_pb2, job_service_pb2, system_service_pb2
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrSpec

TRACE = "0af7651916cd43dd8448eb211c80319c"
INFO = system_service_pb2.GetServerInfoRequest()


@pytest.fixture
async def guarded(serve):
    """A client of a server with two tenants."""
    _, client = await serve(api_keys={"key-a": "acme", "key-b": "beta"})
    return client


def key(value):
    return (("x-api-key", value),)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "API_KEY_MISSING"),
        (key("nobody's"), "API_KEY_INVALID"),
        ((("authorization", "Bearer nobody's"),), "API_KEY_INVALID"),
        ((("authorization", "Basic a2V5LWE="),), "API_KEY_INVALID"),
        ((("authorization", "key-a"),), "API_KEY_INVALID"),
    ],
)
async def test_without_a_good_key_nobody_comes_in(guarded, fails, metadata, reason):
    for call in (
        guarded.system.GetServerInfo(INFO, metadata=metadata),
        guarded.jobs.WatchJob(job_service_pb2.WatchJobRequest(), metadata=metadata),
        guarded.blobs.UploadBlob(iter(()), metadata=metadata),
    ):
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("UNAUTHENTICATED", reason)


async def test_a_key_comes_in_either_header(guarded):
    for metadata in (key("key-a"), (("authorization", "Bearer key-a"),), (("authorization", "bearer key-b"),)):
        assert (await guarded.system.GetServerInfo(INFO, metadata=metadata)).limits.max_page_count == 2000


async def test_tenants_do_not_see_each_other(guarded, samples, fails):
    a, b = {"metadata": key("key-a")}, {"metadata": key("key-b")}
    request_id = str(uuid.uuid4())
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    request = job_service_pb2.SubmitJobRequest(spec=spec, request_id=request_id)
    job = (await guarded.jobs.SubmitJob(request, **a)).job
    # The same request_id of another tenant is another request.
    other = (await guarded.jobs.SubmitJob(request, **b)).job
    assert other.name != job.name
    for call in (
        guarded.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name), **b),
        guarded.jobs.WaitJob(job_service_pb2.WaitJobRequest(name=job.name), **b),
        guarded.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name), **b),
        guarded.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=job.name), **b),
        guarded.jobs.DeleteJob(job_service_pb2.DeleteJobRequest(name=job.name, force=True), **b),
    ):
        assert (await fails(call)).reason == "JOB_NOT_FOUND"
    listed = await guarded.jobs.ListJobs(job_service_pb2.ListJobsRequest(), **b)
    assert [each.name for each in listed.jobs] == [other.name]
    full = await guarded.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name), **a)
    blob = full.job.spec.ocr.input.blob
    await guarded.blobs.DeleteBlob(blob_service_pb2.DeleteBlobRequest(name=blob), **b)
    assert (await guarded.blobs.GetBlob(blob_service_pb2.GetBlobRequest(name=blob), **a)).blob.size_bytes
    assert (
        await fails(guarded.blobs.GetBlob(blob_service_pb2.GetBlobRequest(name=blob), **b))
    ).reason == "BLOB_NOT_FOUND"


async def test_a_job_runs_under_its_callers_trace(client, samples):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    metadata = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)
    job = (await client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec), metadata=metadata)).job
    assert job.trace_id == TRACE


@pytest.mark.parametrize("header", ["", "rubbish", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}"])
def test_without_a_trace_one_begins(header):
    found = trace_id({"traceparent": header})
    assert len(bytes.fromhex(found)) == 16
    assert found not in (TRACE, "0" * 32)


def test_without_keys_everybody_is_one_tenant():
    assert Keys({}).tenant({"x-api-key": "whatever"}) == "default"


async def test_a_bug_shows_a_trace_id_and_no_more(serve, fails, monkeypatch, caplog):
    server, client = await serve()

    async def broken(*_):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(server._backend.store, "run", broken)
    failed = await fails(client.jobs.GetJob(job_service_pb2.GetJobRequest(name=f"jobs/{uuid.uuid4()}")))
    monkeypatch.undo()
    assert (failed.code, failed.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in failed.rpc.details()
    logged = next(record for record in caplog.records if record.name == "triptych.access" and record.exc_info)
    assert "the secret reason" in caplog.text
    assert failed.error.metadata["traceId"] == logged.trace_id == failed.metadata["x-trace-id"]


async def test_bytes_that_are_no_message_are_a_bad_field(client, fails):
    unary = client.channel.unary_unary("/triptych.v1.JobService/GetJob")
    upload = client.channel.stream_unary("/triptych.v1.BlobService/UploadBlob")
    for call in (unary(b"\xff\xff\xff"), upload(iter([b"\xff\xff\xff"]))):
        failed = await fails(call)
        assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_an_unknown_method_is_unimplemented(client, fails):
    assert (await fails(client.channel.unary_unary("/triptych.v1.JobService/Sing")(b""))).code == "UNIMPLEMENTED"


async def test_a_long_message_keeps_its_status_small(client, fails):
    failed = await fails(client.jobs.ListJobs(job_service_pb2.ListJobsRequest(page_token="x" * 100_000)))
    assert failed.reason == "FIELD_INVALID"
    failed = await fails(client.jobs.GetJob(job_service_pb2.GetJobRequest(name="é" * 100_000)))
    assert failed.reason == "FIELD_INVALID"
    assert failed.status.ByteSize() < 6000


async def test_each_call_is_one_line_and_one_count(client, caplog):
    def count():
        labels = {"method": "/triptych.v1.SystemService/GetServerInfo", "code": "OK"}
        return REGISTRY.get_sample_value("triptych_rpc_calls_total", labels) or 0

    before = count()
    with caplog.at_level(logging.INFO, "triptych.access"):
        metadata = (("x-request-id", "abc"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
        await client.system.GetServerInfo(INFO, metadata=metadata)
    assert count() == before + 1
    (line,) = [record for record in caplog.records if record.name == "triptych.access"]
    assert (line.method, line.code, line.tenant, line.request_id, line.trace_id) == (
        "/triptych.v1.SystemService/GetServerInfo", "OK", "default", "abc", TRACE,
    )  # fmt: skip
    assert line.ms >= 0


def test_every_error_has_a_reason_of_the_contract():
    def leaves(cls):
        below = cls.__subclasses__()
        return [leaf for child in below for leaf in leaves(child)] if below else [cls]

    reasons = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    ours = [cls for cls in leaves(errors.TriptychError) if cls.__module__ == errors.__name__]
    assert {cls.reason for cls in ours} <= reasons
    assert reasons - {"UNSPECIFIED", "INTERNAL"} <= {cls.reason for cls in ours}
