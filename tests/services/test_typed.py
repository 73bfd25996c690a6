"""Calls that wait for their job: results, errors, deadlines, and callers who go away."""

import asyncio

import grpc
import pytest
from prometheus_client import REGISTRY

from triptych.core.errors import AcceleratorMemoryExhausted, ExecutionTimeout, FieldInvalid, JobCancelled, OutputInvalid
from triptych.core.records import new_job_id
from triptych.v1 import (
    job_service_pb2,
    ocr_service_pb2,
    reasoning_service_pb2,
    transcription_service_pb2,
    vision_service_pb2,
)
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import DisconnectPolicy, JobEvent, JobOptions, JobPriority, JobResult, JobState, TextDelta
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.reasoning_pb2 import Answer, ReasoningResult, ReasoningSpec, SourceDocument
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptionSpec
from triptych.v1.vision_pb2 import ChatMessage, ChatRole, ContentPart, VisionResult, VisionSpec

S = JobState
KEEP = JobOptions(disconnect_policy=DisconnectPolicy.DISCONNECT_POLICY_CONTINUE)


@pytest.fixture
def recognize(client, samples):
    def recognize(timeout=10, **fields):
        request = ocr_service_pb2.RecognizeRequest(spec=OcrSpec(input=InputSource(content=samples.png)), **fields)
        return client.ocr.Recognize(request, timeout=timeout)

    return recognize


@pytest.fixture
def recognize_openly(client, samples):
    """The same call, made so that its headers can be read while it runs: Python's unary calls show them at the end."""
    method = client.channel.unary_stream(
        "/triptych.v1.OcrService/Recognize",
        request_serializer=ocr_service_pb2.RecognizeRequest.SerializeToString,
        response_deserializer=ocr_service_pb2.RecognizeResponse.FromString,
    )

    def recognize(**fields):
        request = ocr_service_pb2.RecognizeRequest(spec=OcrSpec(input=InputSource(content=samples.png)), **fields)
        return method(request, timeout=10)

    return recognize


@pytest.fixture
def job_state(client):
    async def job_state(record_id):
        request = job_service_pb2.GetJobRequest(name=f"jobs/{record_id}")
        return (await client.jobs.GetJob(request)).job.state

    return job_state


def cancelled_calls():
    labels = {"method": "/triptych.v1.OcrService/Recognize", "code": "CANCELLED"}
    return REGISTRY.get_sample_value("triptych_rpc_calls_total", labels) or 0


def vision_spec():
    return VisionSpec(messages=[ChatMessage(role=ChatRole.CHAT_ROLE_USER, parts=[ContentPart(text="hi")])])


async def test_a_call_gives_the_result_and_its_job(recognize, worker):
    call = recognize()
    record = await worker.claim()
    await worker.succeed(record)
    answer = await call
    assert dict(await call.initial_metadata())["x-triptych-job"] == f"jobs/{record.id}"
    assert answer.job.name == f"jobs/{record.id}"
    assert answer.job.priority == JobPriority.JOB_PRIORITY_INTERACTIVE
    assert answer.result.pages[0].text == "hello"


async def test_the_name_of_the_job_leaves_before_anything_else(recognize_openly, worker):
    call = recognize_openly()
    headers = dict(await call.initial_metadata())
    record = await worker.claim()
    assert headers["x-triptych-job"] == f"jobs/{record.id}"
    await worker.succeed(record)
    assert [answer.job.name async for answer in call] == [f"jobs/{record.id}"]


async def test_a_large_result_comes_as_a_blob(recognize, worker):
    call = recognize()
    await worker.succeed(await worker.claim(), f"blobs/sha256-{'0' * 64}")
    answer = await call
    assert answer.WhichOneof("outcome") == "result_blob"


