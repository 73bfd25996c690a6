"""All that the job store ever did, read from Redis' append-only file: nobody's memory, and complete."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from triptych.core.records import TERMINAL
from triptych.core.store import PREFIX

_JOB, _PARTS = f"{PREFIX}job:".encode(), f"{PREFIX}parts:".encode()
_TERMINAL = frozenset(str(int(state)).encode() for state in TERMINAL)


@dataclass(frozen=True, slots=True)
class Ledger:
    """How often things were written.

    Attributes:
        created: Job id -> records begun.
        ends: Job id -> terminal states written.
        units: (job id, unit) -> attempts that finished it. One repeats itself where an answer was lost on the way.
    """

    created: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    units: defaultdict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    _attempts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, folder: Path) -> "Ledger":
        """Reads the files of a server that never rewrote them."""
        ledger = cls()
        for path in sorted(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3])):
            for command in _commands(path.read_bytes()):
                ledger._note(*command)
        return ledger

    def _note(self, name: bytes, key: bytes = b"", *rest: bytes) -> None:
        job_id = key.rsplit(b":", 1)[-1].decode()
        if key.startswith(_JOB) and name.upper() == b"HINCRBY":
            self._attempts[job_id] += rest[0] == b"attempt"
        elif key.startswith(_JOB) and name.upper() == b"HSET":
            fields = dict(zip(rest[::2], rest[1::2], strict=True))
            self.created[job_id] += b"tenant" in fields
            self.ends[job_id] += fields.get(b"state") in _TERMINAL
        elif key.startswith(_PARTS) and name.upper() == b"HSET":
            for unit in rest[::2]:
                self.units[job_id, unit.decode()].add(self._attempts[job_id])


def _commands(data: bytes) -> Iterator[list[bytes]]:
    """Yields the commands of a file; a last one that a kill cut off is none."""
    at = 0

    def line() -> bytes:
        nonlocal at
        end = data.index(b"\r\n", at)
        found, at = data[at:end], end + 2
        return found

    while at < len(data):
        try:
            command = []
            for _ in range(int(line()[1:])):
                size = int(line()[1:])
                command.append(data[at : at + size])
                at += size + 2
        except ValueError:
            return
        if at <= len(data):
            yield command
