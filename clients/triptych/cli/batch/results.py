"""The results of a batch, one JSON object a line: what an earlier run left there, and adding to it."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import click

from triptych.core.errors import FieldInvalid, PreconditionFailed

# How every line begins: a half-written one is known by it, and a file that is something else is left alone.
_HEAD = b'{"line": '


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What an earlier run found out about a line; `job` is empty if there never was one."""

    failed: bool
    job: str


class Results:
    """Writes results to a file, after those that are there, or to standard output.

    Args:
        path: The file; None: standard output.

    Raises:
        FieldInvalid: On entry, if the file holds something else than results.
        PreconditionFailed: On entry, if another run writes to the file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._past: dict[bytes, Past] = {}

    def __enter__(self) -> Self:
        if self._path:
            self._file = self._path.open("a+b")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._file.truncate(self._read(self._file))
            except BlockingIOError:
                self._file.close()
                raise PreconditionFailed(f"another run writes to {self._path}") from None
            except FieldInvalid:
                self._file.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def past(self, digest: str) -> Past | None:
        """Gives what an earlier run found out about the line with this digest; None if nothing is there."""
        return self._past.get(bytes.fromhex(digest))

    def add(self, facts: dict[str, Any]) -> None:
        """Writes one result, whole or, if the process is killed, in a way that the next run sees."""
        text = json.dumps(facts, ensure_ascii=False)
        if self._file is None:
            click.echo(text)
            return
        self._file.write(f"{text}\n".encode())
        self._file.flush()

    def _read(self, file: IO[bytes]) -> int:
        """Takes note of the results in a file; gives the number of bytes that are whole lines."""
        file.seek(0)
        end = 0
        for number, text in enumerate(file, 1):
            self._need(text.startswith(_HEAD[: len(text)]), number)
            if not text.endswith(b"\n"):
                break
            try:
                facts = json.loads(text)
                # The last one counts: a failed line may have been tried again.
                if facts["digest"]:
                    past = Past(failed=failed(facts), job=facts["job"])
                    self._past[bytes.fromhex(facts["digest"])] = past
            except (ValueError, KeyError, TypeError):
                self._need(False, number)
            end += len(text)
        return end

    def _need(self, holds: bool, number: int) -> None:
        if not holds:
            raise FieldInvalid("--output", f"line {number} of {self._path} is no result of this command")


def failed(facts: dict[str, Any]) -> bool:
    """Whether a line's work, or a part of it (a page, a document), failed."""
    result = facts.get("result", {})
    pages, documents = result.get("ocr", {}).get("pages", []), result.get("reasoning", {}).get("documents", [])
    return "error" in facts or any("error" in part for part in (*pages, *documents))
