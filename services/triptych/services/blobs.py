"""Content-addressed storage of inputs and large results."""
# ruff: noqa: N802 - methods bear the contract's names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from triptych.core.blobs import BlobInfo
from triptych.core.errors import BlobNotFound, FieldInvalid, RangeOutsideSource
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.deadlines import patience_s
from triptych.services.purge import purge
from triptych.services.uploads import Upload
from triptych.v1 import blob_service_pb2 as pb
from triptych.v1.blob_service_pb2_grpc import BlobServiceServicer

# Large enough to cost little per byte, small enough to share a connection.
DOWNLOAD_CHUNK_BYTES = 256 * 1024
MAX_NAMES = 1000


class Blobs(BlobServiceServicer):
    """Bytes, private to the caller's tenant."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._blobs = backend.blobs
        self._settings = backend.settings
        self._watermarks = backend.watermarks

    async def FindMissingBlobs(self, request: pb.FindMissingBlobsRequest, _context: Any) -> pb.FindMissingBlobsResponse:
        """Says which blobs are not there, and renews the others."""
        fields.few(len(request.names), 0, MAX_NAMES, "names")
        names = [fields.blob_name(name, f"names[{i}]") for i, name in enumerate(request.names)]
        missing = await asyncio.to_thread(self._missing, CALLER.get().tenant, names)
        return pb.FindMissingBlobsResponse(missing_names=missing)

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.UploadBlobRequest], _context: Any
    ) -> pb.UploadBlobResponse:
        """Takes one blob; answers at once if the header's digest is known."""
        messages = aiter(request_iterator)
        first = await anext(messages, None)
        if first is None or first.WhichOneof("payload") != "header":
            raise FieldInvalid("header", "must be the first message")
        upload = Upload(first.header, CALLER.get().tenant, self._blobs, self._settings, self._watermarks)
        known = await upload.known()
        stored = known or await upload.receive(messages)
        return pb.UploadBlobResponse(blob=_blob(stored), already_existed=known is not None)

    async def GetUpload(self, request: pb.GetUploadRequest, _context: Any) -> pb.GetUploadResponse:
        """Says how far an upload came."""
        upload_id = fields.caller_id(request.upload_id, "upload_id")
        size = await asyncio.to_thread(self._blobs.upload_size, CALLER.get().tenant, upload_id)
        return pb.GetUploadResponse(committed_size_bytes=size)

    async def GetBlob(self, request: pb.GetBlobRequest, _context: Any) -> pb.GetBlobResponse:
        """Describes a blob."""
        return pb.GetBlobResponse(blob=_blob(await self._stat(fields.blob_name(request.name))))

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, _context: Any
    ) -> AsyncIterator[pb.DownloadBlobResponse]:
        """Streams a blob's bytes, or a part of them."""
        name, tenant = fields.blob_name(request.name), CALLER.get().tenant
        fields.need(request.offset_bytes >= 0, "offset_bytes", "must not be negative")
        fields.need(request.limit_bytes >= 0, "limit_bytes", "must not be negative")
        size = (await self._stat(name)).size_bytes
        if request.offset_bytes > size:
            raise RangeOutsideSource(f"the blob has {size} bytes; there is no byte {request.offset_bytes}")
        offset = request.offset_bytes
        end = min(size, offset + request.limit_bytes) if request.limit_bytes else size
        while offset < end:
            limit = min(DOWNLOAD_CHUNK_BYTES, end - offset)
            chunk = await asyncio.to_thread(self._blobs.read, tenant, name, offset, limit)
            offset += len(chunk)
            yield pb.DownloadBlobResponse(chunk=chunk)

    async def DeleteBlob(self, request: pb.DeleteBlobRequest, _context: Any) -> pb.DeleteBlobResponse:
        """Deletes a blob; one that is not there is no error."""
        await asyncio.to_thread(self._blobs.delete, CALLER.get().tenant, fields.blob_name(request.name))
        return pb.DeleteBlobResponse()

    async def Purge(self, request: pb.PurgeRequest, context: Any) -> pb.PurgeResponse:
        """Removes a document, or all of the caller's, with everything that comes of it, and proves it."""
        target = request.WhichOneof("target")
        fields.need(target == "document" or request.tenant, "target", "set document, or tenant to true")
        document = fields.blob_name(request.document, "document") if target == "document" else ""
        # Half of the time is for stopping jobs. Whoever leaves has asked for it all the same.
        stop_s = (patience_s(context) or 2 * self._settings.max_wait_s) / 2
        work = purge(self._backend, CALLER.get().tenant, document, min(stop_s, self._settings.max_wait_s))
        return await asyncio.shield(self._backend.errands.run(work))

    async def _stat(self, name: str) -> BlobInfo:
        return await asyncio.to_thread(self._blobs.stat, CALLER.get().tenant, name)

    def _missing(self, tenant: str, names: list[str]) -> list[str]:
        missing = []
        for name in names:
            try:
                self._blobs.touch(tenant, name)
            except BlobNotFound:
                missing.append(name)
        return missing


def _blob(info: BlobInfo) -> pb.Blob:
    blob = pb.Blob(name=info.name, size_bytes=info.size_bytes, media_type=info.media_type)
    blob.create_time.FromMilliseconds(int(info.create_time_s * 1000))
    blob.expire_time.FromMilliseconds(int(info.expire_time_s * 1000))
    return blob
