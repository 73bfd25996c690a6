"""The pipelines of this deployment: those of the suite, and the operator's, which win and may change at any time."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid
from triptych.core.pipelines.plan import Mistake, Plan, PlanInvalid
from triptych.core.pipelines.plan_file import SHIPPED, PlanFile, Stamp, stamp_of
from triptych.core.settings import Settings

# Clocks of file systems are coarse: a file that was just written may change again without a new time.
_SETTLED_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file as it was read: a plan, or what is wrong with it.

    Attributes:
        name: Of the pipeline.
        path: The file.
        plan: None if it is wrong.
        mistakes: None of them if there is a plan.
        stamps: Of the file and all that it names.
        settled: Whether a change after this would change a stamp.
    """

    name: str
    path: Path
    plan: Plan | None
    mistakes: Sequence[Mistake] = ()
    stamps: dict[Path, Stamp] = field(default_factory=dict)
    settled: bool = False

    @property
    def custom(self) -> bool:
        """Whether it is the operator's own."""
        return self.path.parent != SHIPPED

    @property
    def error(self) -> str:
        """Why it cannot be used: file, line and reason."""
        return "; ".join(map(str, self.mistakes))

    def fresh(self) -> bool:
        """Whether the files are still those that were read."""
        return self.settled and all(stamp_of(path) == stamp for path, stamp in self.stamps.items())


def read_entry(path: Path, catalog: Catalog) -> Entry:
    """Reads one file, whether it is right or not."""
    file = PlanFile(path, catalog)
    began = time.time_ns()
    plan: Plan | None = None
    mistakes: Sequence[Mistake] = ()
    try:
        plan = file.read()
    except PlanInvalid as error:
        mistakes = error.mistakes
    newest = max((stamp[0] for stamp in file.stamps.values() if stamp), default=0)
    return Entry(
        name=path.stem,
        path=path,
        plan=plan,
        mistakes=mistakes,
        stamps=file.stamps,
        settled=began - newest > _SETTLED_NS,
    )


class Pipelines:
    """Gives pipelines by name, as their files are right now. Thread-safe.

    Args:
        folder: The operator's; None: there is none.
        catalog: Models that pipelines may name.
    """

    def __init__(self, folder: Path | None, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._read: dict[Path, Entry] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: Settings, catalog: Catalog | None = None) -> Pipelines:
        """Gives the pipelines that the settings name; a wrong one is no reason not to start."""
        return cls(settings.pipelines_dir, catalog or Catalog.load(settings))

    def get(self, name: str, field_path: str = "pipeline") -> Plan:
        """Gives the plan of that name.

        Args:
            name: As a request has it.
            field_path: Field of the request, for the error.

        Raises:
            FieldInvalid: There is none, or its file is wrong: file, line and reason.
        """
        path = self._paths().get(name)
        if path is None:
            raise FieldInvalid(field_path, f"no pipeline is called {name[:100]!r}; {self._hint(name)}")
        entry = self._entry(path)
        if entry.plan is None:
            raise FieldInvalid(field_path, f"{name!r} cannot be used: {entry.error}")
        return entry.plan

    def entries(self) -> list[Entry]:
        """Gives all pipelines by name, wrong ones too."""
        return pipelines_among([self._entry(path) for _, path in sorted(self._paths().items())])

    def _entry(self, path: Path) -> Entry:
        with self._lock:
            entry = self._read.get(path)
            if entry is None or not entry.fresh():
                entry = self._read[path] = read_entry(path, self._catalog)
            return entry

    def _paths(self) -> dict[str, Path]:
        paths = files_in(SHIPPED)
        if self._folder is not None:
            paths |= files_in(self._folder)
        return paths

    def _hint(self, name: str) -> str:
        # Where the folder should be is nothing for callers.
        gone = self._folder is not None and not self._folder.is_dir()
        lacks = "; TRIPTYCH_PIPELINES_DIR names no folder" if gone else ""
        entries = self.entries()
        usable = [entry.name for entry in entries if entry.plan]
        if len(usable) < len(entries):
            lacks += "; `triptych pipelines list` says what is wrong with others"
        near = difflib.get_close_matches(name, usable, n=3)
        return (f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(usable)}") + lacks


def files_in(folder: Path) -> dict[str, Path]:
    """Gives the files of a folder that are pipelines, by the pipeline's name; .yml too, which is then refused."""
    found: dict[str, Path] = {}
    for ending in (".yml", ".yaml"):
        found |= {path.stem: path for path in folder.glob(f"*{ending}")}
    return found


def pipelines_among(entries: Sequence[Entry]) -> list[Entry]:
    """Leaves out files that are no pipelines but a part of others, which name them: a schema in YAML."""
    parts = {path for entry in entries for path in entry.stamps if path != entry.path}
    return [entry for entry in entries if entry.plan or entry.path not in parts]
