"""Where files go when their result is there: a folder of what is done, and one of what failed, with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from triptych.intake import durable
from triptych.intake.journal import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """The two folders."""

    done: Path
    failed: Path

    def target_of(self, arrival: Arrival, state: str) -> str:
        """Gives the place of a file whose request ended so; one that is free, and no other arrival's."""
        folder = self.done if state == "done" else self.failed
        target = folder / arrival.name
        if target.exists():
            target = _numbered(target, arrival.id)
        return str(target)


def file_away(arrival: Arrival) -> None:
    """Moves an arrival's file to its place; one that is there already, or went away, is no error.

    A file of that name with other bytes came later: it stays, and is an arrival of its own.
    """
    [content], target = arrival.contents, Path(arrival.target)
    if arrival.outcome == "failed":
        durable.write(_reason_of(target), json.dumps(arrival.facts["error"], ensure_ascii=False, indent=1).encode())
    if content.is_still_there():
        durable.move(content.path, target)


def move_back(arrival: Arrival) -> None:
    """Puts an arrival's file back where it came from; a newer one of that name stays."""
    if not arrival.target:
        return
    target, source = Path(arrival.target), arrival.contents[0].path
    if target.exists():
        if source.exists():
            source = _numbered(source, arrival.id)
        durable.move(target, source)
    _reason_of(target).unlink(missing_ok=True)


def _reason_of(target: Path) -> Path:
    return target.with_name(f"{durable.shortened(target.name, 240)}.error.json")


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{durable.shortened(path.stem, 200)}-{number}{durable.shortened(path.suffix, 30)}")
