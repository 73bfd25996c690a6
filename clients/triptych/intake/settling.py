"""Which files of a folder are whole: those that have not changed for a while."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What programs call a file that they are not done with.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")
_HIDDEN = (".", "~$")
_MOST_PATIENT_S = 300.0


@dataclass(slots=True)
class _Candidate:
    size_bytes: int
    # Of its bytes and of its inode: one that was moved away and back between two looks has the same bytes.
    times_ns: tuple[int, int]
    since_s: float
    seen_s: float
    taken: bool = False
    put_back_count: int = 0


class Settling:
    """Looks through a folder again and again.

    Args:
        folder: Where files come.
        settle_s: How long a file has to stay as it is. Only what was watched counts: a copy can have an old time.
        recursive: Whether folders in it are looked through too.
        left_out: Folders that are not.
        clock: Gives seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settle_s: float,
        recursive: bool = False,
        left_out: Collection[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self.recursive = recursive
        self._left_out = {path.resolve() for path in left_out}
        self._clock = clock
        self._files: dict[Path, _Candidate] = {}

    def look(self) -> list[Path]:
        """Looks once: gives the files that are whole and were not given before, by name; blocks.

        Raises:
            OSError: The folder itself cannot be read.
        """
        now = self._clock()
        found: dict[Path, _Candidate] = {}
        for path, size_bytes, times_ns in self._found():
            known = self._files.get(path)
            if known is None:
                known = _Candidate(size_bytes, times_ns, now, now)
            elif (known.size_bytes, known.times_ns) != (size_bytes, times_ns):
                known = _Candidate(size_bytes, times_ns, now, known.seen_s)
            found[path] = known
        self._files = found
        # An empty file is one that is about to be written.
        whole = [path for path, each in found.items() if not each.taken and each.size_bytes and self._left_s(each) <= 0]
        for path in whole:
            found[path].taken = True
        return sorted(whole)

    def put_back(self, paths: Iterable[Path]) -> None:
        """Has files wait again: for as long as if they had just come, and twice as long each time."""
        for path in paths:
            if known := self._files.get(path):
                longer_s = min(_MOST_PATIENT_S, max(1.0, self._settle_s) * (2.0 ** min(known.put_back_count, 16) - 1))
                known.put_back_count += 1
                known.taken, known.since_s = False, self._clock() + longer_s

    def pause_s(self) -> float | None:
        """Gives the time until the next file may be whole, in seconds; None if none is waited for."""
        waited = [self._left_s(each) for each in self._files.values() if not each.taken and each.size_bytes]
        return max(0.0, min(waited)) if waited else None

    def oldest_s(self) -> float:
        """Gives how long the oldest file has been here, in seconds; 0 if there is none."""
        by_age = sorted(self._files.items(), key=lambda item: item[1].seen_s)
        # Those that were moved away since the last look do not count.
        return next((self._clock() - each.seen_s for path, each in by_age if path.exists()), 0.0)

    def _left_s(self, candidate: _Candidate) -> float:
        return candidate.since_s + self._settle_s - self._clock()

    def _found(self) -> Iterator[tuple[Path, int, tuple[int, int]]]:
        folders = [self._folder]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        # A link could lead anywhere, and whoever may put files here may not read everything.
                        if entry.is_symlink() or entry.name.startswith(_HIDDEN):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            if self.recursive and Path(entry.path).resolve() not in self._left_out:
                                folders.append(Path(entry.path))
                        elif entry.is_file(follow_symlinks=False) and not entry.name.lower().endswith(_UNFINISHED):
                            try:
                                looks = entry.stat(follow_symlinks=False)
                            except FileNotFoundError:
                                continue  # it went away just now
                            yield Path(entry.path), looks.st_size, (looks.st_mtime_ns, looks.st_ctime_ns)
            except OSError:
                if folder == self._folder:
                    raise
