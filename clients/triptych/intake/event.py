"""What happens in an intake, told to whoever shows, logs or counts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

What = Literal["seen", "submitted", "done", "failed", "earlier", "waiting", "put_back", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        what: "seen": a file came; "submitted": its job was begun or joined; "done" and "failed": its result is there;
            "earlier": an earlier run has its result; "waiting": nothing can go on, for `reason`; "put_back": the file
            cannot be read now and is looked at again; "gone": it went away before it was read.
        name: Of the order; empty if all of them wait.
        reason: Why, for people.
        facts: For programs.
    """

    what: What
    name: str = ""
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


Tell = Callable[[Event], None]


@dataclass(slots=True)
class Counts:
    """Counts events since the process began.

    Attributes:
        done: Results, duplicates with them.
        earlier: Orders of which an earlier run had the result, `earlier_failed` of them a bad one.
        in_flight: Jobs that were begun and have not ended.
    """

    seen: int = 0
    submitted: int = 0
    done: int = 0
    failed: int = 0
    duplicates: int = 0
    earlier: int = 0
    earlier_failed: int = 0
    put_back: int = 0
    gone: int = 0
    read_bytes: int = 0
    in_flight: int = 0

    def heed(self, event: Event) -> None:
        """Counts one event."""
        if event.what == "waiting":
            return
        setattr(self, event.what, getattr(self, event.what) + 1)
        if event.what == "seen":
            self.read_bytes += event.facts["size_bytes"]
        elif event.what in {"done", "failed"}:
            self.duplicates += bool(event.facts["duplicate_of"])
        elif event.what == "earlier":
            self.earlier_failed += event.facts["state"] == "failed"
