"""Writes what was read as files: of jobs, and what callers send."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from triptych.core.blobs import digest_of
from triptych.core.errors import BlobNotFound, FieldInvalid
from triptych.core.guarded_process import Limits, run_guarded
from triptych.core.pages_files import PDF_MEDIA_TYPE, WHAT, write_text
from triptych.core.pages_formats import FORMATS
from triptych.core.records import JobRecord
from triptych.core.room import disk_room
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.derived_files import DerivedFiles, Origin
from triptych.services.inputs import check_document
from triptych.services.results import ended_job, raw_result
from triptych.services.turns import Turns
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_service_pb2 import FormatPagesRequest, FormatPagesResponse, PagesFormat

# A result of this size is some 5,000 words, and written in a tenth of a second; a larger one has a process of its own.
MAX_HERE_BYTES = 256 * 1024
# A picture of 100 million pixels with transparency takes 1.5 GB, libraries another one of addresses.
MEMORY_BYTES, CPU_S, WALL_S = 3 << 30, 120, 240.0
AT_ONCE, WAITING = 2, 16
_PDF = PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What is to be written.

    Attributes:
        result: A serialized JobResult.
        document: What was read; None if only a searchable PDF would need it, and it is not known.
        kept: Whether the document is the job's own.
    """

    result: bytes
    document: InputSource | None
    kept: bool
    origin: Origin


class Pages:
    """Finds what is to be written, and writes it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._files = DerivedFiles(backend)
        self._turns = Turns("files of pages", at_once=AT_ONCE, waiting=WAITING)

    async def format(self, request: FormatPagesRequest) -> FormatPagesResponse:
        """Gives the content of a file, or the blob that holds it.

        Raises:
            FieldInvalid: The format, the result or the document; or the job is no OCR.
            JobNotFound, JobNotTerminal, BlobNotFound: There is no result or document, not yet, or no more.
            MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, MediaEncrypted, InputTooLarge: The document.
            QueueFull: The tenant has too many calls of this kind.
            HostExhausted: There is no room for the file.
            TriptychError: The error with which the job ended.
        """
        _check(request)
        tenant = CALLER.get().tenant
        source = await self._source(request, tenant)
        media_type = PDF_MEDIA_TYPE if request.format == _PDF else FORMATS[request.format].media_type
        # On a disk: in memory the file of one caller would be at the expense of all.
        with (
            tempfile.TemporaryDirectory(prefix="triptych-pages-") as name,
            disk_room(Path(name), WHAT, len(source.result)),
        ):
            folder = Path(name)
            await asyncio.to_thread((folder / "result").write_bytes, source.result)
            if request.format != _PDF and len(source.result) <= MAX_HERE_BYTES:
                await asyncio.to_thread(write_text, **_paths(folder), pages_format=request.format)
            else:
                async with self._turns.take(tenant):
                    await self._write(request.format, source, folder, tenant)
            return await self._files.response(folder / "output", media_type, source.origin)

    async def _source(self, request: FormatPagesRequest, tenant: str) -> _Source:
        given = request.document if request.HasField("document") else None
        documents = {_digest(given)} if given else set()
        if request.WhichOneof("source") == "result":
            result = JobResult(ocr=request.result).SerializeToString()
            blob = given.blob if given else ""
            origin = Origin(tenant=tenant, documents=frozenset(documents), blob=blob)
            return _Source(result=result, document=given, kept=False, origin=origin)
        record = await ended_job(self._backend, request.job, "ocr")
        return _Source(
            result=await raw_result(self._backend, record),
            document=given or _input_of(record),
            kept=given is None,
            origin=Origin(tenant=tenant, documents=frozenset({*documents, *record.documents}), job_id=record.id),
        )

    async def _write(self, pages_format: PagesFormat.ValueType, source: _Source, folder: Path, tenant: str) -> None:
        settings = self._backend.settings
        limits = Limits(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S, wall_s=WALL_S, file_bytes=settings.max_blob_bytes)
        if pages_format != _PDF:
            arguments = {**_paths(folder), "pages_format": pages_format}
            await run_guarded("triptych.core.pages_files:write_text", arguments, limits)
            return
        assert source.document is not None
        await self._fetch(source.document, folder / "document", tenant, kept=source.kept)
        arguments = {
            "document": str(folder / "document"),
            **_paths(folder),
            "password": source.document.password,
            "max_page_pixels": settings.max_page_pixels,
            "max_page_count": settings.max_page_count,
        }
        await run_guarded("triptych.services.searchable.writing:write", arguments, limits)

    async def _fetch(self, document: InputSource, path: Path, tenant: str, *, kept: bool) -> None:
        blobs, settings = self._backend.blobs, self._backend.settings
        try:
            await asyncio.to_thread(check_document, document, "document", tenant, blobs, settings)
            if document.WhichOneof("source") == "content":
                await asyncio.to_thread(path.write_bytes, document.content)
            else:
                await self._files.fetch(document.blob, path, tenant)
        except BlobNotFound as error:
            if kept:
                message = "the job's document is no longer kept; send it as `document`"
                raise BlobNotFound(message, metadata={"field": "document"}) from error
            raise


def _check(request: FormatPagesRequest) -> None:
    fields.known_enums(request, "")
    fields.need(request.WhichOneof("source") is not None, "source", "exactly one of job and result must be set")
    fields.need(request.format != PagesFormat.PAGES_FORMAT_UNSPECIFIED, "format", "must be set")
    if request.format != _PDF:
        fields.need(not request.HasField("document"), "document", "is for a searchable PDF only")
    elif request.WhichOneof("source") == "result":
        fields.need(request.HasField("document"), "document", "is needed: a result does not have it")


def _digest(document: InputSource) -> str:
    which = document.WhichOneof("source")
    if which == "blob":
        return digest_of(fields.blob_name(document.blob, "document.blob"))
    if which is None:
        raise FieldInvalid("document", "exactly one of blob, content and uri must be set")
    return hashlib.sha256(document.content).hexdigest()


def _input_of(record: JobRecord) -> InputSource:
    found: InputSource = record.job_spec().ocr.input
    return found


def _paths(folder: Path) -> dict[str, str]:
    return {"result": str(folder / "result"), "output": str(folder / "output")}