async def test_every_kind_has_its_blocking_call(client, worker, samples):
    audio, page = InputSource(content=samples.wav), InputSource(content=samples.pdf)
    calls = {
        "transcription": (
            client.transcription.Transcribe,
            transcription_service_pb2.TranscribeRequest(spec=TranscriptionSpec(input=audio)),
            JobResult(transcription=TranscriptionResult(text="t")),
        ),
        "vision": (
            client.vision.Generate,
            vision_service_pb2.GenerateRequest(spec=vision_spec()),
            JobResult(vision=VisionResult(text="v")),
        ),
        "reasoning": (
            client.reasoning.Answer,
            reasoning_service_pb2.AnswerRequest(
                spec=ReasoningSpec(question="?", documents=[SourceDocument(input=page), SourceDocument(input=audio)])
            ),
            JobResult(reasoning=ReasoningResult(answer=Answer(text="r"))),
        ),
    }
    for kind, (method, request, result) in calls.items():
        call = method(request, timeout=10)
        await worker.succeed(await worker.claim(kind), result)
        assert (await call).result == getattr(result, kind)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FieldInvalid("spec.pages", "wrong"), "INVALID_ARGUMENT"),
        (ExecutionTimeout("too slow"), "DEADLINE_EXCEEDED"),
        (OutputInvalid("no JSON", metadata={"a": "b"}), "INTERNAL"),
        (JobCancelled("stopped"), "CANCELLED"),
        (AcceleratorMemoryExhausted("too big"), "RESOURCE_EXHAUSTED"),
    ],
)
async def test_a_failed_job_fails_the_call_with_the_same_status(recognize, worker, fails, error, code):
    call = recognize()
    await worker.fail(await worker.claim(), error)
    failed = await fails(call)
    assert failed.code == code
    assert failed.status == error.to_status()
    # gRPC itself must not repeat what can only fail again.
    assert failed.metadata.get("grpc-retry-pushback-ms") == ("-1" if code == "RESOURCE_EXHAUSTED" else None)


async def test_a_call_without_deadline_is_refused(recognize, worker, fails):
    failed = await fails(recognize(timeout=None))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "DEADLINE_REQUIRED")


async def test_without_a_worker_nobody_waits(recognize, store, fails):
    failed = await fails(recognize())
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "NO_WORKER")


async def test_a_repeated_call_gets_its_result_though_no_worker_lives(serve, samples, store, worker):
    _, client = await serve()
    request = ocr_service_pb2.RecognizeRequest(
        spec=OcrSpec(input=InputSource(content=samples.png)), request_id=new_job_id()
    )
    call = client.ocr.Recognize(request, timeout=10)
    await worker.succeed(await worker.claim())
    first = await call
    await worker.announce("ocr", ttl_s=0.001)
    assert await client.ocr.Recognize(request, timeout=10) == first


async def test_the_deadline_cancels_the_job_and_names_it(recognize, worker, fails):
    call = recognize(timeout=2)
    record = await worker.claim()
    failed = await fails(call)
    assert (failed.code, failed.reason) == ("DEADLINE_EXCEEDED", "CALL_TIMEOUT")
    assert failed.error.metadata["job"] == f"jobs/{record.id}"
    assert dict(await failed.call.initial_metadata())["x-triptych-job"] == f"jobs/{record.id}"
    assert await worker.cancelled(record) == S.JOB_STATE_CANCELLING


async def test_a_caller_who_goes_away_cancels_the_job(recognize, worker):
    call = recognize()
    record = await worker.claim()
    call.cancel()
    assert await worker.cancelled(record) == S.JOB_STATE_CANCELLING


async def test_a_caller_who_goes_away_can_leave_the_job_running(recognize, recognize_openly, worker, job_state):
    request_id = new_job_id()
    call = recognize(options=KEEP, request_id=request_id)
    record = await worker.claim()
    call.cancel()
    again = recognize_openly(options=KEEP, request_id=request_id)
    await again.initial_metadata()
    assert await job_state(record.id) == S.JOB_STATE_RUNNING
    await worker.succeed(record)
    assert [answer.job.name async for answer in again] == [f"jobs/{record.id}"]


