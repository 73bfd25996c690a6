"""A small real server of the contract for the tests of the SDK: it keeps blobs and jobs, and breaks when told to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from grpc_status import rpc_status

from triptych.core.errors import (
    ApiKeyInvalid,
    BlobNotFound,
    CursorExpired,
    DeliveryNotFound,
    JobNotFound,
    MediaCorrupt,
    ServerDraining,
    TriptychError,
    UploadNotFound,
    UploadOffsetMismatch,
)
from triptych.v1 import (
    blob_service_pb2,
    blob_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    ocr_pb2,
    ocr_service_pb2,
    ocr_service_pb2_grpc,
    reasoning_service_pb2,
    reasoning_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    transcription_pb2,
    transcription_service_pb2,
    transcription_service_pb2_grpc,
    vision_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)
from triptych.v1.job_pb2 import Job, JobEvent, JobKind, JobProgress, JobResult, JobState


async def fail(context: Any, error: TriptychError) -> NoReturn:
    await context.abort_with_status(rpc_status.to_status(error.to_status()))
    raise AssertionError("abort raises")


class Blobs(blob_service_pb2_grpc.BlobServiceServicer):
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.partial: dict[str, bytearray] = {}
        self.chunks_received = 0
        self.break_after_chunks: int | None = None
        self.break_download_after: int | None = None
        self.offsets: list[int] = []
        self.purges: list[Any] = []
        self.remaining_count = 0

    def put(self, data: bytes) -> str:
        name = f"blobs/sha256-{hashlib.sha256(data).hexdigest()}"
        self.stored[name] = data
        return name

    def describe(self, name: str) -> blob_service_pb2.Blob:
        return blob_service_pb2.Blob(name=name, size_bytes=len(self.stored[name]))

    async def UploadBlob(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802 - gRPC's spelling
        header = None
        async for message in request_iterator:
            if message.HasField("header"):
                header = message.header
                self.offsets.append(header.offset_bytes)
                name = f"blobs/sha256-{header.sha256}"
                if name in self.stored:
                    return blob_service_pb2.UploadBlobResponse(blob=self.describe(name), already_existed=True)
                data = self.partial.setdefault(header.upload_id, bytearray())
                if len(data) != header.offset_bytes:
                    await fail(context, UploadOffsetMismatch("ask GetUpload"))
            elif message.HasField("commit"):
                name = self.put(bytes(data))
                assert name.endswith(message.commit.sha256)
                return blob_service_pb2.UploadBlobResponse(blob=self.describe(name))
            else:
                data += message.chunk
                self.chunks_received += 1
                if self.break_after_chunks is not None and self.chunks_received >= self.break_after_chunks:
                    self.break_after_chunks = None
                    await fail(context, ServerDraining("shutting down"))
        raise AssertionError("no commit")

    async def GetUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.upload_id not in self.partial:
            await fail(context, UploadNotFound("unknown"))
        return blob_service_pb2.GetUploadResponse(committed_size_bytes=len(self.partial[request.upload_id]))

    async def Purge(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.purges.append(request)
        return blob_service_pb2.PurgeResponse(
            job_count=2, unit_count=12, blob_count=14, remaining_count=self.remaining_count
        )

    async def DownloadBlob(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        if request.name not in self.stored:
            await fail(context, BlobNotFound(f"{request.name} is unknown"))
        data = self.stored[request.name]
        for sent, start in enumerate(range(request.offset_bytes, len(data), 65536)):
            if self.break_download_after is not None and sent == self.break_download_after:
                self.break_download_after = None
                await fail(context, ServerDraining("shutting down"))
            yield blob_service_pb2.DownloadBlobResponse(chunk=data[start : start + 65536])


class Jobs(job_service_pb2_grpc.JobServiceServicer):
    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.by_request: dict[str, Job] = {}
        self.cursors: list[str] = []
        self.break_watch_after: int | None = None
        self.expire_cursors = False
        self.submit_failures = 0
        self.submit_calls = 0
        hello = {"text": "hello", "segments": [{"text": "hello", "end_ms": 900}]}
        self.outcome: dict[str, Any] = {"result": JobResult(transcription=hello)}
        # Segments that are told before the end, and what the end then waits for.
        self.segments: list[transcription_pb2.TranscriptSegment] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.specs: list[Any] = []
        self.cancelled: list[str] = []
        self.retried: list[str] = []
        self.watched = asyncio.Event()
        self.hang = False
        self.ended = False

    async def SubmitJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.submit_calls += 1
        self.specs.append(request.spec)
        if self.submit_failures:
            self.submit_failures -= 1
            await fail(context, ServerDraining("shutting down"))
        assert request.request_id
        job = self.by_request.setdefault(
            request.request_id,
            Job(name=f"jobs/{len(self.by_request) + 1}", state=JobState.JOB_STATE_PENDING),
        )
        return job_service_pb2.SubmitJobResponse(job=job)

    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name not in [job.name for job in self.by_request.values()]:
            await fail(context, JobNotFound(f"{request.name} is unknown"))
        return job_service_pb2.GetJobResponse(job=self.done(request.name))

    async def ListJobs(self, request: Any, context: Any) -> Any:  # noqa: N802
        jobs = list(self.by_request.values())
        start = int(request.page_token or 0)
        page = jobs[start : start + 2]
        token = str(start + 2) if start + 2 < len(jobs) else ""
        return job_service_pb2.ListJobsResponse(jobs=page, next_page_token=token)

    async def CancelJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.cancelled.append(request.name)
        return job_service_pb2.CancelJobResponse(job=Job(name=request.name, state=JobState.JOB_STATE_CANCELLING))

    async def RetryJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        assert request.request_id
        self.retried.append(request.name)
        job = self.by_request.setdefault(
            request.request_id,
            Job(name=f"jobs/{len(self.by_request) + 1}", state=JobState.JOB_STATE_PENDING),
        )
        return job_service_pb2.RetryJobResponse(job=job)

    async def WaitJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        return job_service_pb2.WaitJobResponse(job=self.done(request.name))

    def done(self, name: str) -> Job:
        failed = "error" in self.outcome
        state = JobState.JOB_STATE_FAILED if failed else JobState.JOB_STATE_SUCCEEDED
        return Job(name=name, kind=JobKind.JOB_KIND_TRANSCRIPTION, state=state, **self.outcome)

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.cursors.append(request.after_cursor)
        if self.ended:
            yield job_service_pb2.WatchJobResponse(event=JobEvent(cursor="0", job=self.done(request.name)))
        if self.hang:
            yield job_service_pb2.WatchJobResponse(
                event=JobEvent(job=Job(name=request.name, state=JobState.JOB_STATE_RUNNING))
            )
            self.watched.set()
            await asyncio.Event().wait()
        if self.expire_cursors and request.after_cursor:
            await fail(context, CursorExpired("too old"))
        events = [
            JobEvent(job=Job(name=request.name, state=JobState.JOB_STATE_RUNNING)),
            JobEvent(progress=JobProgress(stage="decode", percent=50)),
            JobEvent(progress=JobProgress(stage="text", percent=90)),
            *(JobEvent(transcript_segment=segment) for segment in self.segments if request.include_partials),
            JobEvent(job=self.done(request.name)),
        ]
        start = int(request.after_cursor or 0)
        for number, event in enumerate(events[start:], start + 1):
            if number == len(events):
                await self.may_end.wait()
            if self.break_watch_after == number - 1:
                self.break_watch_after = None
                await fail(context, ServerDraining("shutting down"))
            event.cursor = str(number)
            yield job_service_pb2.WatchJobResponse(event=event)


class Speech(transcription_service_pb2_grpc.TranscriptionServiceServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.deadlines: list[float] = []
        self.drain_after_job = False
        self.refuse_key = False
        self.hang = False
        self.called = asyncio.Event()
        self.refuse_after = 0

    async def Transcribe(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        self.called.set()
        self.metadata.append(dict(context.invocation_metadata()))
        self.deadlines.append(context.time_remaining())
        if self.refuse_key:
            await fail(context, ApiKeyInvalid("unknown key"))
        await context.send_initial_metadata([("x-triptych-job", "jobs/7")])
        if self.hang:
            await asyncio.Event().wait()
        if self.drain_after_job:
            self.drain_after_job = False
            await fail(context, ServerDraining("shutting down"))
        result = transcription_pb2.TranscriptionResult(text=f"{len(request.spec.input.content)} bytes")
        return transcription_service_pb2.TranscribeResponse(job=Job(name="jobs/7"), result=result)

    async def FormatTranscript(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        if request.job:
            await fail(context, JobNotFound(f"{request.job} is unknown"))
        return transcription_service_pb2.FormatTranscriptResponse(content=f"{request.result.text}\n")

    async def LiveTranscribe(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Hears every message as a word, its length."""
        self.metadata.append(dict(context.invocation_metadata()))
        words: list[str] = []
        async for message in request_iterator:
            if message.HasField("config"):
                self.requests.append(message.config)
                yield transcription_service_pb2.LiveTranscribeResponse(started={})
                continue
            words.append(str(len(message.audio)))
            if len(words) == self.refuse_after:
                await fail(context, MediaCorrupt("no audio", metadata={"resume_ms": "5"}))
            self.called.set()
            unstable = f" {words[-1]}"
            yield transcription_service_pb2.LiveTranscribeResponse(
                interim={"stable_text": " ".join(words[:-1]), "unstable_text": unstable, "end_ms": len(words)}
            )
        segment = {"start_ms": 1000, "end_ms": 2000, "text": " ".join(words)}
        result = {"text": " ".join(words), "segments": [segment]}
        yield transcription_service_pb2.LiveTranscribeResponse(final={"result": result, "job": "jobs/7"})


