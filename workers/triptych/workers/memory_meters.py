"""Measures the memory that a batch takes, where it takes it: in a process of the host, or on a GPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Protocol

from triptych.core.room import total_memory_bytes

_SAMPLE_EVERY_S = 0.01
_RESET_PEAK = b"5"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryMeter(Protocol):
    """Measures one batch at a time; for the batcher's thread."""

    device: str
    """Whose memory it is: "cpu" or "cuda". What is measured on one device shares one budget."""
    alone: bool
    """Whether it sees its own model only, whatever else runs at once."""

    def total_bytes(self) -> int:
        """Gives the memory of the device, or of the container; 0 if nobody tells."""

    def rest(self) -> None:
        """Takes note that the model is loaded, and that nothing runs."""

    def kept_bytes(self) -> int:
        """Gives what the model keeps of earlier batches for the next one, beyond what it had at rest."""

    def begin(self) -> bool:
        """Begins to measure a batch. False: it cannot be measured."""

    def taken_bytes(self) -> int:
        """Gives what the batch took at its peak, with what was kept for it."""


class ProcessMemory:
    """The resident memory of a process, by the kernel's own high-water mark (Linux).

    Args:
        pid: Gives the process; None: this one, in which others have memory too.
    """

    device = "cpu"

    def __init__(self, pid: Callable[[], int] | None = None) -> None:
        self.alone = pid is not None
        self._pid = pid or os.getpid
        self._rest_bytes = 0
        self._base_bytes = 0

    def total_bytes(self) -> int:
        """See `MemoryMeter.total_bytes`."""
        return total_memory_bytes() or 0

    def rest(self) -> None:
        """See `MemoryMeter.rest`."""
        self._rest_bytes = resident_bytes(self._pid())

    def kept_bytes(self) -> int:
        """See `MemoryMeter.kept_bytes`. In this process nobody can tell what was kept for whom."""
        return max(0, resident_bytes(self._pid()) - self._rest_bytes) if self.alone else 0

    def begin(self) -> bool:
        """See `MemoryMeter.begin`."""
        pid = self._pid()
        if not self.alone:
            _most.note()
        try:
            _write(f"/proc/{pid}/clear_refs", _RESET_PEAK)
        except OSError:
            return False
        self._base_bytes = self._rest_bytes if self.alone else resident_bytes(pid)
        return True

    def taken_bytes(self) -> int:
        """See `MemoryMeter.taken_bytes`."""
        return max(0, _peak_bytes(self._pid()) - self._base_bytes)


class TorchCudaMemory:
    """What torch takes of its GPU, as its allocator counts it.

    Args:
        cuda: `torch.cuda`.
    """

    device = "cuda"
    alone = False

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._base_bytes = 0

    def total_bytes(self) -> int:
        """See `MemoryMeter.total_bytes`."""
        return int(self._cuda.mem_get_info()[1])

    def rest(self) -> None:
        """See `MemoryMeter.rest`."""

    def kept_bytes(self) -> int:
        """See `MemoryMeter.kept_bytes`. The allocator's cache is used by whoever comes next."""
        return 0

    def begin(self) -> bool:
        """See `MemoryMeter.begin`."""
        self._cuda.reset_peak_memory_stats()
        self._base_bytes = self._cuda.memory_allocated()
        return True

    def taken_bytes(self) -> int:
        """See `MemoryMeter.taken_bytes`."""
        return max(0, int(self._cuda.max_memory_allocated()) - self._base_bytes)


class SampledCudaMemory:
    """What is taken of a GPU by a library that does not tell (CTranslate2): its free memory, looked at all the time.

    Args:
        memory: Gives (free bytes, all bytes) of the GPU; None: nobody can tell here.
    """

    device = "cuda"
    alone = False

    def __init__(self, memory: Callable[[], tuple[int, int]] | None) -> None:
        self._memory = memory
        self._over = threading.Event()
        self._sampler = threading.Thread()
        self._base_bytes = self._least_bytes = 0

    def total_bytes(self) -> int:
        """See `MemoryMeter.total_bytes`."""
        return self._memory()[1] if self._memory else 0

    def rest(self) -> None:
        """See `MemoryMeter.rest`."""

    def kept_bytes(self) -> int:
        """See `MemoryMeter.kept_bytes`."""
        return 0

    def begin(self) -> bool:
        """See `MemoryMeter.begin`."""
        if self._memory is None:
            return False
        self._over.set()  # of a batch that failed
        self._over = threading.Event()
        self._base_bytes = self._least_bytes = self._memory()[0]
        self._sampler = threading.Thread(target=self._sample, args=(self._over,), name="memory meter", daemon=True)
        self._sampler.start()
        return True

    def taken_bytes(self) -> int:
        """See `MemoryMeter.taken_bytes`."""
        self._over.set()
        self._sampler.join()
        return max(0, self._base_bytes - self._least_bytes)

    def _sample(self, over: threading.Event) -> None:
        assert self._memory is not None
        while True:
            free_bytes = self._memory()[0]
            if over is self._over:
                self._least_bytes = min(self._least_bytes, free_bytes)
            if over.wait(_SAMPLE_EVERY_S):
                return


def resident_bytes(pid: int) -> int:
    """Gives the resident memory of a process; 0 if it is gone, or the system does not tell."""
    pages = _read(f"/proc/{pid}/statm").split()
    return int(pages[1]) * _PAGE_BYTES if pages else 0


class _Most:
    """The most that this process ever held: what measures batches resets the kernel's own mark."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def note(self) -> int:
        self.size_bytes = max(self.size_bytes, _peak_bytes(os.getpid()))
        return self.size_bytes


_most = _Most()


def most_resident_bytes() -> int:
    """Gives the most memory that this process ever held; 0 where the system does not tell."""
    return _most.note()


# Every batch reads these files, and pathlib would take half of the time.


def _peak_bytes(pid: int) -> int:
    _, _, after = _read(f"/proc/{pid}/status").partition(b"VmHWM:")
    return int(after.split(maxsplit=1)[0]) * 1024 if after else 0


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, 8192)
    except ProcessLookupError:
        return b""
    finally:
        os.close(file)


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, data)
    finally:
        os.close(file)
