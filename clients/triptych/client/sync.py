"""The blocking client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from triptych.client import blobs, deliveries, jobs, system, transcripts
from triptych.client import pages as pages_of
from triptych.client.blocking_runner import BlockingRunner
from triptych.client.calls import Calls
from triptych.client.channel import DEFAULT_TARGET, MIB
from triptych.client.failures import error_of
from triptych.client.inputs import Source
from triptych.client.live import LiveRequests
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


class Client(BlockingRunner):
    """Calls the services; every error is one of `triptych.core.errors`.

    Args:
        target: "host:port", "dns:///name:port" (all its addresses, in turn) or "https://host:port" for TLS.
        api_key: Key of the caller; empty: none is sent.
        max_inline_bytes: Inputs of one request up to this size travel inside it; larger ones are uploaded.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, api_key: str = "", max_inline_bytes: int = MIB) -> None:
        super().__init__(target, api_key)
        self._calls = Calls(max_inline_bytes)

    # Run a job and wait for its result.

    def transcribe(
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
        return self._run(self._calls.transcribe(audio, config, terms))

    def format_transcript(
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
        return self._run(transcripts.format_transcript(transcript, transcript_format, cue_rules))

    def live_transcribe(
        self, audio: Iterable[bytes], config: LiveConfig, *, timeout_s: float | None = None
    ) -> Iterator[LiveTranscribeResponse]:
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
        requests = LiveRequests(config, audio)
        method = self._stubs["TranscriptionService"].LiveTranscribe
        stream = method(iter(requests), timeout=timeout_s, metadata=self._metadata)
        try:
            yield from stream
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        finally:
            stream.cancel()
        if requests.failed:
            raise requests.failed

    def recognize(
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
        return self._run(self._calls.recognize(document, config, pages, password, terms))

    def format_pages(
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
        return self._run(pages_of.format_pages(pages, pages_format, document, self._calls.max_inline_bytes))

    def generate(
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
        return self._run(self._calls.generate(prompt, images, config, terms))

    def answer(
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
        return self._run(flow)

    # Jobs.

    def submit(self, spec: JobSpec, options: JobOptions | None = None, *, request_id: str = "") -> Job:
        """Submits a job and returns at once; `triptych.client.specs` builds specifications."""
        return self._run(jobs.submit(spec, options, request_id))

    def get_job(self, name: str) -> Job:
        """Gives a job with its outcome."""
        return self._run(jobs.get(name))

    def list_jobs(self, job_filter: JobFilter | None = None, *, limit: int = 50) -> list[Job]:
        """Gives the newest jobs, without specification and result."""
        return self._run(jobs.list_jobs(job_filter, limit))

    def wait_job(self, name: str, *, timeout_s: float | None = None) -> Job:
        """Waits until a job is terminal, however it ended; None waits for ever. TimedOut leaves the job alone."""
        return self._run(jobs.wait(name, timeout_s))

    def result(self, job: Job) -> JobResult:
        """Gives the result of a terminal job, large ones too, or raises the error with which it failed."""
        return self._run(jobs.outcome(job))

    def watch_job(
        self, name: str, *, after_cursor: str = "", include_partials: bool = True, timeout_s: float | None = None
    ) -> Iterator[JobEvent]:
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
                for response in stream:
                    watching.saw(response.event)
                    yield response.event
            except grpc.RpcError as error:
                failed = error_of(error, self.target)
            finally:
                stream.cancel()
            if not watching.done:
                time.sleep(watching.pause_s(failed))

    def cancel_job(self, name: str) -> Job:
        """Asks for cancellation, of child jobs too; a terminal job stays as it is."""
        return self._run(jobs.cancel(name))

    def retry_job(self, name: str, *, request_id: str = "") -> Job:
        """Submits a job that has ended again, as a new job with the same specification and options."""
        return self._run(jobs.retry(name, request_id))

    def delete_job(self, name: str, *, force: bool = False) -> None:
        """Deletes a terminal job and its result; `force` cancels it first."""
        self._run(jobs.delete(name, force))

    # Webhooks.

    def list_deliveries(
        self, state: DeliveryState.ValueType = DeliveryState.DELIVERY_STATE_UNSPECIFIED, *, limit: int = 50
    ) -> list[Delivery]:
        """Gives the newest messages to webhooks that are not taken yet: those that wait and the dead letters."""
        return self._run(deliveries.list_deliveries(state, limit))

    def replay_delivery(self, name: str) -> Delivery:
        """Sends a message to its webhook again at once, with a new series of attempts."""
        return self._run(deliveries.replay(name))

    def delete_delivery(self, name: str) -> None:
        """Drops a message to a webhook; one that is not there is no error."""
        self._run(deliveries.delete(name))

    # Bytes.

    def sources(self, inputs: Sequence[Source], *, password: str = "") -> list[InputSource]:
        """Makes inputs for one specification: small ones inline, others uploaded; the password opens encrypted PDFs."""
        return self._run(blobs.as_inputs(inputs, self._calls.max_inline_bytes, password))

    def upload(self, source: str | os.PathLike[str] | bytes, *, ttl_s: float | None = None) -> Blob:
        """Uploads a file or bytes; a broken stream goes on where it stopped, known bytes are not sent."""
        return self._run(self._calls.upload(source, ttl_s))

    def download(self, name: str) -> bytes:
        """Gives a blob's bytes, compared with the digest in its name."""
        return self._run(blobs.read(name))

    def download_to(self, name: str, path: Path) -> int:
        """Writes a blob to a file and returns its size in bytes."""
        with path.open("wb") as file:
            return self._run(blobs.download(name, file.write))

    def purge_document(self, document: Source) -> PurgeResponse:
        """Removes a document with everything that comes of it: jobs that read it, their results, cached units.

        Args:
            document: The file or bytes, or InputSource(blob=name); it need not be stored any more.

        Returns:
            What was removed; `remaining_count` is 0 if a search over the whole store found nothing more.
        """
        return self._run(blobs.purge(document))

    def purge_tenant(self) -> PurgeResponse:
        """Removes everything of the caller's tenant: jobs, results, blobs, unfinished uploads, cached units."""
        return self._run(blobs.purge(None))

    # The deployment.

    def models(self, kind: JobKind.ValueType = JobKind.JOB_KIND_UNSPECIFIED) -> list[Model]:
        """Gives the models that requests can name."""
        return self._run(system.models(kind))

    def pipelines(self) -> list[Pipeline]:
        """Gives the plans that `answer` can name, wrong ones with what is wrong."""
        return self._run(system.pipelines())

    def queues(self) -> list[Queue]:
        """Gives the queues and their load."""
        return self._run(system.queues())

    def ledger(self, *, limit: int = 50) -> tuple[list[LedgerEntry], EgressBudget]:
        """Gives what left to models outside of the caller's tenant, newest first, and its budget."""
        return self._run(system.ledger(limit))

    def server_info(self) -> GetServerInfoResponse:
        """Gives version and limits."""
        return self._run(system.server_info())
