"""What `triptych intake run` is given: manifests, folders and files, checked as a whole before anything is sent."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from triptych.cli.batch.entry import FIELDS, Entry, entry_of, need
from triptych.cli.batch.manifest import MAX_PROBLEMS, check_files, lines
from triptych.cli.intake.terms import Terms, said_of
from triptych.core.errors import FieldInvalid
from triptych.intake.order import Order
from triptych.intake.settling import Settling

_FIELDS = tuple(name for name in FIELDS if name != "request_id")


def order_of(name: str, file: Path, terms: Terms, *, leaves: bool = False) -> Order:
    """Gives the order for one file of which a folder only tells; `leaves` as in `Order`.

    Raises:
        FieldInvalid: The terms are wrong.
    """
    text = json.dumps(terms.of({"file": str(file)})).encode()
    return _order(name, entry_of(1, text, Path()), leaves=leaves)


def listed(paths: tuple[Path, ...], terms: Terms, *, left_out: Collection[Path] = ()) -> list[Order]:
    """Gives the orders of manifests (.jsonl, .csv), folders and files.

    Args:
        paths: Of them.
        terms: What is asked where they do not say.
        left_out: Folders that are not looked through.

    Raises:
        click.UsageError: Some are wrong; the message has the first of them.
    """
    orders: list[Order] = []
    problems: list[str] = []
    for where, name, line, folder in _lines(paths, left_out):
        try:
            fields = line if isinstance(line, dict) else json.loads(line)
            need(isinstance(fields, dict), "json", "must be an object")
            need("request_id" not in fields, "request_id", "is made of the bytes and of what is asked")
            entry = entry_of(1, json.dumps(terms.of(fields)).encode(), folder, known=_FIELDS)
            check_files(entry)
            orders.append(_order(name or entry.id or _first_file(fields), entry))
        except FieldInvalid as error:
            problems.append(f"{where}: {said_of(error)}")
        except (ValueError, RecursionError) as error:
            problems.append(f"{where}: {error}")
    if problems:
        more = f"\n... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        text = "\n".join(problems[:MAX_PROBLEMS])
        raise click.UsageError(f"{len(problems)} of {len(problems) + len(orders)} orders are wrong:\n{text}{more}")
    return orders


def _lines(
    paths: tuple[Path, ...], left_out: Collection[Path]
) -> Iterator[tuple[str, str, dict[str, Any] | bytes, Path]]:
    """Yields (where, name, fields of a line or its text, folder of its relative paths)."""
    for path in paths:
        if path.is_dir():
            for file in Settling(path, settle_s=0, recursive=True, left_out=left_out).look():
                yield str(file), str(file.relative_to(path)), {"file": str(file.resolve())}, path
        elif path.suffix.lower() == ".jsonl":
            for number, text in lines(path):
                yield f"{path}, line {number}", "", text, path.parent
        elif path.suffix.lower() == ".csv":
            # With a byte order mark or without: spreadsheets write one.
            with path.open(encoding="utf-8-sig", newline="") as text_file:
                reader = csv.DictReader(text_file)
                names = reader.fieldnames or []
                if len(names) == 1 and (other := next((mark for mark in ";\t" if mark in names[0]), None)):
                    raise click.UsageError(f"{path}: columns are parted by commas, not by {other!r}")
                for row in reader:
                    yield f"{path}, line {reader.line_num}", "", _fields(row), path.parent
        else:
            yield str(path), path.name, {"file": str(path.resolve())}, path.parent


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """A line of a table: `files` has semicolons between, `label:KEY` is a label, an empty cell says nothing."""
    fields: dict[str, Any] = {name or "more cells than columns": value for name, value in row.items() if value}
    if "files" in fields:
        fields["files"] = [name.strip() for name in fields["files"].split(";") if name.strip()]
    labels = {name.removeprefix("label:"): fields.pop(name) for name in list(fields) if str(name).startswith("label:")}
    return fields | ({"labels": labels} if labels else {})


def _first_file(fields: dict[str, Any]) -> str:
    return str((fields.get("files") or [fields.get("file", "order")])[0])


def _order(name: str, entry: Entry, *, leaves: bool = False) -> Order:
    return Order(name=name, spec=entry.spec, files=entry.files, options=entry.options, leaves=leaves)
