"""Which processes make up a stack: their commands, their settings, and who waits for whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process to keep alive.

    Attributes:
        name: Unique in the stack; also the name of its log file.
        command: Program and arguments.
        env: Variables on top of the supervisor's own.
        after: Processes that must be ready before this one starts, and that stop after it.
        ready_url: Redis URL that answers PING once the process is ready; empty: it writes the file named by
            `TRIPTYCH_READY_FILE`, JSON with its own `pid`.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    ready_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A stack to run.

    Attributes:
        state_dir: Its folder; one folder is one stack.
        processes: What to run.
        drain_s: Time a process has between SIGTERM and SIGKILL, in seconds.
        redis_url: What is written to the record for people.
    """

    state_dir: Path
    processes: tuple[ProcessSpec, ...]
    drain_s: float = 25
    redis_url: str = ""

    def to_json(self) -> str:
        """Gives the plan as text, for the pipe to the supervisor (it holds a password: not for a file)."""
        return json.dumps(asdict(self) | {"state_dir": str(self.state_dir)})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        processes = tuple(
            ProcessSpec(**(entry | {"command": tuple(entry["command"]), "after": tuple(entry["after"])}))
            for entry in data.pop("processes")
        )
        return cls(**(data | {"state_dir": Path(data["state_dir"]), "processes": processes}))
