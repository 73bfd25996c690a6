"""A process that has one document open. It may crash, hang or eat memory: whoever asked it hears so, and lives on."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.rpc.status_pb2 import Status

from triptych.core.errors import InputTooLarge, InternalError, MediaCorrupt, TriptychError, from_status
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.media import decoding
from triptych.workers.media.descriptors import send_descriptor
from triptych.workers.media.fork_server import ForkServer
from triptych.workers.media.page_limits import PageLimits

log = logging.getLogger("triptych.decoder")

# While the decoder works, whoever waits is asked this often whether it is still wanted.
HEED_EVERY_S = 0.05
# It gets its CPU seconds beside others; after so many times as long it sleeps for ever, or the machine is lost.
MAX_WALL_PER_CPU = 4
# The text of a page, with a box for every word.
MAX_ANSWER_BYTES = 256 << 20


class Decoder:
    """One process, forked at once. For one thread.

    Attributes:
        alive: Whether it can be asked.

    Args:
        descriptor: Of the document's bytes; it stays the caller's.
        media_type: Found in them.
        password: Of an encrypted PDF.
        limits: What it may take.
        fork_server: Forks it.
    """

    def __init__(
        self, descriptor: int, *, media_type: str, password: str, limits: PageLimits, fork_server: ForkServer
    ) -> None:
        self._limits = limits
        self._fork_server = fork_server
        self._child = fork_server.fork()
        self._order = {"media_type": media_type, "password": password, "limits": dataclasses.asdict(limits)}
        self._descriptor = descriptor
        self.alive = True

    def open(self, check: Callable[[], None]) -> int:
        """Opens the document; gives the number of its pages. Raises as `ask` does."""
        self._send(self._order, "the document")
        facts = self.ask(self._descriptor, "the document", check)
        return int(facts["page_count"])

    def ask(self, question: dict[str, Any] | int, what: str, check: Callable[[], None]) -> Any:
        """Asks something, or hands over a descriptor; gives the answer, see `decoding`.

        Args:
            question: See `decoding`.
            what: It is about, for messages.
            check: Called while it works; what it raises ends the process.

        Raises:
            MediaCorrupt: It crashed.
            InputTooLarge: It took too long, or too much memory.
            TriptychError: What it says.
        """
        self._send(question, what)
        self._await(what, check)
        with self._mourned(what):
            answer = self._child.pipe.recv_bytes(MAX_ANSWER_BYTES)
        return self._read(answer[:1], answer[1:], what)

    def fill(self, room: memoryview, what: str, check: Callable[[], None]) -> None:
        """Fills a buffer with the bytes that follow an answer. Raises as `ask` does."""
        while room:
            self._await(what, check)
            with self._mourned(what):
                count = os.readv(self._child.pipe.fileno(), [room])
                if not count:
                    raise EOFError
            room = room[count:]

    def end(self) -> None:
        """Ends it, whatever it does."""
        if self.alive:
            self.alive = False
            self._fork_server.end(self._child)

    def _send(self, question: dict[str, Any] | int, what: str) -> None:
        with self._mourned(what):
            if isinstance(question, int):
                send_descriptor(self._child.pipe, question, self._child.pid)
            else:
                self._child.pipe.send_bytes(json.dumps(question).encode())

    def _await(self, what: str, check: Callable[[], None]) -> None:
        """Waits until there is something to read."""
        deadline = time.monotonic() + self._limits.max_page_cpu_s * MAX_WALL_PER_CPU
        try:
            while not self._child.pipe.poll(HEED_EVERY_S):
                check()
                self._heed(deadline, what)
        except BaseException:
            self.end()
            raise

    def _heed(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise self._too_slow(what)

    @contextmanager
    def _mourned(self, what: str) -> Iterator[None]:
        """Takes a broken pipe for the end of the process."""
        try:
            yield
        except (EOFError, OSError) as error:
            raise self._died(what) from error

    def _read(self, kind: bytes, value: bytes, what: str) -> Any:
        if kind == decoding.FACTS:
            return json.loads(value)
        if kind == decoding.PAGE:
            return OcrPage.FromString(value) if value else None
        if kind == decoding.ERROR:
            raise from_status(Status.FromString(value))
        # Nobody knows in what state the libraries are now.
        self.end()
        if kind == decoding.NO_MEMORY:
            raise self._too_large(what)
        log.error("a bug in the decoder: %s", value.decode())
        raise InternalError("internal error; the worker's log has the details")

    def _died(self, what: str) -> TriptychError:
        """Clears up after it ended by itself; gives what its page ends with."""
        self.alive = False
        end = self._fork_server.end(self._child)
        how = signal.Signals(-end.code).name if end.code < 0 else f"exit code {end.code}"
        log.warning("a decoder ended by itself", extra={"how": how, "what": what, "held_bytes": end.held_bytes})
        if end.code == -signal.SIGXCPU:
            return self._too_slow(what)
        # Many libraries crash, or give up, where they get no more memory.
        if end.held_bytes > self._limits.max_bytes / 2:
            return self._too_large(what)
        return MediaCorrupt(f"{what} cannot be decoded: its decoder ended by {how}")

    def _too_large(self, what: str) -> InputTooLarge:
        most = self._limits.max_bytes
        return InputTooLarge(f"{what} takes more than {most >> 20} MiB to decode", limit=most, value=most)

    def _too_slow(self, what: str) -> InputTooLarge:
        most = self._limits.max_page_cpu_s
        return InputTooLarge(f"{what} takes more than {most} s to decode", limit=most, value=most)
