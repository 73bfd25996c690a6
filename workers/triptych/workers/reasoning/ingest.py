"""Brings every document of a request to text, all at once: opened, recognized or transcribed by child jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.core.document_types import DOCUMENT_TYPES
from triptych.core.errors import JobCancelled, MediaTypeUnsupported, StageFailed, TimedOut, TriptychError, from_status
from triptych.core.media import AUDIO_TYPES, IMAGE_TYPES, PDF_TYPE, VIDEO_TYPES
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import JobProgress, JobSpec, ProgressUnit
from triptych.v1.ocr_pb2 import OcrPage, OcrSpec
from triptych.v1.reasoning_pb2 import DocumentReport, ReasoningSpec, SourceDocument, StageReport
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptionSpec
from triptych.workers.converters.converter import Converted, Spent
from triptych.workers.reasoning.children import ChildOutcome, Children
from triptych.workers.reasoning.readings import Reading, read_page, read_recording, read_text
from triptych.workers.reasoning.request import check_parts
from triptych.workers.reasoning.timeline import Timeline, fill

ResultT = TypeVar("ResultT")

# Documents of one request on their way through the readers: an archive may hold hundreds.
MAX_READ_AT_ONCE = 16
_READ_TYPES = DOCUMENT_TYPES | IMAGE_TYPES | AUDIO_TYPES | {PDF_TYPE}


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What became of one document.

    Attributes:
        document: As the request has it; or a document in one of those.
        report: As the result tells it.
        readings: Its pages that could be read, its one recording, its text; a video may have pages and a recording.
        members: The documents in it.
    """

    document: SourceDocument
    report: DocumentReport
    readings: list[Reading] = field(default_factory=list)
    members: list[Gathered] = field(default_factory=list)

    def all(self) -> list[Gathered]:
        """Gives it and what is in it, at all depths, in order."""
        return [self, *(each for member in self.members for each in member.all())]


async def gather(request: ReasoningSpec, children: Children, timeline: Timeline) -> list[Gathered]:
    """Reads all documents concurrently; gives one `Gathered` per document, in request order, its members after it.

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
        # What is no document has neither pages nor clips, and is told as that.
        if not one.report.HasField("error"):
            check_parts(one.document, index, one.report.media_type)
    await together(ingest.process(one, _Root()) for one in found if not one.report.HasField("error"))
    whole = [each for one in found for each in one.all()]
    failed = [one for one in whole if one.report.HasField("error")]
    if failed and not any(one.readings for one in whole):
        raise stage_failed("ingest", from_status(failed[0].report.error), failed[0].report)
    return whole


async def together(coroutines: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Runs coroutines concurrently; the first error cancels the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def stage_failed(stage: str, error: TriptychError, report: DocumentReport | None = None) -> TriptychError:
    """Gives what to raise for a child's error: itself if a retry or more time may cure it, else `StageFailed`."""
    if error.retryable or isinstance(error, JobCancelled | TimedOut):
        return error
    metadata = {"stage": stage, "reason": error.reason, **error.metadata}
    what = f"stage '{stage}'"
    if report is not None:
        metadata["document_id"] = report.document_id
        what = f"document '{report.document_id}'"
    if report is not None and report.parent_document_id:
        what += f" ('{report.path}' in document '{report.parent_document_id}')"
    return StageFailed(f"{what} failed: {error.message}", metadata=metadata)


