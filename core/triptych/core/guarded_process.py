"""Runs a function over a file that may be hostile in a process of its own, with limits on memory and time.

The child has none of the parent's secrets: its environment says where modules are, and nothing more.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import importlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from google.rpc.status_pb2 import Status

from triptych.core.errors import InputTooLarge, InternalError, MediaCorrupt, TriptychError, from_status

log = logging.getLogger("triptych.guarded")

# Exit code of a child that tells its error on standard output.
_TOLD = 3
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use.

    Attributes:
        memory_bytes: Address space, its own libraries included.
        cpu_s: Time of a processor.
        wall_s: Time by the clock.
        file_bytes: The largest file that it may write.
    """

    memory_bytes: int
    cpu_s: int
    wall_s: float
    file_bytes: int

    def impose(self) -> None:
        """Sets them for this process, as far as the system has them; it also ends with its parent, and dumps no core.

        The clock is the parent's to watch.
        """
        _limit(resource.RLIMIT_AS, self.memory_bytes)
        _limit(resource.RLIMIT_CPU, self.cpu_s)
        _limit(resource.RLIMIT_FSIZE, self.file_bytes)
        _limit(resource.RLIMIT_CORE, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(kind: int, value: int) -> None:
    # macOS knows some of them by name only.
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value, value))


async def run_guarded(function: str, arguments: Mapping[str, Any], limits: Limits) -> None:
    """Calls a function in a child process and waits for it; a caller who leaves ends the child.

    Args:
        function: "module:name"; what it makes it leaves in files.
        arguments: By name; JSON carries them, on standard input: other users do not see them.
        limits: For the child.

    Raises:
        InputTooLarge: It needed more memory, time or disk.
        MediaCorrupt: It crashed.
        InternalError: It raised what is none of ours; the log has its trace.
        TriptychError: What it raised.
    """
    asked = json.dumps({"function": function, "arguments": dict(arguments), "limits": asdict(limits)})
    # Not by the event loop: uvloop forks, which gRPC's threads do not survive; this spawns (vfork), in milliseconds.
    child = subprocess.Popen(  # noqa: ASYNC220, S603 - see above; our own module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    # A thread that waits cannot be cancelled: it ends with the child.
    ending = asyncio.ensure_future(asyncio.to_thread(_end, child, asked.encode(), limits.wall_s))
    try:
        told, trace = await asyncio.shield(ending)
    except asyncio.CancelledError:
        child.kill()
        await asyncio.wait([ending])
        raise
    except subprocess.TimeoutExpired as error:
        raise InputTooLarge("it takes too long", limit=limits.wall_s, value=limits.wall_s) from error
    if child.returncode:
        raise _error(child.returncode, told, trace, limits)


def _end(child: subprocess.Popen[bytes], asked: bytes, wall_s: float) -> tuple[bytes, bytes]:
    """Gives what a child wrote to standard output and error; a late one is killed."""
    with child:
        try:
            return child.communicate(asked, wall_s)
        finally:
            child.kill()


def _error(code: int, told: bytes, trace: bytes, limits: Limits) -> TriptychError:
    if code == _TOLD:
        return from_status(Status.FromString(told))
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return InputTooLarge("it takes too long", limit=limits.cpu_s, value=limits.cpu_s)
    if code < 0:
        return MediaCorrupt(f"it broke the process that read it ({signal.Signals(-code).name})")
    log.error("a guarded process failed: %s", trace.decode(errors="replace")[-4000:])
    return InternalError("internal error; the server's log has the details")


def main() -> None:
    """What the child does: imposes limits, then calls the function."""
    asked = json.load(sys.stdin)
    limits = Limits(**asked["limits"])
    limits.impose()
    # Ctrl-C is sent to all processes of a terminal; the parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, name = asked["function"].partition(":")
    try:
        getattr(importlib.import_module(module), name)(**asked["arguments"])
    except TriptychError as error:
        _tell(error)
    except MemoryError:
        _tell(InputTooLarge("it needs too much memory", limit=limits.memory_bytes, value=limits.memory_bytes))
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        _tell(InputTooLarge("what comes of it is too large", limit=limits.file_bytes, value=limits.file_bytes))


def _tell(error: TriptychError) -> None:
    sys.stdout.buffer.write(error.to_status().SerializeToString())
    sys.stdout.flush()
    os._exit(_TOLD)


if __name__ == "__main__":
    main()
