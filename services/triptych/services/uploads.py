"""One upload stream: header, chunks, commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from triptych.core.blobs import BlobInfo, BlobStore
from triptych.core.errors import BlobNotFound, FieldInvalid, InputTooLarge, UploadOffsetMismatch
from triptych.core.settings import Settings
from triptych.core.watermarks import Watermarks
from triptych.services import fields
from triptych.v1.blob_service_pb2 import UploadBlobRequest, UploadCommit, UploadHeader


class Upload:
    """Takes the messages of one stream in order.

    Args:
        header: The first message; checked here.
        tenant: Whose blob it will be.
        blobs: Where it goes.
        settings: Limits in force.
        watermarks: Asked before any byte is stored.

    Raises:
        FieldInvalid, InputTooLarge: The header is wrong.
    """

    def __init__(
        self, header: UploadHeader, tenant: str, blobs: BlobStore, settings: Settings, watermarks: Watermarks
    ) -> None:
        self._id = fields.caller_id(header.upload_id, "header.upload_id")
        self._name = f"blobs/sha256-{fields.sha256(header.sha256, 'header.sha256')}" if header.sha256 else ""
        self._offset = header.offset_bytes
        self._ttl_s = fields.duration(header, "ttl", 60, settings.max_blob_ttl_s, "header")
        self._most = settings.max_blob_bytes
        self._most_chunk = settings.max_chunk_bytes
        self._tenant, self._blobs, self._watermarks = tenant, blobs, watermarks
        self._expected_bytes = max(0, header.size_bytes - header.offset_bytes)
        fields.need(header.offset_bytes >= 0, "header.offset_bytes", "must not be negative")
        if header.HasField("size_bytes"):
            fields.need(header.size_bytes >= 0, "header.size_bytes", "must not be negative")
            self._check_size(header.size_bytes)

    async def known(self) -> BlobInfo | None:
        """Gives the blob if its bytes are there already; its time to live begins anew."""
        if not self._name:
            return None
        try:
            return await asyncio.to_thread(self._blobs.touch, self._tenant, self._name, self._ttl_s)
        except BlobNotFound:
            return None

    async def receive(self, messages: AsyncIterator[UploadBlobRequest]) -> BlobInfo:
        """Takes chunks until the commit; gives the blob.

        Raises:
            UploadOffsetMismatch, UploadNotFound: The upload stands elsewhere than the header says.
            FieldInvalid, InputTooLarge, DigestMismatch: A message is wrong. Only the last one drops the upload.
            HostExhausted: There is no room for what the header announces, or for a chunk; what came before is kept.
        """
        await self._begin()
        async for message in messages:
            which = message.WhichOneof("payload")
            if which == "commit":
                return await self._commit(message.commit)
            if which != "chunk":
                raise FieldInvalid(which or "payload", "after the header come chunks and then a commit")
            await self._add(message.chunk)
        raise FieldInvalid(
            "commit", f"is missing: {self._offset} bytes are kept for an hour, resume with this upload_id"
        )

    async def _begin(self) -> None:
        await self._watermarks.admit_bytes(self._expected_bytes)
        if self._offset == 0:
            # Also makes an upload of no bytes at all.
            await asyncio.to_thread(self._blobs.append, self._tenant, self._id, 0, b"")
            return
        size = await asyncio.to_thread(self._blobs.upload_size, self._tenant, self._id)
        if size != self._offset:
            raise UploadOffsetMismatch(
                f"header.offset_bytes: is {self._offset}, but {size} bytes are here",
                metadata={"committed_size_bytes": str(size)},
            )

    async def _add(self, chunk: bytes) -> None:
        fields.need(
            1 <= len(chunk) <= self._most_chunk,
            "chunk",
            f"has {len(chunk)} bytes; 1 to {self._most_chunk} are allowed",
        )
        self._check_size(self._offset + len(chunk))
        await self._watermarks.admit_bytes(len(chunk))
        self._offset = await asyncio.to_thread(self._blobs.append, self._tenant, self._id, self._offset, chunk)

    async def _commit(self, commit: UploadCommit) -> BlobInfo:
        digest = fields.sha256(commit.sha256, "commit.sha256")
        return await asyncio.to_thread(
            self._blobs.commit, self._tenant, self._id, commit.size_bytes, digest, self._ttl_s
        )

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._most:
            raise InputTooLarge(
                f"the blob has at least {size_bytes} bytes; at most {self._most} are kept",
                limit=self._most,
                value=size_bytes,
            )
