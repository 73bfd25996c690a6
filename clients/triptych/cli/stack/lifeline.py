"""What ties the life of children to the supervisor's: a death signal, a pipe, and the guard."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def death_signal() -> Callable[[], None] | None:
    """Gives what a new child runs before its program so that the kernel kills it with us; None off Linux.

    The signal comes when the *thread* that forked ends, so children are started from the main thread only.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return in_child


class Lifeline:
    """Holds the pipe whose end tells children that the supervisor is gone, and runs the guard."""

    def __init__(self) -> None:
        # Only we hold the write end; children get the read end as TRIPTYCH_PARENT_FD and may watch it for EOF.
        self.read_fd, self._write_fd = os.pipe()
        self._groups: set[int] = set()
        self._guard: subprocess.Popen[str] | None = None

    def add(self, group: int) -> None:
        """Puts a process group on the list of those that die with us."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Kills what is left of a group whose leader ended, and forgets it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def check(self) -> None:
        """Starts the guard, again if somebody killed it."""
        if self._guard is not None and self._guard.poll() is None:
            return
        self._close_guard()
        self._guard = subprocess.Popen(  # noqa: S603 - our own file
            # It knows the groups from its first moment on, should this process die in the next one.
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), *map(str, self._groups)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def close(self) -> None:
        """Lets the guard go."""
        self._close_guard()
        os.close(self.read_fd)
        os.close(self._write_fd)

    def _tell(self, line: str) -> None:
        if self._guard is None or self._guard.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # `check` starts another one and tells it everything
            self._guard.stdin.write(line)
            self._guard.stdin.flush()

    def _close_guard(self) -> None:
        if self._guard is None or self._guard.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        self._guard.wait()
        self._guard = None
