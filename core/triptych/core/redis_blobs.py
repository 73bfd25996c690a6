"""Blobs in Redis, for deployments where nothing else is shared and inputs are small."""

from __future__ import annotations

import hashlib
from typing import Any

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
from triptych.core.errors import UploadOffsetMismatch
from triptych.core.media import HEAD_BYTES, sniff
from triptych.core.store import PREFIX, Op, Script, Store, keys

_append, _use = Script("append_upload"), Script("use_blob")


class RedisBlobs:
    """One string a blob, with a hash beside it that says when it was made and how long it lives; Redis expires both."""

    def __init__(self, url: str, ttl_s: float) -> None:
        self._store = Store(url)
        self._ttl_s = ttl_s

    def put(self, tenant: str, data: bytes, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.put`."""
        return self._used(tenant, blob_name(data), ttl_s, data)

    def read(self, tenant: str, name: str, offset: int = 0, limit: int = 0) -> bytes:
        """See `BlobStore.read`."""
        self.stat(tenant, name)
        end = offset + limit - 1 if limit else -1
        return bytes(self._command("GETRANGE", self._key(tenant, name), offset, end))

    def stat(self, tenant: str, name: str) -> BlobInfo:
        """See `BlobStore.stat`."""
        key = self._key(tenant, name)
        about = self._command("HMGET", f"{key}:about", "created_s", "used_s", "ttl_s")
        if about[0] is None or not self._command("EXISTS", key):
            raise blob_not_found(name)
        size = int(self._command("STRLEN", key))
        media_type = sniff(self._command("GETRANGE", key, 0, HEAD_BYTES - 1)) or "application/octet-stream"
        return info(name, size, media_type, float(about[0]), float(about[1]), float(about[2]))

    def touch(self, tenant: str, name: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.touch`."""
        return self._used(tenant, name, ttl_s)

    def delete(self, tenant: str, name: str) -> None:
        """See `BlobStore.delete`."""
        key = self._key(tenant, name)
        self._command("DEL", key, f"{key}:about")

    def upload_size(self, tenant: str, upload_id: str) -> int:
        """See `BlobStore.upload_size`."""
        key = self._upload(tenant, upload_id)
        if not self._command("EXISTS", key):
            raise upload_not_found(upload_id)
        return int(self._command("STRLEN", key))

    def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> int:
        """See `BlobStore.append`."""
        size, written = self._store.run(
            _append(lambda answer: answer, self._upload(tenant, upload_id), offset, data, UPLOAD_TTL_S)
        )
        if not written:
            raise UploadOffsetMismatch(f"the upload has {size} bytes, but this chunk begins at {offset}")
        return int(size)

    def commit(self, tenant: str, upload_id: str, size_bytes: int, sha256: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.commit`."""
        data = self._command("GET", self._upload(tenant, upload_id))
        if data is None:
            raise upload_not_found(upload_id)
        self.drop_upload(tenant, upload_id)
        check_upload(size_bytes, sha256, len(data), lambda: hashlib.sha256(data).hexdigest())
        return self.put(tenant, data, ttl_s)

    def drop_upload(self, tenant: str, upload_id: str) -> None:
        """See `BlobStore.drop_upload`."""
        self._command("DEL", self._upload(tenant, upload_id))

    def names(self, tenant: str) -> set[str]:
        """See `BlobStore.names`."""
        return {f"blobs/sha256-{tail.partition(':')[0]}" for tail in self._tails("blob", tenant)}

    def uploads(self, tenant: str) -> set[str]:
        """See `BlobStore.uploads`."""
        return set(self._tails("upload", tenant))

    def expire(self) -> int:
        """See `BlobStore.expire`: Redis does it by itself."""
        return 0

    def _used(self, tenant: str, name: str, ttl_s: float | None, *data: bytes) -> BlobInfo:
        lives_s = self._ttl_s if ttl_s is None else ttl_s
        self._store.run(_use(bool, self._key(tenant, name), now_s(), lives_s, *data))
        return self.stat(tenant, name)

    def _tails(self, family: str, tenant: str) -> list[str]:
        start = f"{PREFIX}{family}:{tenant}:"
        return [key.removeprefix(start) for key in keys(self._store, f"{start}*")]

    def _command(self, *parts: bytes | str | float) -> Any:
        return self._store.run(Op(parts, lambda answer: answer))

    def _key(self, tenant: str, name: str) -> str:
        return f"{PREFIX}blob:{tenant}:{digest_of(name)}"

    def _upload(self, tenant: str, upload_id: str) -> str:
        return f"{PREFIX}upload:{tenant}:{checked_upload_id(upload_id)}"
