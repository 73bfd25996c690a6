"""The services named after what they do: each call is a job that its caller waits for or watches."""
# ruff: noqa: N802 - methods bear the contract's names

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from google.rpc.status_pb2 import Status

from triptych.core.cancellation import cancel_tree
from triptych.core.errors import CallTimeout, JobNotFound, TriptychError, from_status
from triptych.core.pipelines.catalogue import Entry
from triptych.core.records import JobRecord
from triptych.services.backend import Backend
from triptych.services.caller import CALLER, Caller
from triptych.services.deadlines import patience_s
from triptych.services.fields import need
from triptych.services.intake import Intake, Wanted
from triptych.services.live.service import Live
from triptych.services.pages import Pages
from triptych.services.transcripts import Transcripts
from triptych.v1 import ocr_service_pb2 as ocr
from triptych.v1 import reasoning_service_pb2 as reasoning
from triptych.v1 import transcription_service_pb2 as transcription
from triptych.v1 import vision_service_pb2 as vision
from triptych.v1.job_pb2 import DisconnectPolicy, JobEvent, JobResult, JobSpec, JobView
from triptych.v1.ocr_service_pb2_grpc import OcrServiceServicer
from triptych.v1.reasoning_service_pb2_grpc import ReasoningServiceServicer
from triptych.v1.transcription_service_pb2_grpc import TranscriptionServiceServicer
from triptych.v1.vision_service_pb2_grpc import VisionServiceServicer

log = logging.getLogger("triptych.services")

# Tells the job's name before anything else, so that a caller can find it after a lost connection.
JOB_HEADER = "x-triptych-job"


class TypedCalls:
    """Submits a job for its caller and stays with it, whatever kind it is."""

    def __init__(self, backend: Backend, intake: Intake) -> None:
        self._backend = backend
        self._intake = intake
        # Job id -> calls of this process that wait for it.
        self._waiting: Counter[str] = Counter()

    async def run(self, request: Any, context: Any, spec: JobSpec, response: Any) -> Any:
        """Submits, waits and fills the response.

        Raises:
            CallTimeout: The deadline came first.
            TriptychError: What the job ended with, or why there is none.
        """
        caller = CALLER.get()
        async with self._job(request, context, spec, caller) as job:
            waiting = self._backend.hub.wait(job.id, caller.tenant, patience_s(context))
            record = await self._backend.drain.call(waiting)
            if not record.terminal:
                raise CallTimeout(
                    f"jobs/{job.id} did not end before the call's deadline", metadata={"job": f"jobs/{job.id}"}
                )
        if record.error:
            raise from_status(Status.FromString(record.error))
        response.job.CopyFrom(record.to_job(JobView.JOB_VIEW_BASIC))
        if record.result_blob:
            response.result_blob = record.result_blob
        else:
            response.result.CopyFrom(getattr(JobResult.FromString(record.result), record.kind))
        return response

    async def stream(self, request: Any, context: Any, spec: JobSpec) -> AsyncIterator[JobEvent]:
        """Submits and yields what happens, the outcome last.

        Raises:
            TriptychError: Why there is no job, or ServerDraining.
        """
        caller = CALLER.get()
        async with self._job(request, context, spec, caller) as job:
            heartbeat_s = self._backend.settings.heartbeat_s
            events = self._backend.hub.watch(job.id, caller.tenant, heartbeat_s=heartbeat_s)
            async for event in self._backend.drain.stream(events):
                yield event

    @asynccontextmanager
    async def _job(self, request: Any, context: Any, spec: JobSpec, caller: Caller) -> AsyncIterator[JobRecord]:
        """The job of this call; whoever leaves early without an error of the job's own abandons it."""
        need(request.HasField("spec"), "spec", "is required")
        keeps = request.options.disconnect_policy == DisconnectPolicy.DISCONNECT_POLICY_CONTINUE
        wanted = Wanted(
            spec=spec,
            options=request.options,
            request_id=request.request_id,
            path="spec",
            waits=True,
            # A job that goes with its caller is of no use after the deadline.
            call_timeout_s=0 if keeps else context.time_remaining() or 0,
        )
        # A caller who goes away meanwhile must not leave a job behind that nobody knows of: the submission ends.
        submission = self._backend.errands.run(self._intake.submit(wanted, caller))
        job, abandoned = None, True
        try:
            job = await asyncio.shield(submission)
            self._waiting[job.id] += 1
            await context.send_initial_metadata(((JOB_HEADER, f"jobs/{job.id}"),))
            yield job
            abandoned = False
        except CallTimeout:
            raise
        except TriptychError:
            abandoned = False
            raise
        finally:
            if job:
                self._waiting[job.id] -= 1
                self._waiting += Counter()  # forgets zeros
            # At the end of a shutdown calls are cut off; their callers come back elsewhere.
            if abandoned and not keeps and not self._backend.drain.draining:
                self._backend.errands.run(self._abandon(submission, caller))

    async def _abandon(self, submission: asyncio.Task[JobRecord], caller: Caller) -> None:
        job = await submission
        if job.terminal or self._waiting[job.id]:
            return
        log.info("cancelled: its caller is gone", extra={"job_id": job.id, "trace_id": caller.trace_id})
        try:
            await cancel_tree(self._backend.store, job.id, caller.tenant, abandoned=True)
        except JobNotFound:
            log.debug("it was gone already", extra={"job_id": job.id})


