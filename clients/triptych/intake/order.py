"""One thing to be done: a request that is ready but for the bytes of its files."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from triptych.client.inputs import CHUNK_BYTES
from triptych.v1.job_pb2 import JobOptions, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done with which files.

    Attributes:
        name: For people, and what its result is called: a path in the folder, or what a manifest says.
        spec: With an open input for each file, in order.
        files: Whose bytes are to be read.
        options: How the job is run and kept.
        leaves: Whether the file goes to the folder of what is done (or failed) when its result is there.
    """

    name: str
    spec: JobSpec
    files: tuple[Path, ...]
    options: JobOptions
    leaves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file holds, and how it looked when that was read.

    Attributes:
        digest: SHA-256 of its bytes, 64 hex digits.
        mtime_ns: When it was last changed, as the file system says.
    """

    path: Path
    digest: str
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, *, follow_links: bool = True) -> Content:
        """Reads a file; blocks. Links in a folder are not followed: who may put files there may not read elsewhere.

        Raises:
            OSError: It cannot be read, or has a name that cannot be told.
        """
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise OSError(errno.EILSEQ, "the name is not UTF-8: give it another one") from None
        digest = hashlib.sha256()
        no_link = 0 if follow_links else os.O_NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | no_link)
        with os.fdopen(descriptor, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
            looks = os.fstat(descriptor)
        return cls(path=path, digest=digest.hexdigest(), size_bytes=looks.st_size, mtime_ns=looks.st_mtime_ns)

    def is_still_there(self) -> bool:
        """Whether the file looks as it did."""
        try:
            looks = self.path.lstat()
        except OSError:
            return False
        return (looks.st_size, looks.st_mtime_ns) == (self.size_bytes, self.mtime_ns)


def key_of(order: Order, contents: list[Content]) -> str:
    """Names a request by what is asked and by the bytes it is asked about, whatever their files are called."""
    parts = [message.SerializeToString(deterministic=True) for message in (order.spec, order.options)]
    parts += [content.digest.encode() for content in contents]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
