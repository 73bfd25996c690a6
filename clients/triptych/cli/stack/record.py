"""What a running stack says about itself: `<state_dir>/stack.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

ProcessState = Literal["waiting", "starting", "ready", "backoff", "stopping", "stopped"]
StackState = Literal["starting", "ready", "stopping", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process as it is now.

    Attributes:
        pid: 0 while it does not run.
        started_at: Unix time of its start, in seconds.
        restarts: How often it was started again after a crash.
        exit_code: Of the last time it ended, if it did; -9 means SIGKILL.
        ready: What it said about itself when it got ready (address, models, ...).
    """

    name: str
    state: ProcessState
    log: str
    pid: int = 0
    started_at: float = 0.0
    restarts: int = 0
    exit_code: int | None = None
    ready: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecord:
    """One stack as it is now.

    Attributes:
        target: Address of the services; empty until they listen.
        redis_url: With its password, if the stack runs its own.
        reason: Why it failed.
    """

    supervisor_pid: int
    state: StackState
    processes: tuple[ProcessRecord, ...] = ()
    target: str = ""
    redis_url: str = ""
    reason: str = ""

    @staticmethod
    def path(state_dir: Path) -> Path:
        """Gives the file's place."""
        return state_dir / "stack.json"

    def write(self, state_dir: Path) -> None:
        """Replaces the file at once, readable by its owner only."""
        draft = state_dir / f"stack.json.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        draft.replace(self.path(state_dir))

    @classmethod
    def read(cls, state_dir: Path) -> StackRecord | None:
        """Reads the file; None if there is none, or if it is another version's."""
        try:
            data = json.loads(cls.path(state_dir).read_text(encoding="utf-8"))
            data["processes"] = tuple(ProcessRecord(**entry) for entry in data["processes"])
            return cls(**data)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
