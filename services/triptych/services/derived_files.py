"""Files that are made of what callers read: given at once if they are small, else kept as blobs that a purge finds."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from triptych.core import units
from triptych.core.errors import BlobNotFound, JobNotFound
from triptych.core.lookup import is_terminal
from triptych.services.backend import Backend
from triptych.v1.ocr_service_pb2 import FormatPagesResponse

_PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a file comes of.

    Attributes:
        tenant: Whose.
        documents: Digests of what was read, 64 hex digits each.
        job_id: Of the job that read it; empty if there is none.
        blob: Of the document, if that is one.
    """

    tenant: str
    documents: frozenset[str]
    job_id: str = ""
    blob: str = ""


class DerivedFiles:
    """Moves files between the disk and the blob store, piece by piece: none is in memory as a whole."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._blobs = backend.blobs

    async def fetch(self, name: str, path: Path, tenant: str) -> None:
        """Writes a blob to a file.

        Raises:
            BlobNotFound: It is not there, or expired.
        """

        def copy() -> None:
            size = self._blobs.stat(tenant, name).size_bytes
            with path.open("wb") as file:
                for offset in range(0, size, _PIECE_BYTES):
                    file.write(self._blobs.read(tenant, name, offset, _PIECE_BYTES))

        await asyncio.to_thread(copy)

    async def response(self, path: Path, media_type: str, origin: Origin) -> FormatPagesResponse:
        """Gives a file to a caller.

        Raises:
            HostExhausted: It is too large for a message, and there is no room to keep it.
            JobNotFound, BlobNotFound: What it comes of was removed meanwhile; nothing is kept.
        """
        size = (await asyncio.to_thread(path.stat)).st_size
        if size <= self._backend.settings.max_inline_result_bytes:
            return FormatPagesResponse(content=await asyncio.to_thread(path.read_bytes), media_type=media_type)
        return FormatPagesResponse(content_blob=await self._keep(path, size, origin), media_type=media_type)

    async def _keep(self, path: Path, size: int, origin: Origin) -> str:
        settings = self._backend.settings
        await self._backend.watermarks.admit_bytes(size)
        digest = await asyncio.to_thread(_sha256, path)
        name = f"blobs/sha256-{digest}"
        # First the note: whoever dies in between leaves nothing that a purge does not find.
        known_s = max(settings.blob_ttl_s, settings.max_blob_ttl_s)
        await self._backend.store.run(units.note(origin.tenant, sorted(origin.documents), name, note_ttl_s=known_s))
        await asyncio.to_thread(self._store, path, origin.tenant, size, digest)
        try:
            await self._need(origin)
        except (JobNotFound, BlobNotFound):
            # A purge that had looked at the notes before removed it; its caller does not know of this file.
            await asyncio.to_thread(self._blobs.delete, origin.tenant, name)
            raise
        return name

    async def _need(self, origin: Origin) -> None:
        if origin.job_id:
            await self._backend.store.run(is_terminal(origin.job_id, origin.tenant))
        if origin.blob:
            await asyncio.to_thread(self._blobs.stat, origin.tenant, origin.blob)

    def _store(self, path: Path, tenant: str, size: int, digest: str) -> None:
        upload_id, offset = str(uuid.uuid4()), 0
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    offset = self._blobs.append(tenant, upload_id, offset, piece)
            self._blobs.commit(tenant, upload_id, size, digest, self._backend.settings.blob_ttl_s)
        finally:
            self._blobs.drop_upload(tenant, upload_id)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
