"""What lies in a model's folder: its files, their sizes and their SHA-256, written once when the folder is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from triptych.core.catalog_file import ModelFile

NAME = "triptych-model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """One file: its path inside the folder (with `/`), its size and the SHA-256 of its bytes."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What lies in the folder (`files`), and the downloaded files that it was made of (`sources`)."""

    name: str
    revision: str
    licence: str
    source: str
    files: tuple[FileDigest, ...]
    sources: tuple[FileDigest, ...]

    def write(self, folder: Path) -> None:
        """Writes the manifest into the folder."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a model on disk."""

    model: str
    file: str
    """Path inside the model's folder; empty if the whole folder is meant."""
    problem: str


def read(folder: Path) -> Manifest | None:
    """Gives the folder's manifest; None if there is none, or none that can be read."""
    try:
        return TypeAdapter(Manifest).validate_json((folder / NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def sha256_of(path: Path) -> str:
    """Gives the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> tuple[FileDigest, ...]:
    """Hashes every file of a folder, however deep, except the manifest itself."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return tuple(
        FileDigest(path=path.relative_to(folder).as_posix(), size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in paths
    )


def has_sizes(folder: Path, files: Iterable[FileDigest | ModelFile]) -> bool:
    """Tells whether every file is there, with its size where that is known. Cheap: nothing is read."""
    try:
        return all(file.size_bytes in (None, (folder / file.path).stat().st_size) for file in files)
    except OSError:
        return False


def faults_of(model: str, folder: Path, files: Iterable[FileDigest | ModelFile]) -> Iterator[Fault]:
    """Hashes the files again and tells which are missing or changed; what is not known of a file is not compared."""
    for file in files:
        path = folder / file.path
        if not path.is_file():
            yield Fault(model=model, file=file.path, problem="missing")
        elif file.size_bytes not in (None, found := path.stat().st_size):
            yield Fault(model=model, file=file.path, problem=f"{found} bytes instead of {file.size_bytes}")
        elif file.sha256 and (digest := sha256_of(path)) != file.sha256:
            yield Fault(model=model, file=file.path, problem=f"SHA-256 is {digest} instead of {file.sha256}")
