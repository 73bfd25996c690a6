"""Shows how far a job is: a bar on a terminal, a line per stage in a pipe; both on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

import click

from triptych.cli.printing import stage_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from triptych.v1.job_pb2 import JobEvent, JobProgress


class JobDisplay:
    """Shows the events of one job.

    Args:
        quiet: Shows nothing: the caller wants JSON only.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stage = ""
        self._attempt = 1
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
            self._task = self._bar.add_task("sending", total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: JobEvent) -> None:
        """Shows one event."""
        from triptych.v1.job_pb2 import JobProgress, JobState

        if self._quiet:
            return
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            self._line(f"a worker was lost; attempt {event.attempt}")
        if event.HasField("progress"):
            self._progress(event.progress)
        elif event.HasField("job") and not self._stage and event.job.state == JobState.JOB_STATE_PENDING:
            # Events of a job that are sent again carry its newest progress: only what is said once is shown.
            self._progress(JobProgress(stage="queued"))

    def say(self, text: str) -> None:
        """Writes a part of the result to standard output, above the bar."""
        if self._bar is None:
            click.echo(text)
            return
        # The bar takes standard output for itself while it is drawn.
        self._bar.stop()
        click.echo(text)
        self._bar.start()

    def _progress(self, progress: JobProgress) -> None:
        counts = f" {progress.completed_unit_count}/{progress.total_unit_count}" if progress.total_unit_count else ""
        if self._bar is not None and self._task is not None:
            known = progress.HasField("percent")
            self._bar.update(
                self._task,
                description=f"{stage_of(progress)}{counts}",
                total=100 if known else None,
                completed=progress.percent if known else 0,
            )
        elif progress.stage != self._stage:
            self._line(progress.stage)
        self._stage = progress.stage

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text)
        elif text:
            click.echo(text, err=True)
