"""Blobs as files in a folder that services and workers share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from triptych.core.blobs import (
    UPLOAD_TTL_S,
    BlobInfo,
    blob_name,
    blob_not_found,
    check_upload,
    checked_upload_id,
    digest_of,
    info,
    now_s,
    upload_not_found,
)
from triptych.core.errors import DigestMismatch, UploadOffsetMismatch
from triptych.core.media import HEAD_BYTES, sniff
from triptych.core.room import disk_room

# A tenant is the operator's word, but never a path.
_TENANT = re.compile(r"[^A-Za-z0-9_.-]|^\.")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class DirectoryBlobs:
    """One file a blob: `<root>/<tenant>/<2 hex>/<digest>`; its mode of expiry stands beside it in `<digest>.ttl`.

    The modification time of the `.ttl` file is the last use, its text the time to live in seconds. A blob appears by
    rename, so a reader never sees half of one.
    """

    def __init__(self, root: Path, ttl_s: float) -> None:
        self._root = root
        self._ttl_s = ttl_s

    def put(self, tenant: str, data: bytes, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.put`."""
        name = blob_name(data)
        path = self._path(tenant, name)
        with self._room(len(data)), self._no_expiry(self._folder(tenant)):
            path.parent.mkdir(exist_ok=True)
            # First its time to live: a blob without one would stay for ever.
            self._renew(path, ttl_s)
            if not path.exists():
                try:
                    _write(path, data)
                except OSError:
                    _remove(path)
                    raise
            return self.stat(tenant, name)

    def read(self, tenant: str, name: str, offset: int = 0, limit: int = 0) -> bytes:
        """See `BlobStore.read`."""
        self.stat(tenant, name)
        try:
            with self._path(tenant, name).open("rb") as file:
                file.seek(offset)
                return file.read(limit or -1)
        except FileNotFoundError as error:
            raise blob_not_found(name) from error

    def stat(self, tenant: str, name: str) -> BlobInfo:
        """See `BlobStore.stat`."""
        path = self._path(tenant, name)
        ttl_file = path.with_suffix(".ttl")
        try:
            size, created = path.stat().st_size, path.stat().st_mtime
            used, ttl_s = ttl_file.stat().st_mtime, float(ttl_file.read_text())
            with path.open("rb") as file:
                media_type = sniff(file.read(HEAD_BYTES))
        except FileNotFoundError as error:
            raise blob_not_found(name) from error
        if used + ttl_s < now_s():
            raise blob_not_found(name)
        return info(name, size, media_type or "application/octet-stream", created, used, ttl_s)

    def touch(self, tenant: str, name: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.touch`."""
        with self._room(0), self._no_expiry(self._folder(tenant)):
            self.stat(tenant, name)
            self._renew(self._path(tenant, name), ttl_s)
            return self.stat(tenant, name)

    def delete(self, tenant: str, name: str) -> None:
        """See `BlobStore.delete`."""
        with self._no_expiry(self._folder(tenant)):
            _remove(self._path(tenant, name))

    def upload_size(self, tenant: str, upload_id: str) -> int:
        """See `BlobStore.upload_size`."""
        try:
            return self._upload(tenant, upload_id).stat().st_size
        except FileNotFoundError as error:
            raise upload_not_found(upload_id) from error

    def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> int:
        """See `BlobStore.append`."""
        path = self._upload(tenant, upload_id)
        with self._room(len(data)):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what does not fit must not be written later, behind bytes of another stream.
            with path.open("ab", buffering=0) as file, _locked(file.fileno()):
                size = file.seek(0, os.SEEK_END)
                if size != offset:
                    raise UploadOffsetMismatch(f"the upload has {size} bytes, but this chunk begins at {offset}")
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                return size + len(data)

    def commit(self, tenant: str, upload_id: str, size_bytes: int, sha256: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.commit`."""
        part = self._upload(tenant, upload_id)
        try:
            with part.open("rb") as file:
                check_upload(
                    size_bytes, sha256, part.stat().st_size, lambda: hashlib.file_digest(file, "sha256").hexdigest()
                )
            name = f"blobs/sha256-{sha256}"
            path = self._path(tenant, name)
            with self._room(0), self._no_expiry(self._folder(tenant)):
                path.parent.mkdir(exist_ok=True)
                self._renew(path, ttl_s)
                part.replace(path)
                return self.stat(tenant, name)
        except FileNotFoundError as error:
            raise upload_not_found(upload_id) from error
        except DigestMismatch:
            self.drop_upload(tenant, upload_id)
            raise

    def drop_upload(self, tenant: str, upload_id: str) -> None:
        """See `BlobStore.drop_upload`."""
        self._upload(tenant, upload_id).unlink(missing_ok=True)

    def names(self, tenant: str) -> set[str]:
        """See `BlobStore.names`."""
        found = (_DIGEST.match(path.name) for path in self._folder(tenant).glob("??/*"))
        return {f"blobs/sha256-{match.group()}" for match in found if match}

    def uploads(self, tenant: str) -> set[str]:
        """See `BlobStore.uploads`."""
        return {path.name for path in self._folder(tenant).glob("uploads/*")}

    def expire(self) -> int:
        """See `BlobStore.expire`."""
        gone, now = 0, now_s()
        for ttl_file in self._root.glob("*/??/*.ttl"):
            with suppress(FileNotFoundError, ValueError):
                if _is_over(ttl_file, now):
                    with self._no_expiry(ttl_file.parent.parent):
                        if _is_over(ttl_file, now):
                            ttl_file.with_suffix("").unlink(missing_ok=True)
                            ttl_file.unlink(missing_ok=True)
                            gone += 1
        for part in (*self._root.glob("*/uploads/*"), *self._root.glob("*/??/*.part")):
            with suppress(FileNotFoundError):
                if part.stat().st_mtime + UPLOAD_TTL_S < now:
                    part.unlink()
                    gone += 1
        return gone

    @contextmanager
    def _no_expiry(self, folder: Path) -> Iterator[None]:
        """Keeps a tenant's blobs from expiring between the look whether they are there and their renewal."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("ab") as file, _locked(file.fileno()):
            yield

    def _room(self, size_bytes: int) -> AbstractContextManager[None]:
        return disk_room(self._root, "blobs", size_bytes)

    def _renew(self, path: Path, ttl_s: float | None) -> None:
        ttl_file, wanted_s = path.with_suffix(".ttl"), self._ttl_s if ttl_s is None else ttl_s
        with suppress(FileNotFoundError, ValueError):
            # A use never shortens the life that somebody else asked for. Where it need not be lengthened nothing is
            # written: on a full disk what is here can still be used.
            if float(ttl_file.read_text()) >= wanted_s:
                os.utime(ttl_file)
                return
        _write(ttl_file, str(wanted_s).encode())

    def _path(self, tenant: str, name: str) -> Path:
        digest = digest_of(name)
        return self._folder(tenant) / digest[:2] / digest

    def _upload(self, tenant: str, upload_id: str) -> Path:
        return self._folder(tenant) / "uploads" / checked_upload_id(upload_id)

    def _folder(self, tenant: str) -> Path:
        return self._root / _TENANT.sub("_", tenant)


def _remove(path: Path) -> None:
    """Removes a blob. Whoever writes has the lock: what is half written was left by a crash, and goes too."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink(missing_ok=True)


def _is_over(ttl_file: Path, now: float) -> bool:
    return ttl_file.stat().st_mtime + float(ttl_file.read_text()) < now


def _write(path: Path, data: bytes) -> None:
    """Makes a file appear whole or not at all."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
