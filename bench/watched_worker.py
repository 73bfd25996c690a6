"""A stack of real processes of which one worker is watched: how much it and its children hold and compute."""

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self


@contextmanager
def stack(folder: Path, kind: str) -> Iterator[tuple[str, int]]:
    """Gives the address of `triptych up` in a folder of its own, and the process of its worker of a kind."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = os.environ | {"TRIPTYCH_STATE_DIR": str(folder), "PYTHONPATH": path}

    def run(command: str, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "triptych.cli", command, *arguments], env=env, check=True)

    try:
        run("up", "--no-pull")
        record = json.loads((folder / "stack.json").read_text("utf-8"))
        (pid,) = (one["pid"] for one in record["processes"] if one["name"].startswith(f"worker-{kind}"))
        yield record["target"], pid
    finally:
        run("down")


def tree(pid: int) -> Iterator[Path]:
    """Yields the folders in /proc of a process and its children."""
    yield Path(f"/proc/{pid}")
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text("utf-8").split():
            yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """Gives the CPU seconds of a process and its children, those that have ended too."""
    ticks = 0
    with suppress(OSError):  # a child may end right now
        for folder in tree(pid):
            # After the name in parentheses: the 12th to 15th field are ticks in user and in system mode, and those of
            # children that have ended.
            stat = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            ticks += sum(map(int, stat[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Memory:
    """Watches how much a process and its children hold; a context manager."""

    def __init__(self, pid: int) -> None:
        self.samples: list[int] = []
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.before_bytes = held_bytes(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak_bytes(self) -> int:
        """The most that was held."""
        return max(self.samples, default=self.before_bytes)

    def growth(self) -> float:
        """Gives the median of the last third of the samples as a part of that of the first."""
        third = len(self.samples) // 3
        return statistics.median(self.samples[-third:]) / statistics.median(self.samples[:third])

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.samples.append(held_bytes(self._pid))


def held_bytes(pid: int) -> int:
    """Gives the proportional set size of a process and its children; one that has just ended holds nothing."""
    held = 0
    with suppress(OSError):
        for folder in tree(pid):
            lines = (folder / "smaps_rollup").read_text("utf-8").splitlines()
            held += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return held
