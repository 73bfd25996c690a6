"""Results as a CSV file, whose columns grow with what is found."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from triptych.intake import durable

# A spreadsheet takes text that begins so for a formula, and documents come from anybody.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*\Z")


class Table:
    """A CSV file with a heading; it is written anew when the first row with a further column comes.

    Args:
        path: Of the file.
        rows: Those there are, when it is opened.
    """

    def __init__(self, path: Path, rows: Iterable[dict[str, Any]]) -> None:
        self._path = path
        self._columns: dict[str, None] = {}
        self._write(list(rows))

    def add(self, row: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
        """Adds a row.

        Args:
            row: The new one.
            rows: All there are with it; read only if it has a column that the file has not.
        """
        if not row.keys() <= self._columns.keys():
            self._write(list(rows))
            return
        # Not waited for until it is on the disk: when it is opened next, it is written from what there is.
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._text([row]))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._columns |= dict.fromkeys(row)
        durable.write(
            self._path, (self._text([dict(zip(self._columns, self._columns, strict=True))]) + self._text(rows)).encode()
        )

    def _text(self, rows: list[dict[str, Any]]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerows([_cell(row.get(column)) for column in self._columns] for row in rows)
        return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.match(value):
        return f"'{value}"
    return value
