"""FormatTranscript: of jobs and of what callers send, and what is refused."""

import pytest

from triptych.core.blob_choice import open_blobs
from triptych.core.errors import MediaCorrupt
from triptych.core.records import new_job_id
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobResult, JobSpec
from triptych.v1.job_service_pb2 import CancelJobRequest, SubmitJobRequest
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptionSpec
from triptych.v1.transcription_service_pb2 import CueRules, FormatTranscriptRequest, TranscriptFormat

SRT = TranscriptFormat.TRANSCRIPT_FORMAT_SRT
VTT = TranscriptFormat.TRANSCRIPT_FORMAT_VTT
TEXT = TranscriptFormat.TRANSCRIPT_FORMAT_TEXT
HELLO = TranscriptionResult(text="Hello.", segments=[{"text": "Hello.", "start_ms": 500, "end_ms": 2000}])
HELLO_SRT = "1\n00:00:00,500 --> 00:00:02,000\nHello.\n"


@pytest.fixture
def write(client):
    def write(format_=SRT, **fields):
        return client.transcription.FormatTranscript(FormatTranscriptRequest(format=format_, **fields))

    return write


@pytest.fixture
async def job(client, worker, samples):
    """A job that a worker has; the test ends it."""
    spec = JobSpec(transcription=TranscriptionSpec(input=InputSource(content=samples.wav)))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
    return name, await worker.claim("transcription")


async def test_what_a_caller_sends_is_written(write):
    answer = await write(result=HELLO)
    assert (answer.content, answer.media_type) == (HELLO_SRT, "application/x-subrip")
    rules = CueRules(min_duration_ms=5000, max_line_length=10)
    answer = await write(VTT, result=HELLO, cue_rules=rules)
    assert answer.content == "WEBVTT\n\n00:00:00.500 --> 00:00:05.500\nHello.\n"


async def test_the_transcript_of_a_job_is_written(write, worker, job):
    name, record = job
    await worker.succeed(record, JobResult(transcription=HELLO))
    assert (await write(job=name)).content == HELLO_SRT


async def test_a_transcript_that_lies_in_a_blob_is_written(write, worker, job, settings):
    name, record = job
    blob = open_blobs(settings).put("default", JobResult(transcription=HELLO).SerializeToString())
    await worker.succeed(record, blob.name)
    assert (await write(job=name)).content == HELLO_SRT


async def test_a_blob_that_has_expired_is_a_reason(write, worker, job, fails):
    name, record = job
    await worker.succeed(record, f"blobs/sha256-{'0' * 64}")
    assert (await fails(write(job=name))).reason == "BLOB_NOT_FOUND"


async def test_a_job_that_gave_no_transcript_is_a_reason(client, write, worker, job, fails, samples):
    name, record = job
    failed = await fails(write(job=name))
    assert (failed.code, failed.reason) == ("FAILED_PRECONDITION", "JOB_NOT_TERMINAL")
    await worker.fail(record, MediaCorrupt("no sound in it"))
    failed = await fails(write(job=name))
    assert (failed.reason, failed.error.metadata["job"]) == ("MEDIA_CORRUPT", name)
    assert (await fails(write(job=f"jobs/{new_job_id()}"))).reason == "JOB_NOT_FOUND"
    page = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    other = (await client.jobs.SubmitJob(SubmitJobRequest(spec=page))).job.name
    failed = await fails(write(job=other))
    assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", "job")
    spec = JobSpec(transcription=TranscriptionSpec(input=InputSource(content=samples.wav)))
    cancelled = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
    await client.jobs.CancelJob(CancelJobRequest(name=cancelled))
    assert (await fails(write(job=cancelled))).reason == "JOB_CANCELLED"


@pytest.mark.parametrize(
    ("field", "request_fields"),
    [
        ("source", {}),
        ("format", {"result": HELLO, "format": 0}),
        ("format", {"result": HELLO, "format": 99}),
        ("job", {"job": "jobs/7"}),
        ("cue_rules.max_line_length", {"result": HELLO, "cue_rules": CueRules(max_line_length=9)}),
        ("cue_rules.max_line_count", {"result": HELLO, "cue_rules": CueRules(max_line_count=-1)}),
        ("cue_rules.max_duration_ms", {"result": HELLO, "cue_rules": CueRules(max_duration_ms=30_001)}),
        ("cue_rules.min_duration_ms", {"result": HELLO, "cue_rules": CueRules(min_duration_ms=5001)}),
    ],
)
async def test_what_is_wrong_is_named(client, fails, field, request_fields):
    request = FormatTranscriptRequest(**{"format": SRT} | request_fields)
    failed = await fails(client.transcription.FormatTranscript(request))
    assert (failed.code, failed.reason, failed.error.metadata["field"]) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_what_fits_no_message_is_refused_with_the_limit(serve, store, worker, settings, samples, fails):
    _, client = await serve()
    spec = JobSpec(transcription=TranscriptionSpec(input=InputSource(content=samples.wav)))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
    long = TranscriptionResult(segments=[{"text": "word " * 1_000_000, "end_ms": 1000}])
    blob = open_blobs(settings).put("default", JobResult(transcription=long).SerializeToString())
    await worker.succeed(await worker.claim("transcription"), blob.name)
    failed = await fails(client.transcription.FormatTranscript(FormatTranscriptRequest(job=name, format=TEXT)))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INPUT_TOO_LARGE")
    assert failed.error.metadata["limit"] == str(settings.max_message_bytes)


async def test_the_transcript_of_another_tenant_is_not_found(serve, worker, samples, fails):
    _, client = await serve(api_keys={"key-a": "a", "key-b": "b"})
    spec = JobSpec(transcription=TranscriptionSpec(input=InputSource(content=samples.wav)))
    mine, theirs = ((("authorization", f"Bearer {key}"),) for key in ("key-a", "key-b"))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec), metadata=mine)).job.name
    await worker.succeed(await worker.claim("transcription"), JobResult(transcription=HELLO))
    request = FormatTranscriptRequest(job=name, format=SRT)
    assert (await client.transcription.FormatTranscript(request, metadata=mine)).content == HELLO_SRT
    failed = await fails(client.transcription.FormatTranscript(request, metadata=theirs))
    assert failed.reason == "JOB_NOT_FOUND"
