"""Shows a stack: its processes as they get ready, and what people need to know of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from triptych.cli.stack.record import StackRecord


class StackDisplay:
    """Writes a line per process that gets ready or dies; on a terminal also who is still waited for.

    Args:
        plain: No spinner: the caller forks, and a spinner is a thread.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.announced = False
        self._plain = plain
        self._began_s = time.monotonic()
        self._seen: dict[str, tuple[str, int]] = {}
        self._console: Console | None = None
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if not self._plain and sys.stderr.isatty():
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, record: StackRecord) -> None:
        """Shows what changed."""
        for process in record.processes:
            now = (process.state, process.restarts)
            if self._seen.get(process.name) == now:
                continue
            self._seen[process.name] = now
            if process.state == "ready":
                self._line(f"{process.name} is ready after {time.monotonic() - self._began_s:.1f} s")
            elif process.state == "backoff":
                self._line(f"{process.name} ended with {process.exit_code}; see {process.log}")
        if self._status is not None:
            waiting = [process.name for process in record.processes if process.state != "ready"]
            ending = record.state in ("stopping", "failed")
            self._status.update("stopping" if ending else f"waiting for {_short(waiting)}")

    def _line(self, text: str) -> None:
        """Writes a line; above the spinner if there is one, or the two would share a line."""
        if self._console is not None:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            click.echo(text, err=True)


def _short(names: Sequence[str]) -> str:
    """Gives names so that they fit one line: worker-ocr, worker-vision -> worker ocr, vision."""
    workers = [name.removeprefix("worker-") for name in names if name.startswith("worker-")]
    parts = [name for name in names if not name.startswith("worker-")]
    return ", ".join(parts + ([f"worker {', '.join(workers)}"] if workers else []))


def summary(record: StackRecord, state_dir: Path) -> dict[str, Any]:
    """Gives what people need to know; the password of its Redis stays in stack.json."""
    return {
        "state": record.state,
        "services": record.target,
        "redis": record.redis_url.rpartition("@")[2],
        "folder": str(state_dir),
        "logs": str(state_dir / "logs"),
        "pid": record.supervisor_pid,
    }
