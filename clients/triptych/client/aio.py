"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc

from triptych.client import blobs, deliveries, jobs, system, transcripts
from triptych.client import pages as pages_of
from triptych.client.async_runner import AsyncRunner
from triptych.client.calls import Calls
from triptych.client.channel import DEFAULT_TARGET, MIB
from triptych.client.failures import error_of
from triptych.client.inputs import Source
from triptych.client.live import LiveBridge
from triptych.client.typed import Terms
from triptych.client.watching import Watching
from triptych.core.errors import TriptychError
from triptych.v1.blob_service_pb2 import Blob, PurgeResponse
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import Job, JobEvent, JobKind, JobOptions, JobResult, JobSpec
from triptych.v1.job_service_pb2 import JobFilter
from triptych.v1.ocr_pb2 import OcrConfig, OcrResult
from triptych.v1.ocr_service_pb2 import PagesFormat
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningResult
from triptych.v1.reasoning_service_pb2 import Pipeline
from triptych.v1.system_service_pb2 import EgressBudget, GetServerInfoResponse, LedgerEntry, Model, Queue
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules, LiveConfig, LiveTranscribeResponse, TranscriptFormat
from triptych.v1.vision_pb2 import GenerationConfig, VisionResult
from triptych.v1.webhook_service_pb2 import Delivery, DeliveryState


