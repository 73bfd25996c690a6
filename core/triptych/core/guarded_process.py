"""Runs a function over a file that may be hostile in a process of its own, with limits on memory and time.

The child is confined, see `confinement`, and tells how it ended on what was its standard output; nothing that a library
prints about a broken file gets there, or into the parent's memory.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from google.rpc.status_pb2 import Status

from triptych.core.confinement import allow_cpu_s, bare_environment, be_silent, confine, die_with_parent
from triptych.core.errors import InputTooLarge, InternalError, MediaCorrupt, TriptychError, from_status

log = logging.getLogger("triptych.guarded")

# Exit code of a child that tells an error of ours; of others the trace is told.
_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use.

    Attributes:
        memory_bytes: Memory, beside what Python has when it starts.
        cpu_s: Time of a processor.
        wall_s: Time by the clock.
        file_bytes: The largest file that it may write.
    """

    memory_bytes: int
    cpu_s: int
    wall_s: float
    file_bytes: int


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
        stderr=subprocess.STDOUT,
        env=bare_environment(),
    )
    # A thread that waits cannot be cancelled: it ends with the child.
    ending = asyncio.ensure_future(asyncio.to_thread(_end, child, asked.encode(), limits.wall_s))
    try:
        told = await asyncio.shield(ending)
    except asyncio.CancelledError:
        child.kill()
        await asyncio.wait([ending])
        raise
    except subprocess.TimeoutExpired as error:
        raise InputTooLarge("it takes too long", limit=limits.wall_s, value=limits.wall_s) from error
    if child.returncode:
        raise _error(child.returncode, told, limits)


def _end(child: subprocess.Popen[bytes], asked: bytes, wall_s: float) -> bytes:
    """Gives what a child told; a late one is killed."""
    with child:
        try:
            return child.communicate(asked, wall_s)[0]
        finally:
            child.kill()


def _error(code: int, told: bytes, limits: Limits) -> TriptychError:
    if code == _TOLD:
        return from_status(Status.FromString(told))
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return InputTooLarge("it takes too long", limit=limits.cpu_s, value=limits.cpu_s)
    if code < 0:
        return MediaCorrupt(f"it broke the process that read it ({signal.Signals(-code).name})")
    log.error("a guarded process failed: %s", told.decode(errors="replace")[-4000:])
    return InternalError("internal error; the server's log has the details")


def main() -> None:
    """What the child does: gets confined, then calls the function."""
    die_with_parent()
    # Ctrl-C is sent to all processes of a terminal; the parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = json.load(sys.stdin)
    limits = Limits(**asked["limits"])
    answer = os.dup(sys.stdout.fileno())
    be_silent()
    confine(memory_bytes=limits.memory_bytes, file_bytes=limits.file_bytes)
    allow_cpu_s(limits.cpu_s)
    module, _, name = asked["function"].partition(":")
    try:
        getattr(importlib.import_module(module), name)(**asked["arguments"])
    except TriptychError as error:
        _tell(answer, error)
    except MemoryError:
        _tell(answer, InputTooLarge("it needs too much memory", limit=limits.memory_bytes, value=limits.memory_bytes))
    except OSError as error:
        if error.errno != errno.EFBIG:
            _fail(answer)
        _tell(answer, InputTooLarge("what comes of it is too large", limit=limits.file_bytes, value=limits.file_bytes))
    except Exception:  # noqa: BLE001 - it is told to the parent, which logs it
        _fail(answer)


def _tell(answer: int, error: TriptychError) -> NoReturn:
    os.write(answer, error.to_status().SerializeToString())
    os._exit(_TOLD)


def _fail(answer: int) -> NoReturn:
    os.write(answer, traceback.format_exc().encode())
    os._exit(1)


if __name__ == "__main__":
    main()
