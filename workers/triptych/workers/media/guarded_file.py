"""A file that C code reads: no exception may cross it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol


class SeekableFile(Protocol):
    """What is asked of a file; see `io.RawIOBase`."""

    def read(self, size: int, /) -> bytes | None:
        """Gives the next bytes, at most so many; none at its end."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Goes to a place; gives it."""

    def tell(self) -> int:
        """Gives the place of the next byte."""


class GuardedFile:
    """Whatever reading raises ends the file for its reader, and waits for who calls `check`.

    ffmpeg takes some errors for the end of a file, and PyAV then raises them elsewhere, perhaps in another job.

    Args:
        file: Seekable.
        heed: Called before every read; what it raises is treated as an error of the file.
    """

    def __init__(self, file: SeekableFile, heed: Callable[[], None]) -> None:
        self._file = file
        self._heed = heed
        self._failure: Exception | None = None

    def read(self, size: int) -> bytes:
        """See `io.RawIOBase.read`."""
        if self._failure is not None:
            return b""
        try:
            self._heed()
            return self._file.read(size) or b""
        except Exception as error:  # noqa: BLE001 - it is raised by check()
            self._failure = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.RawIOBase.seek`; -1: there is no such place."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            return -1

    def tell(self) -> int:
        """See `io.RawIOBase.tell`."""
        return self._file.tell()

    def check(self) -> None:
        """Raises what reading raised, if anything."""
        if self._failure is not None:
            raise self._failure
