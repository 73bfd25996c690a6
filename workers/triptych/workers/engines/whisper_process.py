"""Whisper's weights in a process of their own, because a call of CTranslate2 cannot be interrupted.

One call decodes a batch to its end, which takes a CPU seconds, and heeds nothing meanwhile. A process can be killed: it
is, once nobody wants what its call computes, and another one loads the weights at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InternalError
from triptych.workers.engines.heeding import HEED_EVERY_S, Unwanted, heed
from triptych.workers.engines.whisper_weights import Encoded

# The encoder's attention over 30 s takes 72 MB and more, layer by layer. The C library gives such blocks back to the
# system at once, and fetching them again, page by page, was 45 % of the encoder's time (glibc; others do not heed it).
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


class WhisperProcess:
    """Stands in for `WhisperWeights`, on a CPU; for one thread. Its calls are left as `heeding` says.

    Args:
        folder: Weights in CTranslate2 format.
        compute_type: CTranslate2's name of the number format.
        threads: CPU threads.
    """

    # A CPU takes as long for many windows as for one after the other, and some may be stopped meanwhile.
    windows_a_call = 1

    def __init__(self, folder: Path, *, compute_type: str, threads: int) -> None:
        self._arguments = [str(folder), compute_type, str(threads)]
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._loaded = False
        self.is_multilingual = False
        self.mels = 0

    def load(self) -> None:
        """Starts the process, if there is none, and waits for its weights.

        Raises:
            RuntimeError, InternalError: It cannot load them.
        """
        if self._pipe is None:
            self._start()
        if not self._loaded:
            try:
                self.is_multilingual, self.mels = self._answer()
            except (RuntimeError, ValueError, MemoryError):
                self._kill()
                raise
            self._loaded = True

    @property
    def pid(self) -> int:
        """The process; 0 while there is none."""
        process = self._process  # another thread may be starting the next one
        return process.pid if process else 0

    def memory_bytes(self) -> int:
        """Gives the memory in use by the process, without code and libraries; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{pid}/statm").read_text("ascii").split() if (pid := self.pid) else ["0"] * 3
        except OSError:
            return 0
        resident, shared = int(pages[1]), int(pages[2])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Ends the process."""
        self._kill()

    def encode(self, features: npt.NDArray[np.float32]) -> Encoded:
        """See `WhisperWeights.encode`."""
        encoded: Encoded = self._call("encode", features)
        return encoded

    def detect_language(self, encoded: Encoded) -> list[tuple[str, float]]:
        """See `WhisperWeights.detect_language`."""
        found: list[tuple[str, float]] = self._call("detect_language", encoded)
        return found

    def generate(
        self, encoded: Encoded, prompts: Sequence[Sequence[int]], *, seed: int | None = None, **options: Any
    ) -> list[tuple[list[int], float, float]]:
        """See `WhisperWeights.generate`.

        Args:
            encoded: The windows.
            prompts: Tokens before the text, one list per window.
            seed: What lots are drawn with, if they are drawn.
            options: Of `ctranslate2.models.Whisper.generate`.
        """
        if seed is not None:
            self._call("seed", seed)
        found: list[tuple[list[int], float, float]] = self._call("generate", encoded, prompts, **options)
        return found

    def align(
        self, encoded: Encoded, start: Sequence[int], texts: Sequence[Sequence[int]], frames: int, **options: Any
    ) -> list[SimpleNamespace]:
        """See `WhisperWeights.align`."""
        found: list[SimpleNamespace] = self._call("align", encoded, start, texts, frames, **options)
        return found

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        self.load()
        assert self._pipe is not None
        try:
            self._pipe.send((name, arguments, options))
        except OSError as error:
            raise self._lost() from error
        return self._answer()

    def _answer(self) -> Any:
        assert self._pipe is not None
        while not self._pipe.poll(HEED_EVERY_S):
            try:
                heed()
            except Unwanted:
                if self._loaded:  # what loads is of use to the next call
                    self._kill()
                    self._start()
                raise
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        # -P: beside the program lie modules that are named like the packages that it imports.
        program = Path(__file__).with_name("whisper_weights.py")
        command = [sys.executable, "-P", str(program), *self._arguments, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=os.environ | _KEEP_MEMORY
            )

    def _kill(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.wait()
            self._pipe.close()
        self._process = self._pipe = None
        self._loaded = False

    def _lost(self) -> InternalError:
        """Clears up after a process that ended by itself; gives the error of its caller."""
        self._kill()
        return InternalError("the process that runs Whisper has ended; the next call starts another")
