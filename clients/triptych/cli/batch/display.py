"""Shows how far a batch is: a bar on a terminal, a line now and then in a pipe; both on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Lines of progress that a pipe gets in all.
_REPORTS = 20


class BatchDisplay:
    """Counts the lines of a batch that are done, and shows it.

    Args:
        line_count: Lines in all.
        quiet: Shows nothing, only counts: the caller wants JSON only.
    """

    def __init__(self, line_count: int, *, quiet: bool = False) -> None:
        self.line_count = line_count
        self.succeeded_count = 0
        self.failed_count = 0
        self.skipped_count = 0
        self._quiet = quiet
        self._waits_for = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @property
    def done_count(self) -> int:
        """Lines that have their result."""
        return self.succeeded_count + self.failed_count

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
            self._task = self._bar.add_task("lines", total=self.line_count)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def done(self, *, failed: bool, skipped: bool = False) -> None:
        """Takes note of a line that has its result, if `skipped` from an earlier run."""
        self.failed_count += failed
        self.succeeded_count += not failed
        self.skipped_count += skipped
        self._waits_for = ""
        failures = f", {self.failed_count} failed" if self.failed_count else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done_count, description=f"lines{failures}")
        elif self.done_count % max(1, self.line_count // _REPORTS) == 0:
            self._line(f"{self.done_count}/{self.line_count} lines{failures}")

    def waiting(self, reason: str) -> None:
        """Says once why nothing moves."""
        if reason != self._waits_for:
            self._waits_for = reason
            self._line(f"waiting: {reason}")

    def counts(self) -> dict[str, int]:
        """Gives the numbers for programs."""
        return {
            "line_count": self.line_count,
            "succeeded_count": self.succeeded_count,
            "failed_count": self.failed_count,
            "skipped_count": self.skipped_count,
        }

    def summary(self) -> str:
        """Gives the numbers for people."""
        earlier = f", {self.skipped_count} of them by an earlier run" if self.skipped_count else ""
        return (
            f"{self.done_count} of {self.line_count} lines done{earlier}: "
            f"{self.succeeded_count} succeeded, {self.failed_count} failed"
        )

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text)
        elif not self._quiet:
            click.echo(text, err=True)
