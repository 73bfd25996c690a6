"""An input on the caller's side: a file or bytes, with its size, its digest and its chunks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triptych.core.errors import FieldInvalid
from triptych.v1.common_pb2 import InputSource

Source = str | os.PathLike[str] | bytes | InputSource
"""A path, the bytes themselves, or an InputSource that is ready to be sent (an uploaded blob)."""

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalInput:
    """Bytes that are still with the caller."""

    name: str
    size_bytes: int
    path: Path | None = None
    data: bytes = b""

    @classmethod
    def of(cls, source: str | os.PathLike[str] | bytes) -> LocalInput:
        """Describes a file or bytes.

        Raises:
            FieldInvalid: There is no such file, or it is empty.
        """
        if isinstance(source, bytes):
            found = cls(name="", size_bytes=len(source), data=source)
        else:
            path = Path(source)
            if not path.is_file():
                raise FieldInvalid("input", f"{path} is not a file")
            found = cls(name=path.name[:255], size_bytes=path.stat().st_size, path=path)
        if not found.size_bytes:
            raise FieldInvalid("input", f"{found.name or 'the input'} is empty")
        return found

    def read(self) -> bytes:
        """Gives all bytes."""
        return self.path.read_bytes() if self.path else self.data

    def chunks(self, offset_bytes: int = 0) -> Iterator[bytes]:
        """Yields the bytes from an offset on, 256 KiB at a time."""
        if self.path is None:
            for start in range(offset_bytes, len(self.data), CHUNK_BYTES):
                yield self.data[start : start + CHUNK_BYTES]
            return
        with self.path.open("rb") as file:
            file.seek(offset_bytes)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def sha256(self) -> str:
        """Gives the digest, 64 hex digits."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()
