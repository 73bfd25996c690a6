"""What a process that touches foreign files is denied: secrets, memory, time, files, and to outlive its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Libraries, stacks of threads and the C library's arenas take addresses, if little memory.
_ADDRESSES_BYTES = 2 << 30
# Where the loader finds what Python and the libraries were linked against, if not at the usual places.
_LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


def bare_environment() -> dict[str, str]:
    """Gives a child's environment: where programs and modules are, and none of this process's settings and secrets."""
    loader = {name: os.environ[name] for name in _LOADER if name in os.environ}
    # Many threads of a library take memory and gain nothing here.
    return loader | {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",
    }


def die_with_parent() -> None:
    """Has the system end this process when its parent ends (Linux); others notice by their closed pipe."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def be_silent() -> None:
    """Sends what C libraries print about broken files nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def confine(*, memory_bytes: int, file_bytes: int) -> None:
    """Bounds memory and files, and allows no core dumps.

    Where the system knows no such limit (macOS: memory), the others hold.

    Args:
        memory_bytes: What the process may still take, beside what it has.
        file_bytes: The largest file that it may write.
    """
    data, addresses = _in_use("VmData"), _in_use("VmSize")
    _limit(resource.RLIMIT_DATA, data + memory_bytes)
    _limit(resource.RLIMIT_AS, addresses + memory_bytes + _ADDRESSES_BYTES)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_CORE, 0)


def allow_cpu_s(seconds: int) -> None:
    """Has the system end this process by SIGXCPU once it has computed so much longer."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    # The system counts whole seconds.
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds + 1, most))


def _limit(what: int, value: int) -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (value, value))


def _in_use(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
