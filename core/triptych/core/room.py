"""How much room a host has left: on a disk and in memory."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.core.errors import HostExhausted

# The disk is full, or the quota of its owner.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def free_disk_bytes(folder: Path) -> int:
    """Gives what files in a folder may still take; the folder need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def disk_room(folder: Path, what: str, size_bytes: int) -> Iterator[None]:
    """Says so if a disk turns out to be full.

    Args:
        folder: On the disk.
        what: Is written there: "blobs".
        size_bytes: How much, as far as one knows.

    Raises:
        HostExhausted: In place of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise HostExhausted(
            f"the disk of the {what} is full; try again later",
            resource="disk",
            free_bytes=free_disk_bytes(folder),
            wanted_bytes=size_bytes,
        ) from error


def free_memory_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Gives the memory that can be had without swapping: of the host or, if that is less, of this container.

    Args:
        meminfo: What the kernel says of the host.
        cgroup: What it says of the container (version 2); a host has no limit there.

    Returns:
        Bytes, or None where the system does not say (macOS).
    """
    known = [free for free in (_host_bytes(meminfo), _container_bytes(cgroup)) if free is not None]
    return min(known, default=None)


def total_memory_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Gives the memory of the host or, if that is less, of this container; None where the system does not say."""
    known = [_values(meminfo.read_text().replace(":", ""))["MemTotal"] * 1024] if meminfo.exists() else []
    limit = cgroup / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        known.append(int(text))
    return min(known, default=None)


def _host_bytes(meminfo: Path) -> int | None:
    if not meminfo.exists():
        return None
    values = _values(meminfo.read_text().replace(":", ""))
    return values["MemAvailable"] * 1024


def _container_bytes(cgroup: Path) -> int | None:
    if not (cgroup / "memory.max").exists() or (limit := (cgroup / "memory.max").read_text().strip()) == "max":
        return None
    held = _values((cgroup / "memory.stat").read_text())
    # As in MemAvailable, what is only cached of files counts as free.
    used = int((cgroup / "memory.current").read_text()) - held["active_file"] - held["inactive_file"]
    return max(0, int(limit) - used)


def _values(text: str) -> dict[str, int]:
    """Reads lines of a name and a number."""
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}