class AsyncClient(AsyncRunner):
    """Calls the services without blocking the event loop; every error is one of `triptych.core.errors`.

    Args:
        target: "host:port", "dns:///name:port" (all its addresses, in turn) or "https://host:port" for TLS.
        api_key: Key of the caller; empty: none is sent.
        max_inline_bytes: Inputs of one request up to this size travel inside it; larger ones are uploaded.
        retries: Whether a call that was refused for now is made again by itself. False is for callers who have more
            patience than a call has time: they look at `retry_after_s` of the error.
    """

    def __init__(
        self, target: str = DEFAULT_TARGET, *, api_key: str = "", max_inline_bytes: int = MIB, retries: bool = True
    ) -> None:
        super().__init__(target, api_key, retries=retries)
        self._calls = Calls(max_inline_bytes)

    # Run a job and wait for its result.

    async def transcribe(
        self,
        audio: Source,
        config: TranscriptionConfig | None = None,
        *,
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> TranscriptionResult:
        """Speech to text.

        Args:
            audio: Audio or video: path, bytes or InputSource.
            config: Model, language, word times and so on.
            options: How the job is run and kept.
            request_id: UUID that makes a repeated call join the same job; made up if empty.
            timeout_s: Deadline in seconds; then TimedOut, with `metadata["job"]`.

        Raises:
            TriptychError: What the server said, or the error with which the job failed.
        """
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        return await self._run(self._calls.transcribe(audio, config, terms))

    async def format_transcript(
        self,
        transcript: str | TranscriptionResult,
        transcript_format: TranscriptFormat.ValueType,
        cue_rules: CueRules | None = None,
    ) -> str:
        """Writes a transcript as text, subtitles (SRT, WebVTT), a table or JSON.

        Args:
            transcript: Name of a transcription job that has succeeded, or a result.
            transcript_format: What to write.
            cue_rules: How subtitles are cut.

        Raises:
            InputTooLarge: It fits no message; `triptych.core.transcript_formats` writes it here, from the result.
            TriptychError: What the server said, or the error with which the job failed.
        """
        return await self._run(transcripts.format_transcript(transcript, transcript_format, cue_rules))

    async def live_transcribe(
        self, audio: AsyncIterable[bytes], config: LiveConfig, *, timeout_s: float | None = None
    ) -> AsyncIterator[LiveTranscribeResponse]:
        """Transcribes speech while it is spoken: yields `started`, then `interim`, `final` and `heartbeat` events.

        Args:
            audio: Pieces in `config.encoding`: PCM in whole frames, or Opus packets one by one. They are taken no
                faster than the service can transcribe. What it raises is raised here, behind the results of what came
                before.
            config: What the audio is, and how it is transcribed; `config.encoding` and, for PCM, the rate are required.
            timeout_s: Deadline of the call in seconds; None: as long as there is audio.

        Raises:
            TriptychError: What the server said. `metadata["resume_ms"]`, if it is there, says from where on the audio
                is to be sent again, in a new call.
        """
        method = self._sending_stubs()["TranscriptionService"].LiveTranscribe
        begin = functools.partial(method, timeout=timeout_s, metadata=self._metadata)
        try:
            async with aclosing(LiveBridge(begin, config, audio).events()) as events:
                async for event in events:
                    yield event
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    async def recognize(
        self,
        document: Source,
        config: OcrConfig | None = None,
        *,
        pages: Sequence[PageRange] = (),
        password: str = "",
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> OcrResult:
        """Pixels to text: a PDF or an image; no `pages` means all. A page that failed carries its error.

        The password opens an encrypted PDF; no job tells it again.
        """
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        return await self._run(self._calls.recognize(document, config, pages, password, terms))

    async def format_pages(
        self,
        pages: str | OcrResult,
        pages_format: PagesFormat.ValueType,
        document: Source | None = None,
    ) -> bytes:
        """Writes what was read as text, Markdown, HTML, hOCR, ALTO, JSON or a searchable PDF; text is UTF-8.

        Args:
            pages: Name of an OCR job that has succeeded, or a result.
            pages_format: What to write.
            document: What was read, for a searchable PDF of a result or of a job whose document is no longer kept.

        Raises:
            TriptychError: What the server said, or the error with which the job failed.
        """
        return await self._run(pages_of.format_pages(pages, pages_format, document, self._calls.max_inline_bytes))

    async def generate(
        self,
        prompt: str,
        images: Sequence[Source] = (),
        config: GenerationConfig | None = None,
        *,
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> VisionResult:
        """Images and text to text; `specs.generation` makes options that hold the text to a schema, say."""
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        return await self._run(self._calls.generate(prompt, images, config, terms))

    async def answer(
        self,
        question: str,
        documents: Sequence[Source],
        config: ReasoningConfig | None = None,
        *,
        output_json_schema: Mapping[str, Any] | str = "",
        pipeline: str = "",
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> ReasoningResult:
        """An answer from documents, with evidence; the documents are "d1", "d2", ... in it."""
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        flow = self._calls.answer(question, documents, config, output_json_schema, pipeline, terms)
        return await self._run(flow)

    # Jobs.

    async def submit(self, spec: JobSpec, options: JobOptions | None = None, *, request_id: str = "") -> Job:
        """Submits a job and returns at once; `triptych.client.specs` builds specifications."""
        return await self._run(jobs.submit(spec, options, request_id))

    async def get_job(self, name: str) -> Job:
        """Gives a job with its outcome."""
        return await self._run(jobs.get(name))

    async def list_jobs(self, job_filter: JobFilter | None = None, *, limit: int = 50) -> list[Job]:
        """Gives the newest jobs, without specification and result."""
        return await self._run(jobs.list_jobs(job_filter, limit))

    async def wait_job(self, name: str, *, timeout_s: float | None = None) -> Job:
        """Waits until a job is terminal, however it ended; None waits for ever. TimedOut leaves the job alone."""
        return await self._run(jobs.wait(name, timeout_s))

    async def result(self, job: Job) -> JobResult:
        """Gives the result of a terminal job, large ones too, or raises the error with which it failed."""
        return await self._run(jobs.outcome(job))

    async def watch_job(
        self, name: str, *, after_cursor: str = "", include_partials: bool = True, timeout_s: float | None = None
    ) -> AsyncIterator[JobEvent]:
        """Yields a job's events; the last one has the terminal job. A broken stream goes on after the last event.

        When `JobEvent.attempt` rises, partial results of earlier attempts are void. After `timeout_s` seconds
        TimedOut is raised and the job goes on.
        """
        watching = Watching(name, after_cursor=after_cursor, include_partials=include_partials, timeout_s=timeout_s)
        while not watching.done:
            stream = self._stubs["JobService"].WatchJob(
                watching.request(), timeout=watching.left_s(), metadata=self._metadata
            )
            failed: TriptychError | None = None
            try:
                async for response in stream:
                    watching.saw(response.event)
                    yield response.event
            except grpc.RpcError as error:
                failed = error_of(error, self.target)
            finally:
                stream.cancel()
            if not watching.done:
                await asyncio.sleep(watching.pause_s(failed))

    async def cancel_job(self, name: str) -> Job:
        """Asks for cancellation, of child jobs too; a terminal job stays as it is."""
        return await self._run(jobs.cancel(name))

    async def retry_job(self, name: str, *, request_id: str = "") -> Job:
        """Submits a job that has ended again, as a new job with the same specification and options."""
        return await self._run(jobs.retry(name, request_id))

    async def delete_job(self, name: str, *, force: bool = False) -> None:
        """Deletes a terminal job and its result; `force` cancels it first."""
        await self._run(jobs.delete(name, force))

    # Webhooks.

    async def list_deliveries(
        self, state: DeliveryState.ValueType = DeliveryState.DELIVERY_STATE_UNSPECIFIED, *, limit: int = 50
    ) -> list[Delivery]:
        """Gives the newest messages to webhooks that are not taken yet: those that wait and the dead letters."""
        return await self._run(deliveries.list_deliveries(state, limit))

    async def replay_delivery(self, name: str) -> Delivery:
        """Sends a message to its webhook again at once, with a new series of attempts."""
        return await self._run(deliveries.replay(name))

    async def delete_delivery(self, name: str) -> None:
        """Drops a message to a webhook; one that is not there is no error."""
        await self._run(deliveries.delete(name))

    # Bytes.

    async def sources(self, inputs: Sequence[Source], *, password: str = "") -> list[InputSource]:
        """Makes inputs for one specification: small ones inline, others uploaded; the password opens encrypted PDFs."""
        return await self._run(blobs.as_inputs(inputs, self._calls.max_inline_bytes, password))

    async def upload(self, source: str | os.PathLike[str] | bytes, *, ttl_s: float | None = None) -> Blob:
        """Uploads a file or bytes; a broken stream goes on where it stopped, known bytes are not sent."""
        return await self._run(self._calls.upload(source, ttl_s))

    async def download(self, name: str) -> bytes:
        """Gives a blob's bytes, compared with the digest in its name."""
        return await self._run(blobs.read(name))

    async def download_to(self, name: str, path: Path) -> int:
        """Writes a blob to a file and returns its size in bytes."""
        with path.open("wb") as file:
            return await self._run(blobs.download(name, file.write))

    async def purge_document(self, document: Source) -> PurgeResponse:
        """Removes a document with everything that comes of it: jobs that read it, their results, cached units.

        Args:
            document: The file or bytes, or InputSource(blob=name); it need not be stored any more.

        Returns:
            What was removed; `remaining_count` is 0 if a search over the whole store found nothing more.
        """
        return await self._run(blobs.purge(document))

    async def purge_tenant(self) -> PurgeResponse:
        """Removes everything of the caller's tenant: jobs, results, blobs, unfinished uploads, cached units."""
        return await self._run(blobs.purge(None))

    # The deployment.

    async def models(self, kind: JobKind.ValueType = JobKind.JOB_KIND_UNSPECIFIED) -> list[Model]:
        """Gives the models that requests can name."""
        return await self._run(system.models(kind))

    async def pipelines(self) -> list[Pipeline]:
        """Gives the plans that `answer` can name, wrong ones with what is wrong."""
        return await self._run(system.pipelines())

    async def queues(self) -> list[Queue]:
        """Gives the queues and their load."""
        return await self._run(system.queues())

    async def ledger(self, *, limit: int = 50) -> tuple[list[LedgerEntry], EgressBudget]:
        """Gives what left to models outside of the caller's tenant, newest first, and its budget."""
        return await self._run(system.ledger(limit))

    async def server_info(self) -> GetServerInfoResponse:
        """Gives version and limits."""
        return await self._run(system.server_info())
