"""Shows what an intake does: a line that moves on a terminal, a line per file in a log, or JSON for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from triptych.intake.event import Counts, Event

_SHOWN = {"done": "done", "failed": "failed", "put_back": "not now", "gone": "gone"}


class IntakeDisplay:
    """Shows events.

    Args:
        total: Orders in all; None: nobody knows.
        as_json: Whether every event is a line of JSON on standard output, and nothing else is shown.
    """

    def __init__(self, total: int | None, *, as_json: bool) -> None:
        self._total = total
        self._as_json = as_json
        self._waits_for = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self.counts: Counts | None = None

    def __enter__(self) -> Self:
        if not self._as_json and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
            self._task = self._bar.add_task("looking", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: Event) -> None:
        """Shows one event."""
        # A name may have bytes that are no text.
        event = replace(event, name=event.name.encode(errors="backslashreplace").decode())
        if self._as_json:
            facts = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event.what}
            told = {"name": event.name, "reason": event.reason, **event.facts}
            click.echo(json.dumps(facts | {key: value for key, value in told.items() if value}, ensure_ascii=False))
            return
        if event.what == "waiting":
            # Said once, not each time that it is tried in vain.
            if event.reason != self._waits_for:
                self._line(f"waiting: {event.reason}")
            self._waits_for = event.reason
        elif event.what in {"submitted", "done", "failed"}:
            self._waits_for = ""
        if event.what in _SHOWN and not (self._bar and event.what == "done"):
            copy_of = f", the same as {event.facts['duplicate_of']}" if event.facts.get("duplicate_of") else ""
            self._line(f"{_SHOWN[event.what]}: {event.name}{copy_of}{': ' if event.reason else ''}{event.reason}")
        if self._bar is not None and self._task is not None and self.counts:
            ended = self.counts.done + self.counts.failed + self.counts.earlier
            self._bar.update(self._task, completed=ended, description=summary(self.counts))

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            click.echo(text, err=True)


def summary(counts: Counts) -> str:
    """Gives the numbers for people."""
    parts = [f"{counts.done} done"]
    for number, what in (
        (counts.failed, "failed"),
        (counts.duplicates, "duplicates among them"),
        (counts.earlier, "by an earlier run"),
        (counts.in_flight, "under way"),
    ):
        if number:
            parts.append(f"{number} {what}")
    return ", ".join(parts)
