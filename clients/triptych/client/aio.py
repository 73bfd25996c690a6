"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc

from triptych.client import blobs, jobs, system
from triptych.client.async_runner import AsyncRunner
from triptych.client.calls import Calls
from triptych.client.channel import DEFAULT_TARGET, MIB
from triptych.client.failures import error_of
from triptych.client.inputs import Source
from triptych.client.typed import Terms
from triptych.client.watching import Watching
from triptych.core.errors import TriptychError
from triptych.v1.blob_service_pb2 import Blob
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import Job, JobEvent, JobKind, JobOptions, JobResult, JobSpec
from triptych.v1.job_service_pb2 import JobFilter
from triptych.v1.ocr_pb2 import OcrConfig, OcrResult
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningResult
from triptych.v1.system_service_pb2 import GetServerInfoResponse, Model, Queue
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionResult
from triptych.v1.vision_pb2 import GenerationConfig, VisionResult


class AsyncClient(AsyncRunner):
    """Calls the services without blocking the event loop; every error is one of `triptych.core.errors`.

    Args:
        target: "host:port", "dns:///name:port" (all its addresses, in turn) or "https://host:port" for TLS.
        api_key: Key of the caller; empty: none is sent.
        max_inline_bytes: Inputs of one request up to this size travel inside it; larger ones are uploaded.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, api_key: str = "", max_inline_bytes: int = MIB) -> None:
        super().__init__(target, api_key)
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

    async def recognize(
        self,
        document: Source,
        config: OcrConfig | None = None,
        *,
        pages: Sequence[PageRange] = (),
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> OcrResult:
        """Pixels to text: a PDF or an image; no `pages` means all. A page that failed carries its error."""
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        return await self._run(self._calls.recognize(document, config, pages, terms))

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
        """Images and text to text."""
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        return await self._run(self._calls.generate(prompt, images, config, terms))

    async def answer(
        self,
        question: str,
        documents: Sequence[Source],
        config: ReasoningConfig | None = None,
        *,
        output_json_schema: str = "",
        options: JobOptions | None = None,
        request_id: str = "",
        timeout_s: float = 600,
    ) -> ReasoningResult:
        """An answer from documents, with evidence; the documents are "d1", "d2", ... in it."""
        terms = Terms(options=options, request_id=request_id, timeout_s=timeout_s)
        flow = self._calls.answer(question, documents, config, output_json_schema, terms)
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

    async def delete_job(self, name: str, *, force: bool = False) -> None:
        """Deletes a terminal job and its result; `force` cancels it first."""
        await self._run(jobs.delete(name, force))

    # Bytes.

    async def sources(self, inputs: Sequence[Source]) -> list[InputSource]:
        """Makes inputs for one specification: small ones inline, the others uploaded."""
        return await self._run(blobs.as_inputs(inputs, self._calls.max_inline_bytes))

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

    # The deployment.

    async def models(self, kind: JobKind.ValueType = JobKind.JOB_KIND_UNSPECIFIED) -> list[Model]:
        """Gives the models that requests can name."""
        return await self._run(system.models(kind))

    async def queues(self) -> list[Queue]:
        """Gives the queues and their load."""
        return await self._run(system.queues())

    async def server_info(self) -> GetServerInfoResponse:
        """Gives version and limits."""
        return await self._run(system.server_info())