async def test_a_call_repeated_after_a_lost_connection_is_not_told_that_it_was_cancelled(recognize, worker):
    request_id = new_job_id()
    call = recognize(request_id=request_id)
    lost = await worker.claim()
    call.cancel()
    await worker.cancelled(lost)
    again = recognize(request_id=request_id)
    record = await worker.claim()
    assert record.id != lost.id
    await worker.succeed(record)
    assert (await again).job.name == f"jobs/{record.id}"


async def test_a_job_goes_on_while_somebody_waits_for_it(recognize_openly, worker, job_state, eventually):
    request_id, before = new_job_id(), cancelled_calls()
    first, second = recognize_openly(request_id=request_id), recognize_openly(request_id=request_id)
    record = await worker.claim()
    await asyncio.gather(first.initial_metadata(), second.initial_metadata())
    first.cancel()

    async def noticed():
        return cancelled_calls() > before

    await eventually(noticed)
    assert await job_state(record.id) == S.JOB_STATE_RUNNING
    await worker.succeed(record)
    assert [answer.result.pages[0].text async for answer in second] == ["hello"]


async def test_a_stream_ends_with_the_outcome(client, worker):
    call = client.vision.StreamGenerate(vision_service_pb2.StreamGenerateRequest(spec=vision_spec()))
    messages = aiter(call)
    first = (await anext(messages)).event
    record = await worker.claim("vision")
    assert first.job.name == f"jobs/{record.id}"
    await worker.emit(record, JobEvent(text_delta=TextDelta(text="ha")))
    await worker.succeed(record, JobResult(vision=VisionResult(text="ha")))
    events = [message.event async for message in messages]
    assert [event.text_delta.text for event in events if event.HasField("text_delta")] == ["ha"]
    assert events[-1].job.result.vision.text == "ha"


async def test_a_stream_of_a_failed_job_ends_well_with_its_error(client, worker):
    call = client.vision.StreamGenerate(vision_service_pb2.StreamGenerateRequest(spec=vision_spec()))
    await worker.fail(await worker.claim("vision"), OutputInvalid("no"))
    events = [message.event async for message in call]
    assert events[-1].job.error == OutputInvalid("no").to_status()
    assert await call.code() == grpc.StatusCode.OK


async def test_leaving_a_stream_cancels_its_job(client, worker):
    call = client.vision.StreamGenerate(vision_service_pb2.StreamGenerateRequest(spec=vision_spec()))
    await anext(aiter(call))
    record = await worker.claim("vision")
    call.cancel()
    assert await worker.cancelled(record) == S.JOB_STATE_CANCELLING


async def test_leaving_a_stream_that_is_being_written_cancels_its_job(client, worker):
    call = client.vision.StreamGenerate(vision_service_pb2.StreamGenerateRequest(spec=vision_spec()))
    record = await worker.claim("vision")
    # Nobody reads: flow control stops the server in the middle of a write.
    for _ in range(40):
        await worker.emit(record, JobEvent(text_delta=TextDelta(text="x" * 100_000)))
    call.cancel()
    assert await worker.cancelled(record) == S.JOB_STATE_CANCELLING


async def test_the_deadline_of_a_stream_cancels_its_job(client, worker, fails):
    call = client.vision.StreamGenerate(vision_service_pb2.StreamGenerateRequest(spec=vision_spec()), timeout=2)
    record = await worker.claim("vision")
    assert (await fails(call)).code == "DEADLINE_EXCEEDED"
    assert await worker.cancelled(record) == S.JOB_STATE_CANCELLING


async def test_a_specification_is_required(client, worker, fails):
    failed = await fails(client.ocr.Recognize(ocr_service_pb2.RecognizeRequest(), timeout=5))
    assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", "spec")


async def test_fields_are_named_as_the_typed_request_spells_them(client, worker, fails):
    request = ocr_service_pb2.StreamRecognizeRequest(spec=OcrSpec(input=InputSource(content=b"words")))
    failed = await fails(client.ocr.StreamRecognize(request))
    assert (failed.reason, failed.error.metadata["field"]) == ("MEDIA_TYPE_UNSUPPORTED", "spec.input")
