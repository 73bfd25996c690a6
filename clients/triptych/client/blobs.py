"""Moves bytes to and from the blob store, going on where a broken stream stopped."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence

from triptych.client.inputs import LocalInput, Source
from triptych.client.steps import Flow, Pause, Stream, backoff_s, call, work
from triptych.core.errors import DigestMismatch, HostExhausted, Unavailable, UploadNotFound, UploadOffsetMismatch
from triptych.v1.blob_service_pb2 import (
    Blob,
    DownloadBlobRequest,
    DownloadBlobResponse,
    GetUploadRequest,
    GetUploadResponse,
    PurgeRequest,
    PurgeResponse,
    UploadBlobRequest,
    UploadBlobResponse,
    UploadCommit,
    UploadHeader,
)
from triptych.v1.common_pb2 import InputSource

TRANSFER_S = 3600.0
"""Deadline of one stream, in seconds: as long as the server keeps a broken upload."""
PURGE_S = 300.0
"""Deadline of a purge, in seconds: jobs have to stop, and all that is kept is searched."""
MAX_FAILURES = 5
"""Breaks in a row without a byte of progress after which we give up."""


def upload(local: LocalInput, ttl_s: float | None = None) -> Flow[Blob]:
    """Uploads an input; one whose digest the server knows is not sent.

    Raises:
        Unavailable: The stream broke again and again.
        HostExhausted: The server had no room, again and again.
        DigestMismatch: The file changed while it was sent.
        InputTooLarge: Larger than the server takes.
    """
    sha256 = yield from work(local.sha256)
    upload_id, offset, failures = str(uuid.uuid4()), 0, 0
    while True:
        messages = _messages(local, upload_id, offset, sha256, ttl_s)
        try:
            reply = yield from call("BlobService", "UploadBlob", messages, UploadBlobResponse, TRANSFER_S)
            return reply.blob
        except (Unavailable, HostExhausted, UploadOffsetMismatch) as error:
            failures += 1
            if failures > MAX_FAILURES:
                raise
            pause_s = error.retry_after_s or backoff_s(failures)
        yield Pause(seconds=pause_s)
        try:
            request = GetUploadRequest(upload_id=upload_id)
            state = yield from call("BlobService", "GetUpload", request, GetUploadResponse)
        except UploadNotFound:
            upload_id, offset = str(uuid.uuid4()), 0
            continue
        except Unavailable:
            continue
        if state.HasField("blob"):
            return state.blob
        if state.committed_size_bytes > offset:
            failures = 0
        offset = state.committed_size_bytes


def _messages(
    local: LocalInput, upload_id: str, offset: int, sha256: str, ttl_s: float | None
) -> Iterator[UploadBlobRequest]:
    header = UploadHeader(upload_id=upload_id, offset_bytes=offset, size_bytes=local.size_bytes, sha256=sha256)
    if ttl_s is not None:
        header.ttl.FromMilliseconds(int(ttl_s * 1000))
    yield UploadBlobRequest(header=header)
    for chunk in local.chunks(offset):
        yield UploadBlobRequest(chunk=chunk)
    yield UploadBlobRequest(commit=UploadCommit(size_bytes=local.size_bytes, sha256=sha256))


def download(name: str, write: Callable[[bytes], object]) -> Flow[int]:
    """Gives a blob's bytes to `write` in order and returns their number.

    Raises:
        BlobNotFound: There is no such blob, or it expired.
        DigestMismatch: The bytes are not those that the name promises.
        Unavailable: The stream broke again and again.
    """
    digest, done, failures = hashlib.sha256(), 0, 0

    def sink(reply: DownloadBlobResponse) -> None:
        nonlocal done, failures
        write(reply.chunk)
        digest.update(reply.chunk)
        done += len(reply.chunk)
        failures = 0

    while True:
        request = DownloadBlobRequest(name=name, offset_bytes=done)
        try:
            yield Stream(service="BlobService", method="DownloadBlob", request=request, sink=sink, timeout_s=TRANSFER_S)
            break
        except Unavailable:
            failures += 1
            if failures > MAX_FAILURES:
                raise
        yield Pause(seconds=backoff_s(failures))
    if name != f"blobs/sha256-{digest.hexdigest()}":
        raise DigestMismatch(f"the bytes received are not {name}")
    return done


def read(name: str) -> Flow[bytes]:
    """Gives a blob's bytes."""
    data = bytearray()
    yield from download(name, data.extend)
    return bytes(data)


def purge(document: Source | None) -> Flow[PurgeResponse]:
    """Purges a document, or with None everything of the tenant.

    Raises:
        FieldInvalid: The input names no blob.
    """
    request = PurgeRequest(tenant=True)
    if document is not None:
        request = PurgeRequest(document=(yield from work(functools.partial(_name_of, document))))
    return (yield from call("BlobService", "Purge", request, PurgeResponse, PURGE_S))


def _name_of(document: Source) -> str:
    if not isinstance(document, InputSource):
        return f"blobs/sha256-{LocalInput.of(document).sha256()}"
    if document.WhichOneof("source") == "content":
        return f"blobs/sha256-{LocalInput.of(document.content).sha256()}"
    return document.blob


def as_inputs(sources: Sequence[Source], max_inline_bytes: int, password: str = "") -> Flow[list[InputSource]]:
    """Makes inputs of one request: small ones inline, the others uploaded.

    Args:
        sources: Paths, bytes, or what is an input already.
        max_inline_bytes: Most bytes inline, of all together: one message must hold them.
        password: Of those that are not yet an input.
    """
    inputs: list[InputSource] = []
    budget = max_inline_bytes
    for source in sources:
        if isinstance(source, InputSource):
            inputs.append(source)
            continue
        local = yield from work(functools.partial(LocalInput.of, source))
        if local.size_bytes <= budget:
            budget -= local.size_bytes
            content = yield from work(local.read)
            inputs.append(InputSource(content=content, display_name=local.name, password=password))
        else:
            blob = yield from upload(local)
            inputs.append(InputSource(blob=blob.name, display_name=local.name, password=password))
    return inputs
