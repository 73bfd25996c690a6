"""Has every document of a request recognized or transcribed, all at once, by child jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.core.errors import JobCancelled, MediaTypeUnsupported, StageFailed, TimedOut, TriptychError, from_status
from triptych.core.media import AUDIO_TYPES, IMAGE_TYPES, PDF_TYPE
from triptych.v1.job_pb2 import JobProgress, JobResult, JobSpec, ProgressUnit
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.reasoning_pb2 import DocumentReport, ReasoningSpec, SourceDocument
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptionSpec
from triptych.workers.reasoning.children import Children
from triptych.workers.reasoning.readings import Reading, read_page, read_recording
from triptych.workers.reasoning.request import check_parts
from triptych.workers.reasoning.timeline import Timeline, fill

ResultT = TypeVar("ResultT")


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What became of one document.

    Attributes:
        document: As the request has it.
        report: As the result tells it.
        readings: Its pages that could be read, or its one recording.
    """

    document: SourceDocument
    report: DocumentReport
    readings: list[Reading] = field(default_factory=list)


async def gather(request: ReasoningSpec, children: Children, timeline: Timeline) -> list[Gathered]:
    """Recognizes all documents concurrently; gives one `Gathered` per document, in request order.

    Raises:
        FieldInvalid: Pages of a recording, or clips of pages.
        StageFailed: A document cannot be processed, and `allow_partial_documents` is off; or none can.
        TriptychError: Something that a retry may cure (queue full, store away), a time limit or a cancellation:
            these are not the document's fault, so they always end the job.
    """
    ingest = _Ingest(request, children, timeline)
    found = [
        Gathered(document=document, report=DocumentReport(document_id=document.document_id))
        for document in request.documents
    ]
    async with timeline.stage("ingest"):
        await together(ingest.look(one) for one in found)
    for index, one in enumerate(found):
        check_parts(one.document, index, one.report.media_type)
    await together(ingest.read(one) for one in found if not one.report.HasField("error"))
    failed = [one for one in found if one.report.HasField("error") and not one.readings]
    if len(failed) == len(found):
        raise stage_failed("ingest", from_status(failed[0].report.error), failed[0].report.document_id)
    return found


async def together(coroutines: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Runs coroutines concurrently; the first error cancels the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def stage_failed(stage: str, error: TriptychError, document_id: str = "") -> TriptychError:
    """Gives what to raise for a child's error: itself if a retry or more time may cure it, else `StageFailed`."""
    if error.retryable or isinstance(error, JobCancelled | TimedOut):
        return error
    metadata = {"stage": stage, "reason": error.reason, **error.metadata}
    if document_id:
        metadata["document_id"] = document_id
    what = f"document '{document_id}'" if document_id else f"stage '{stage}'"
    return StageFailed(f"{what} failed: {error.message}", metadata=metadata)


class _Ingest:
    def __init__(self, request: ReasoningSpec, children: Children, timeline: Timeline) -> None:
        self._config = request.config
        self._children = children
        self._timeline = timeline

    async def look(self, one: Gathered) -> None:
        """Finds out what a document is."""
        try:
            one.report.media_type = await self._children.media_type(one.document.input)
            one.report.digest = await self._children.digest(one.document.input)
            if one.report.media_type not in {PDF_TYPE, *IMAGE_TYPES, *AUDIO_TYPES}:
                raise MediaTypeUnsupported("the bytes are no PDF, image or audio that can be read")
        except TriptychError as error:
            self._keep("ingest", error, one)

    async def read(self, one: Gathered) -> None:
        """Recognizes or transcribes a document."""
        stage = "transcription" if one.report.media_type in AUDIO_TYPES else "ocr"
        try:
            async with self._timeline.stage(stage) as entry:
                spec = self._transcription(one) if stage == "transcription" else self._ocr(one)
                outcome = await self._children.run(
                    spec, stage=stage, on_progress=lambda progress: self._timeline.moved(entry, progress)
                )
                fill(entry, outcome)
                await self._timeline.moved(entry, _whole(outcome.result))
        except TriptychError as error:
            self._keep(stage, error, one)
            return
        title = one.document.input.display_name or one.document.document_id
        key = f"{outcome.digest} {one.document.document_id} {title}" if outcome.digest else ""
        one.readings += await self._children.readings(
            key, lambda: _readings(outcome.result, one.document.document_id, title)
        )
        if stage == "transcription":
            transcript = outcome.result.transcription
            one.report.audio_duration_ms = _used_ms(one.document, transcript)
            return
        for page in outcome.result.ocr.pages:
            if page.HasField("error") and not one.report.HasField("error"):
                one.report.error.CopyFrom(page.error)
                one.report.error.message = f"page {page.page_number}: {page.error.message}"
        one.report.page_count = len(one.readings)
        if one.report.HasField("error") and not one.readings:
            self._keep(stage, from_status(one.report.error), one)

    def _keep(self, stage: str, error: TriptychError, one: Gathered) -> None:
        """Writes an error into the document's report if the caller allows that, else raises it."""
        failure = stage_failed(stage, error, one.document.document_id)
        if failure is error or not self._config.allow_partial_documents:
            raise failure from error
        one.report.error.CopyFrom(error.to_status())

    def _ocr(self, one: Gathered) -> JobSpec:
        spec = OcrSpec(input=one.document.input, pages=one.document.pages, config=self._config.ocr)
        spec.config.enable_words = True
        return JobSpec(ocr=spec)

    def _transcription(self, one: Gathered) -> JobSpec:
        spec = TranscriptionSpec(input=one.document.input, config=self._config.transcription)
        spec.config.enable_word_timestamps = True
        if one.document.clips:
            del spec.config.clips[:]
            spec.config.clips.extend(one.document.clips)
        return JobSpec(transcription=spec)


def _readings(result: JobResult, document_id: str, title: str) -> list[Reading]:
    """Gives the pages of a document that could be read, or its recording."""
    if result.HasField("transcription"):
        return [read_recording(document_id, result.transcription, title=title)]
    return [read_page(document_id, page, title=title) for page in result.ocr.pages if not page.HasField("error")]


def _whole(result: JobResult) -> JobProgress:
    """Gives the progress of a child that is done, which may have been too fast to be seen moving."""
    if result.HasField("transcription"):
        count, unit = result.transcription.audio_duration_ms, ProgressUnit.PROGRESS_UNIT_AUDIO_MS
    else:
        count, unit = len(result.ocr.pages), ProgressUnit.PROGRESS_UNIT_PAGE
    return JobProgress(completed_unit_count=count, total_unit_count=count, unit=unit)


def _used_ms(document: SourceDocument, transcript: TranscriptionResult) -> int:
    whole = transcript.audio_duration_ms
    if not document.clips:
        return whole
    return sum(max(0, min(clip.end_ms or whole, whole) - clip.start_ms) for clip in document.clips)
