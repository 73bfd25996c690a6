"""The folder of results: a file of JSON for each request, and a line for each file that came."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych.core.errors import FieldInvalid, PreconditionFailed
from triptych.intake import durable
from triptych.intake.essence import cells, essence
from triptych.intake.journal import Journal
from triptych.intake.table import Table

# How every line begins: a half-written one is known by it, and a file that is something else is left alone.
_HEAD = b'{"line": '
_UNSAFE = re.compile(r"[^\w.+-]+")


class Results:
    """Writes results, none twice: what the journal has beyond what is there is added when this begins.

    Args:
        folder: Where they go.
        journal: What is known.
        with_table: Whether to write results.csv too.

    Raises:
        FieldInvalid: results.jsonl holds something else than results.
        PreconditionFailed: It holds results that are not this journal's.
    """

    def __init__(self, folder: Path, journal: Journal, *, with_table: bool = False) -> None:
        self._folder = folder
        self._journal = journal
        self._path = folder / "results.jsonl"
        self._last = self._mend()
        if self._last > journal.last_line():
            raise PreconditionFailed(
                f"{self._path} has lines of which the journal does not know",
                metadata={"hint": "say --state as before, or take another folder for --out"},
            )
        self._file = self._path.open("ab")
        self._table: Table | None = None
        try:
            self.catch_up()
            if with_table:
                self._table = Table(folder / "results.csv", self._rows())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file of lines."""
        self._file.close()

    def write(self, name: str, key: str, facts: dict[str, Any]) -> str:
        """Writes the result of a request and gives the name of its file; it is on the disk when this returns.

        Args:
            name: Of the first file that brought the request.
            key: Of the request.
            facts: What is written.
        """
        file = f"{durable.shortened(_UNSAFE.sub('_', name).lstrip('.'), 200)}-{key[:12]}.json"
        durable.write(self._folder / file, json.dumps(facts, ensure_ascii=False, indent=1).encode())
        return file

    def catch_up(self) -> None:
        """Writes the lines that the journal has beyond the last one that is written."""
        for facts in self._journal.lines_after(self._last):
            line = self._whole(facts)
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._last = line["line"]
            if self._table:
                self._table.add(cells(line), self._rows())

    def _whole(self, facts: dict[str, Any]) -> dict[str, Any]:
        """A line with the answer, which the file of the request has."""
        if not facts["result"]:
            return facts
        try:
            held = json.loads((self._folder / facts["result"]).read_bytes())
        except FileNotFoundError:
            return facts  # somebody took it away
        return facts | {"answer": essence(held["result"])}

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            for text in file:
                yield cells(json.loads(text))

    def _mend(self) -> int:
        """Cuts off half a line at the end; gives the number of the last one that is whole, or 0."""
        self._path.touch()
        end = last = 0
        with self._path.open("r+b") as file:
            for text in file:
                if not text.startswith(_HEAD[: len(text)]):
                    raise FieldInvalid("--out", f"{self._path} is none of this command's files")
                if not text.endswith(b"\n"):
                    break
                last = int(json.loads(text)["line"])
                end += len(text)
            file.truncate(end)
        return last