class Transcription(TranscriptionServiceServicer):
    """Speech to text."""

    def __init__(self, calls: TypedCalls, transcripts: Transcripts, live: Live) -> None:
        self._calls = calls
        self._transcripts = transcripts
        self._live = live

    async def Transcribe(self, request: transcription.TranscribeRequest, context: Any) -> Any:
        """Runs and waits."""
        spec = JobSpec(transcription=request.spec)
        return await self._calls.run(request, context, spec, transcription.TranscribeResponse())

    async def StreamTranscribe(
        self, request: transcription.StreamTranscribeRequest, context: Any
    ) -> AsyncIterator[transcription.StreamTranscribeResponse]:
        """Runs and streams."""
        async for event in self._calls.stream(request, context, JobSpec(transcription=request.spec)):
            yield transcription.StreamTranscribeResponse(event=event)

    async def FormatTranscript(
        self, request: transcription.FormatTranscriptRequest, _context: Any
    ) -> transcription.FormatTranscriptResponse:
        """Writes a transcript as subtitles or as a table."""
        return await self._transcripts.format(request)

    async def LiveTranscribe(
        self, request_iterator: AsyncIterator[transcription.LiveTranscribeRequest], context: Any
    ) -> AsyncIterator[transcription.LiveTranscribeResponse]:
        """Transcribes while it is spoken."""
        async with aclosing(self._live.transcribe(request_iterator, context)) as events:
            async for event in events:
                yield event


class Ocr(OcrServiceServicer):
    """Pages to text."""

    def __init__(self, calls: TypedCalls, pages: Pages) -> None:
        self._calls = calls
        self._pages = pages

    async def Recognize(self, request: ocr.RecognizeRequest, context: Any) -> Any:
        """Runs and waits."""
        return await self._calls.run(request, context, JobSpec(ocr=request.spec), ocr.RecognizeResponse())

    async def StreamRecognize(
        self, request: ocr.StreamRecognizeRequest, context: Any
    ) -> AsyncIterator[ocr.StreamRecognizeResponse]:
        """Runs and streams."""
        async for event in self._calls.stream(request, context, JobSpec(ocr=request.spec)):
            yield ocr.StreamRecognizeResponse(event=event)

    async def FormatPages(self, request: ocr.FormatPagesRequest, _context: Any) -> ocr.FormatPagesResponse:
        """Writes what was read as a file."""
        return await self._pages.format(request)


class Vision(VisionServiceServicer):
    """Images and text to text."""

    def __init__(self, calls: TypedCalls) -> None:
        self._calls = calls

    async def Generate(self, request: vision.GenerateRequest, context: Any) -> Any:
        """Runs and waits."""
        return await self._calls.run(request, context, JobSpec(vision=request.spec), vision.GenerateResponse())

    async def StreamGenerate(
        self, request: vision.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[vision.StreamGenerateResponse]:
        """Runs and streams."""
        async for event in self._calls.stream(request, context, JobSpec(vision=request.spec)):
            yield vision.StreamGenerateResponse(event=event)


class Reasoning(ReasoningServiceServicer):
    """Documents and a question to an answer with evidence."""

    def __init__(self, calls: TypedCalls, backend: Backend) -> None:
        self._calls = calls
        self._pipelines = backend.pipelines

    async def Answer(self, request: reasoning.AnswerRequest, context: Any) -> Any:
        """Runs and waits."""
        return await self._calls.run(request, context, JobSpec(reasoning=request.spec), reasoning.AnswerResponse())

    async def StreamAnswer(
        self, request: reasoning.StreamAnswerRequest, context: Any
    ) -> AsyncIterator[reasoning.StreamAnswerResponse]:
        """Runs and streams."""
        async for event in self._calls.stream(request, context, JobSpec(reasoning=request.spec)):
            yield reasoning.StreamAnswerResponse(event=event)

    async def ListPipelines(
        self, _request: reasoning.ListPipelinesRequest, _context: Any
    ) -> reasoning.ListPipelinesResponse:
        """Gives the plans, wrong ones with what is wrong."""
        entries = await asyncio.to_thread(self._pipelines.entries)
        return reasoning.ListPipelinesResponse(pipelines=[_pipeline(entry) for entry in entries])


def _pipeline(entry: Entry) -> reasoning.Pipeline:
    if (plan := entry.plan) is None:
        return reasoning.Pipeline(name=entry.name, custom=entry.custom, error=entry.error)
    return reasoning.Pipeline(
        name=plan.name,
        description=plan.description,
        digest=plan.digest,
        question=plan.question,
        output_json_schema=plan.schema,
        custom=plan.custom,
    )
