"""Content-addressed bytes, per tenant, that live as long as they are used."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from triptych.core.errors import BlobNotFound, DigestMismatch, FieldInvalid, UploadNotFound

_NAME = re.compile(r"blobs/sha256-([0-9a-f]{64})\Z")
_UPLOAD_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
# A broken upload can be resumed for this long.
UPLOAD_TTL_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """A stored blob. Times are seconds since the epoch."""

    name: str
    size_bytes: int
    media_type: str
    create_time_s: float
    expire_time_s: float


class BlobStore(Protocol):
    """Where bytes are kept. Blocking; thread-safe; every name is private to its tenant."""

    def put(self, tenant: str, data: bytes, ttl_s: float | None = None) -> BlobInfo:
        """Stores bytes under the name of their digest; the same bytes again renew their time to live.

        Raises:
            HostExhausted: The disk is full; nothing is left of them.
        """

    def read(self, tenant: str, name: str, offset: int = 0, limit: int = 0) -> bytes:
        """Gives bytes from offset on, at most limit (0: to the end).

        Raises:
            BlobNotFound: It is not there, or expired.
        """

    def stat(self, tenant: str, name: str) -> BlobInfo:
        """Describes a blob.

        Raises:
            BlobNotFound: It is not there, or expired.
        """

    def touch(self, tenant: str, name: str, ttl_s: float | None = None) -> BlobInfo:
        """Renews the time to live: a job or an upload uses it.

        Raises:
            BlobNotFound: It is not there, or expired.
            HostExhausted: The disk is full, so that it cannot be lengthened.
        """

    def delete(self, tenant: str, name: str) -> None:
        """Deletes a blob; one that is not there is no error."""

    def upload_size(self, tenant: str, upload_id: str) -> int:
        """Gives the bytes that are safe of an unfinished upload.

        Raises:
            UploadNotFound: No such upload, or it expired.
        """

    def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> int:
        """Adds bytes to an upload (offset 0 begins it); gives its size.

        Raises:
            UploadOffsetMismatch: offset is not the upload's size.
            HostExhausted: The disk is full; the upload keeps what fitted.
        """

    def commit(self, tenant: str, upload_id: str, size_bytes: int, sha256: str, ttl_s: float | None = None) -> BlobInfo:
        """Makes a blob of an upload, if it is what its sender says; otherwise the upload is dropped.

        Raises:
            DigestMismatch: Size or digest differ.
            UploadNotFound: No such upload, or it expired.
            HostExhausted: The disk is full; the upload stays as it is.
        """

    def drop_upload(self, tenant: str, upload_id: str) -> None:
        """Forgets an unfinished upload."""

    def names(self, tenant: str) -> set[str]:
        """Gives the names of all blobs of which anything is left, expired ones too."""

    def uploads(self, tenant: str) -> set[str]:
        """Gives the ids of all unfinished uploads."""

    def expire(self) -> int:
        """Deletes what is over its time; gives how many blobs and uploads went."""


def blob_name(data: bytes) -> str:
    """Gives the name that these bytes have."""
    return f"blobs/sha256-{hashlib.sha256(data).hexdigest()}"


def digest_of(name: str) -> str:
    """Gives the 64 hex digits of a blob's name.

    Raises:
        FieldInvalid: It is not a blob's name.
    """
    match = _NAME.match(name)
    if not match:
        raise FieldInvalid("blob", f"{name[:100]!r} is not of the form blobs/sha256-<64 lower-case hex digits>")
    return match.group(1)


def checked_upload_id(upload_id: str) -> str:
    """Gives an upload's id back.

    Raises:
        FieldInvalid: It has other characters than a UUID.
    """
    if not _UPLOAD_ID.match(upload_id):
        raise FieldInvalid("upload_id", "must be 1 to 64 letters, digits or hyphens (a UUID)")
    return upload_id


def check_upload(size_bytes: int, sha256: str, found_size: int, digest: Callable[[], str]) -> None:
    """Compares an upload with what its sender says of it.

    Raises:
        DigestMismatch: Size or digest differ.
    """
    if found_size != size_bytes:
        raise DigestMismatch(f"{found_size} bytes were received, but the commit says {size_bytes}; upload anew")
    if (found := digest()) != sha256:
        raise DigestMismatch(f"the bytes received have the SHA-256 {found}, but the commit says {sha256}; upload anew")


def blob_not_found(name: str) -> BlobNotFound:
    """The error for a blob that is not there, expired, or somebody else's."""
    return BlobNotFound(f"there is no blob {name}, or it expired; upload it again")


def upload_not_found(upload_id: str) -> UploadNotFound:
    """The error for an upload that is not there, or expired."""
    return UploadNotFound(f"there is no upload {upload_id}, or it expired; begin anew")


def info(name: str, size_bytes: int, media_type: str, created_s: float, used_s: float, ttl_s: float) -> BlobInfo:
    """Makes the description of a blob that expires ttl_s after its last use."""
    return BlobInfo(
        name=name,
        size_bytes=size_bytes,
        media_type=media_type,
        create_time_s=created_s,
        expire_time_s=used_s + ttl_s,
    )


def now_s() -> float:
    """Seconds since the epoch."""
    return time.time()
