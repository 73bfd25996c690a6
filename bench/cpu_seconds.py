"""What work costs in CPU seconds, counted per process with its children."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one way of doing it gave, and took.

    Attributes:
        texts: One an input.
        cpu_s: CPU seconds of what does it, children counted in.
        around_s: CPU seconds of what is needed around it.
        wall_s: From the first input's beginning to the last one's end.
    """

    texts: Sequence[str]
    cpu_s: float
    around_s: float
    wall_s: float

    def __add__(self, other: "Run") -> "Run":
        """Gives both, one after the other."""
        return Run(
            texts=[*self.texts, *other.texts],
            cpu_s=self.cpu_s + other.cpu_s,
            around_s=self.around_s + other.around_s,
            wall_s=self.wall_s + other.wall_s,
        )


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children, and of those that it had and that have ended."""
    process = Path(f"/proc/{pid}")
    # After the name in parentheses: the 12th to 15th field are ticks, of its own and of children that have ended.
    ticks = process.joinpath("stat").read_text().rpartition(")")[2].split()[11:15]
    tasks = process.joinpath("task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_s, children))


def measured(work: Callable[[], Sequence[str]], pid: int, around: Sequence[int] = ()) -> Run:
    """Has work done by one process, with others around it."""

    def clock() -> tuple[float, float, float]:
        return cpu_s(pid), sum(map(cpu_s, around)), time.monotonic()

    began = clock()
    texts = work()
    took = [end - start for start, end in zip(began, clock(), strict=True)]
    return Run(texts=texts, cpu_s=took[0], around_s=took[1], wall_s=took[2])
