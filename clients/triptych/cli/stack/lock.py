"""The lock that makes one state folder one stack; it vanishes with its holder, however that one dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from triptych.core.errors import PreconditionFailed


def _path(state_dir: Path) -> Path:
    return state_dir / "stack.lock"


class StackLock:
    """Held by the supervisor of a folder for its whole life; holds its pid for `holder`.

    Raises:
        PreconditionFailed: On entry, if another supervisor holds it.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(_path(self._state_dir), os.O_RDWR | os.O_CREAT, 0o600)
        # `holder` takes a shared lock for an instant; that must not stop a start.
        for attempt in range(20):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 19:
                    os.close(self._fd)
                    raise PreconditionFailed(f"another stack runs in {self._state_dir}") from None
                time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())
        return self

    def in_place(self) -> bool:
        """Whether its file is still there: somebody may delete the folder of a stack that runs."""
        return os.fstat(self._fd).st_nlink > 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def holder(state_dir: Path) -> int:
    """Gives the pid of the supervisor that runs this folder's stack; 0 if none does."""
    while True:
        try:
            fd = os.open(_path(state_dir), os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return 0
        except BlockingIOError:
            if pid := os.read(fd, 20):
                return int(pid)
        finally:
            os.close(fd)
        time.sleep(0.01)  # taken this instant, or about to be left: the pid follows, or the lock goes
