"""A file in memory without a name, whose descriptor another process may have."""

from __future__ import annotations

import fcntl
import os
import tempfile
from typing import IO

from triptych.workers.media.guarded_file import SeekableFile

_PIECE_BYTES = 1 << 20


def nameless_copy(file: SeekableFile) -> int:
    """Copies the rest of a file into a nameless one, which nobody can change (Linux); gives its descriptor."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as target:
            _copy(file, target)
            target.flush()
            return os.dup(target.fileno())
    descriptor = os.memfd_create("triptych", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as target:
        _copy(file, target)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return descriptor


def _copy(file: SeekableFile, target: IO[bytes]) -> None:
    while piece := file.read(_PIECE_BYTES):
        target.write(piece)
