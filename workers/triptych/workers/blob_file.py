"""The bytes of an input as a file, read from the blob store piece by piece."""

from __future__ import annotations

import io
import os
from collections.abc import Callable


class BlobFile(io.RawIOBase):
    """A seekable file that holds none of its bytes.

    Args:
        read: Gives the bytes from an offset on, at most so many.
        size: Bytes in all.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Gives the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place; gives it.

        Raises:
            ValueError: It is before the beginning.
        """
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"there is no byte {at}")
        self._at = at
        return at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer as far as there are bytes; gives how many."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        found = self._read(self._at, wanted)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
