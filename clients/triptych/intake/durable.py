"""Files that are there whole or not at all, whatever dies in between."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

# What is being written begins so; nobody takes it for a document or a result.
PREFIX = ".intake-"


def shortened(name: str, most_bytes: int) -> str:
    """Gives the beginning of a name, so that what is put behind it fits: file systems take 255 bytes."""
    return name.encode()[:most_bytes].decode(errors="ignore")


def _draft(path: Path) -> Path:
    return path.with_name(f"{PREFIX}{hashlib.sha256(path.name.encode()).hexdigest()[:32]}.tmp")


def write(path: Path, data: bytes) -> None:
    """Writes a file; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path)
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Moves a file, between file systems by way of a copy; it is never missing in both places."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        draft = _draft(target)
        shutil.copy2(source, draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(target.parent)
        source.unlink()
    sync_folder(target.parent)
    sync_folder(source.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that a name that was just given survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
