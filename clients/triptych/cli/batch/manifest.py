"""A manifest: a file with one job a line, checked as a whole before anything is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from triptych.cli.batch.entry import Entry, entry_of, need
from triptych.client.inputs import LocalInput
from triptych.core.errors import FieldInvalid

MAX_PROBLEMS = 20


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (number, text) of every line that is not blank."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, text


def check(path: Path) -> int:
    """Reads every line, looks for its files, and gives the number of lines.

    Raises:
        click.UsageError: Some lines are wrong; the message has the first of them.
    """
    problems: list[str] = []
    count = wrong = 0
    first_lines: dict[bytes, int] = {}
    for number, text in lines(path):
        count += 1
        try:
            entry = entry_of(number, text, path.parent)
            check_files(entry)
            _check_single(entry, first_lines)
        except FieldInvalid as error:
            wrong += 1
            if len(problems) < MAX_PROBLEMS:
                problems.append(f"line {number}: {error.message}")
    if wrong:
        more = f"\n... and {wrong - len(problems)} more" if wrong > len(problems) else ""
        raise click.UsageError(f"{wrong} of {count} lines of {path} are wrong:\n" + "\n".join(problems) + more)
    return count


def check_files(entry: Entry) -> None:
    """Asks that a line's files can be read.

    Raises:
        FieldInvalid: One cannot.
    """
    for path in entry.files:
        LocalInput.of(path)
        need(os.access(path, os.R_OK), "input", f"{path} cannot be read")


def _check_single(entry: Entry, first_lines: dict[bytes, int]) -> None:
    """Asks that no earlier line is the same: a line is one job and one result."""

    def first_with(value: str) -> int:
        # Of many lines only as much is kept as tells them apart.
        return first_lines.setdefault(hashlib.sha256(value.encode()).digest()[:16], entry.line)

    for name, value in (("id", entry.id), ("request_id", entry.request_id)):
        if value:
            first = first_with(f"{name} {value}")
            need(first == entry.line, name, f"is that of line {first} too")
    if not entry.id:
        first = first_with(entry.content.decode())
        need(first == entry.line, "id", f"is missing: without one the line is the same as line {first}")
