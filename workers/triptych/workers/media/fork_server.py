"""Starts and ends the processes that decode foreign files.

A process that runs threads must not fork, and a new Python takes 0.3 s to import what decoding needs. So a fork server,
one small process with a single thread, has it all imported and forks: each document gets a fresh decoder within
milliseconds, which has none of the worker's settings and secrets in its environment.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe

from triptych.core.confinement import bare_environment
from triptych.workers.media.descriptors import send_descriptor

PROGRAM = "triptych.workers.media.fork_server_process"
# A new process fetches its memory page by page: with the large ones, where glibc and the system have them, a JPEG of A4
# takes 27 ms of CPU, else 39.
_LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
# It ends its decoders when its pipe is closed.
_LEAVE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One decoder.

    Attributes:
        pid: Its process, or what is left of it, until `ForkServer.end`.
        pipe: To it; whoever has it closes it.
    """

    pid: int
    pipe: Connection
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a decoder ended.

    Attributes:
        code: Its exit code; or minus the signal that ended it, before it was ended here.
        held_bytes: The most memory that it held.
    """

    code: int
    held_bytes: int


class ForkServer:
    """Forks decoders, through a process that it starts when the first is wanted. Thread-safe.

    Args:
        program: Module that is run; see `fork_server_process`.
    """

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Connection | None = None
        self._generation = 0

    def start(self) -> None:
        """Starts the process, if there is none; it is not waited for."""
        with self._lock:
            self._started()

    def fork(self) -> Child:
        """Gives a new decoder.

        Raises:
            OSError: No process can be started.
        """
        ours, theirs = Pipe()
        try:
            with theirs, self._lock:
                try:
                    (pid,) = self._ask("fork", theirs)
                except (OSError, EOFError):
                    # It was killed, perhaps for memory: decoders need not wait for the next worker.
                    self._stop()
                    (pid,) = self._ask("fork", theirs)
                return Child(pid=pid, pipe=ours, generation=self._generation)
        except BaseException:
            ours.close()
            raise

    def end(self, child: Child) -> End:
        """Ends a decoder, whatever it does; says how it ended."""
        child.pipe.close()
        with self._lock:
            if child.generation == self._generation:
                try:
                    code, held_bytes = self._ask(child.pid)
                    return End(code=code, held_bytes=held_bytes)
                except (OSError, EOFError):
                    self._stop()
        # It ended with the process that had forked it.
        return End(code=-signal.SIGKILL, held_bytes=0)

    def stop(self) -> None:
        """Ends the process and all its decoders."""
        with self._lock:
            self._stop()

    def _ask(self, what: str | int, descriptor: Connection | None = None) -> list[int]:
        control = self._started()
        control.send_bytes(json.dumps(what).encode())
        if descriptor is not None:
            assert self._process is not None
            send_descriptor(control, descriptor.fileno(), self._process.pid)
        return [int(value) for value in json.loads(control.recv_bytes())]

    def _started(self) -> Connection:
        if self._control is None:
            self._control, theirs = Pipe()
            command = [sys.executable, "-P", "-m", self._program, str(theirs.fileno())]
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=bare_environment() | _LARGE_PAGES,
                )
        return self._control

    def _stop(self) -> None:
        if self._process is not None and self._control is not None:
            self._control.close()
            try:
                self._process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._control = None
        self._generation += 1


fork_server = ForkServer()
"""The one of this process."""
atexit.register(fork_server.stop)