class Ocr(ocr_service_pb2_grpc.OcrServiceServicer):
    """Always answers with a result that is too large to be inline; files of it are what was asked for."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.formats: list[Any] = []

    async def Recognize(self, request: Any, context: Any) -> Any:  # noqa: N802
        pages = [ocr_pb2.OcrPage(page_number=1, text="x" * 300_000)]
        name = self.blobs.put(JobResult(ocr=ocr_pb2.OcrResult(pages=pages)).SerializeToString())
        return ocr_service_pb2.RecognizeResponse(job=Job(name="jobs/8"), result_blob=name)

    async def FormatPages(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.formats.append(request)
        if request.job == "jobs/none":
            await fail(context, JobNotFound(f"{request.job} is unknown"))
        if request.job:
            return ocr_service_pb2.FormatPagesResponse(content_blob=self.blobs.put(b"%PDF-" + b"x" * 700_000))
        return ocr_service_pb2.FormatPagesResponse(content=request.result.pages[0].text.encode())


class System(system_service_pb2_grpc.SystemServiceServicer):
    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        names = ["a", "b", "c"]
        start = int(request.page_token or 0)
        return system_service_pb2.ListModelsResponse(
            models=[system_service_pb2.Model(name=names[start])],
            next_page_token=str(start + 1) if start < 2 else "",
        )

    async def ListQueues(self, request: Any, context: Any) -> Any:  # noqa: N802
        kinds = list(JobKind.values())[1:]
        return system_service_pb2.ListQueuesResponse(
            queues=[system_service_pb2.Queue(name=f"q{kind}", kind=kind, worker_count=1) for kind in kinds]
        )

    async def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return system_service_pb2.GetServerInfoResponse(version="9.9")


class Reasoning(reasoning_service_pb2_grpc.ReasoningServiceServicer):
    def __init__(self) -> None:
        self.pipelines: list[reasoning_service_pb2.Pipeline] = []

    async def ListPipelines(self, request: Any, context: Any) -> Any:  # noqa: N802
        return reasoning_service_pb2.ListPipelinesResponse(pipelines=self.pipelines)


class Webhooks(webhook_service_pb2_grpc.WebhookServiceServicer):
    def __init__(self) -> None:
        self.deliveries: list[webhook_service_pb2.Delivery] = []

    async def ListDeliveries(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = [each for each in self.deliveries if request.state in (0, each.state)]
        start = int(request.page_token or 0)
        end = start + min(2, request.page_size)
        token = str(end) if end < len(found) else ""
        return webhook_service_pb2.ListDeliveriesResponse(deliveries=found[start:end], next_page_token=token)

    async def ReplayDelivery(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = [each for each in self.deliveries if each.name == request.name]
        if not found:
            await fail(context, DeliveryNotFound(f"{request.name} is unknown"))
        found[0].state = webhook_service_pb2.DeliveryState.DELIVERY_STATE_WAITING
        return webhook_service_pb2.ReplayDeliveryResponse(delivery=found[0])

    async def DeleteDelivery(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.deliveries = [each for each in self.deliveries if each.name != request.name]
        return webhook_service_pb2.DeleteDeliveryResponse()


class StandIn:
    """The server; `port` 0 takes a free one."""

    def __init__(self) -> None:
        self.blobs = Blobs()
        self.jobs = Jobs(self.blobs)
        self.speech = Speech()
        self.ocr = Ocr(self.blobs)
        self.reasoning = Reasoning()
        self.webhooks = Webhooks()
        self.target = ""

    async def start(self) -> None:
        # so_reuseport off: a test must never meet another test's server.
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        blob_service_pb2_grpc.add_BlobServiceServicer_to_server(self.blobs, self.server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self.jobs, self.server)
        transcription_service_pb2_grpc.add_TranscriptionServiceServicer_to_server(self.speech, self.server)
        ocr_service_pb2_grpc.add_OcrServiceServicer_to_server(self.ocr, self.server)
        system_service_pb2_grpc.add_SystemServiceServicer_to_server(System(), self.server)
        vision_service_pb2_grpc.add_VisionServiceServicer_to_server(
            vision_service_pb2_grpc.VisionServiceServicer(), self.server
        )
        reasoning_service_pb2_grpc.add_ReasoningServiceServicer_to_server(self.reasoning, self.server)
        webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server(self.webhooks, self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(None)