@dataclass(slots=True)
class _Root:
    """A document of the request, for what is in it: its limits hold for all of that together."""

    spent: Spent = field(default_factory=Spent)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Ingest:
    def __init__(self, request: ReasoningSpec, children: Children, timeline: Timeline) -> None:
        self._config = request.config
        self._children = children
        self._timeline = timeline
        self._turns = asyncio.Semaphore(MAX_READ_AT_ONCE)
        self._ids = {document.document_id for document in request.documents}

    async def look(self, one: Gathered) -> None:
        """Finds out what a document is."""
        try:
            one.report.media_type = await self._children.media_type(one.document.input)
            one.report.digest = await self._children.digest(one.document.input)
            if one.report.media_type not in _READ_TYPES:
                raise MediaTypeUnsupported("the bytes are no document, image, audio or video that can be read")
        except TriptychError as error:
            self._keep("ingest", error, one)

    async def process(self, one: Gathered, root: _Root, depth: int = 1) -> None:
        """Reads a document, and what is in it."""
        if one.report.media_type in DOCUMENT_TYPES:
            await self._open(one, root, depth)
        elif one.report.media_type in VIDEO_TYPES:
            await self._watch(one, root, depth)
        elif one.report.media_type in AUDIO_TYPES:
            await self._hear(one)
        else:
            await self._read(one, one.document.input, one.document.pages)

    async def _open(self, one: Gathered, root: _Root, depth: int) -> None:
        """Takes the text of a document and the documents in it."""
        converted = await self._converted(one, root, depth)
        if converted is None:
            return
        one.report.media_type = converted.contents.media_type
        if converted.contents.text is not None:
            # A million words take a while: not on the loop that other jobs share.
            document_id, title = one.document.document_id, _title(one)
            try:
                one.readings.append(
                    await self._children.compute(
                        f"text:{document_id}", lambda: read_text(document_id, converted.contents, title=title)
                    )
                )
            except TriptychError as error:
                self._keep("unpack", error, one)
        for member in converted.members:
            inner = self._member(one, member.path, member.source)
            one.members.append(inner)
            if member.error is not None:
                self._keep("unpack", member.error, inner)
        await together(self.look(member) for member in one.members if not member.report.HasField("error"))
        known = [member for member in one.members if not member.report.HasField("error")]
        self._timeline.expect(len(known))
        await together(self.process(member, root, depth + 1) for member in known)

    async def _watch(self, one: Gathered, root: _Root, depth: int) -> None:
        """Reads what a video shows, and hears what is said in it."""
        converted = await self._converted(one, root, depth)
        if converted is None:
            return
        work = [self._hear(one)] if converted.contents.heard else []
        frames_ms = converted.contents.frames_ms
        pages = [
            PageRange(first_page=n, last_page=n) for n, at in enumerate(frames_ms, 1) if _is_used(at, one.document)
        ]
        if converted.frames is not None and pages:
            work.append(self._read(one, converted.frames, pages, frames_ms=frames_ms))
        self._timeline.expect(len(work))
        await together(work)
        # Whoever was ready first: the same documents make the same prompt.
        one.readings.sort(key=lambda reading: not reading.page_number)

    async def _converted(self, one: Gathered, root: _Root, depth: int) -> Converted | None:
        """Opens a document; None if it cannot be."""
        document_id = one.document.document_id
        try:
            # One at a time, or what is left of the limits would be counted twice.
            async with root.turn, self._timeline.stage("unpack"):
                return await self._children.convert(
                    f"unpack:{document_id}",
                    one.document.input,
                    one.report.media_type,
                    spent=root.spent,
                    depth=depth,
                )
        except TriptychError as error:
            self._keep("unpack", error, one)
            return None

    def _member(self, parent: Gathered, path: str, source: InputSource | None) -> Gathered:
        number = len(parent.members) + 1
        while (document_id := f"{parent.document.document_id}.{number}") in self._ids:
            number += 1
        self._ids.add(document_id)
        if source is not None:
            source.password = parent.document.input.password
        return Gathered(
            document=SourceDocument(document_id=document_id, input=source),
            report=DocumentReport(document_id=document_id, parent_document_id=parent.document.document_id, path=path),
        )

    async def _hear(self, one: Gathered) -> None:
        """Has a recording transcribed."""
        try:
            async with self._timeline.stage("transcription") as entry:
                outcome = await self._run(self._transcription(one), entry)
                audio_ms = outcome.result.transcription.audio_duration_ms
                await self._timeline.moved(entry, _whole(audio_ms, ProgressUnit.PROGRESS_UNIT_AUDIO_MS))
            transcript = outcome.result.transcription
            document_id, title = one.document.document_id, _title(one)
            one.readings += await self._children.readings(
                f"transcript:{document_id}",
                _key(outcome, document_id, title),
                lambda: [read_recording(document_id, transcript, title=title)],
            )
        except TriptychError as error:
            self._keep("transcription", error, one)
            return
        one.report.audio_duration_ms = _used_ms(one.document, transcript)

    async def _read(
        self, one: Gathered, source: InputSource, pages: Sequence[PageRange], *, frames_ms: Sequence[int] = ()
    ) -> None:
        """Has pages recognized, or the key frames of a video."""
        try:
            async with self._timeline.stage("ocr") as entry:
                outcome = await self._run(self._ocr(source, pages), entry)
                page_count = len(outcome.result.ocr.pages)
                await self._timeline.moved(entry, _whole(page_count, ProgressUnit.PROGRESS_UNIT_PAGE))
            read = [page for page in outcome.result.ocr.pages if self._is_read(page, one)]
            document_id, title = one.document.document_id, _title(one)
            one.readings += await self._children.readings(
                f"pages:{document_id}",
                _key(outcome, document_id, title, *frames_ms),
                lambda: [
                    read_page(
                        document_id, page, title=title, frame_ms=frames_ms[page.page_number - 1] if frames_ms else None
                    )
                    for page in read
                ],
            )
        except TriptychError as error:
            self._keep("ocr", error, one)
            return
        one.report.page_count = len(read)
        if one.report.HasField("error") and not one.readings:
            self._keep("ocr", from_status(one.report.error), one)

    async def _run(self, spec: JobSpec, entry: StageReport) -> ChildOutcome:
        """Runs a child and tells how far it is."""
        async with self._turns:
            outcome = await self._children.run(
                spec, stage=entry.stage, on_progress=lambda progress: self._timeline.moved(entry, progress)
            )
        fill(entry, outcome)
        return outcome

    def _is_read(self, page: OcrPage, one: Gathered) -> bool:
        """Whether a page was recognized; the first that was not is the document's error."""
        if page.HasField("error") and not one.report.HasField("error"):
            one.report.error.CopyFrom(page.error)
            one.report.error.message = f"page {page.page_number}: {page.error.message}"
        return not page.HasField("error")

    def _keep(self, stage: str, error: TriptychError, one: Gathered) -> None:
        """Writes an error into the document's report if the caller allows that, else raises it."""
        failure = stage_failed(stage, error, one.report)
        if failure is error or not self._config.allow_partial_documents:
            raise failure from error
        one.report.error.CopyFrom(error.to_status())

    def _ocr(self, source: InputSource, pages: Sequence[PageRange]) -> JobSpec:
        spec = OcrSpec(input=source, pages=pages, config=self._config.ocr)
        spec.config.enable_words = True
        return JobSpec(ocr=spec)

    def _transcription(self, one: Gathered) -> JobSpec:
        spec = TranscriptionSpec(input=one.document.input, config=self._config.transcription)
        spec.config.enable_word_timestamps = True
        if one.document.clips:
            del spec.config.clips[:]
            spec.config.clips.extend(one.document.clips)
        return JobSpec(transcription=spec)


def _key(outcome: ChildOutcome, *facts: object) -> str:
    """Gives what readings of a child's result are known by; empty if they are not to be kept."""
    return " ".join(map(str, (outcome.digest, *facts))) if outcome.digest else ""


def _whole(count: int, unit: ProgressUnit.ValueType) -> JobProgress:
    """Gives the progress of a child that is done, which may have been too fast to be seen moving."""
    return JobProgress(completed_unit_count=count, total_unit_count=count, unit=unit)


def _title(one: Gathered) -> str:
    """Gives a document's name for people and models."""
    return one.report.path or one.document.input.display_name or one.document.document_id


def _is_used(at_ms: int, document: SourceDocument) -> bool:
    """Whether a moment is in the clips of a document."""
    return not document.clips or any(
        clip.start_ms <= at_ms and (not clip.end_ms or at_ms < clip.end_ms) for clip in document.clips
    )


def _used_ms(document: SourceDocument, transcript: TranscriptionResult) -> int:
    whole = transcript.audio_duration_ms
    if not document.clips:
        return whole
    return sum(max(0, min(clip.end_ms or whole, whole) - clip.start_ms) for clip in document.clips)
