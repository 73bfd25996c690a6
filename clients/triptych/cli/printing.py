"""What results look like: JSON for programs, lines for people and pipes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from triptych.v1.job_pb2 import JobProgress

MessageT = TypeVar("MessageT", bound="Message")


def as_dict(message: Message) -> dict[str, Any]:
    """Gives a message of the contract in protobuf's JSON mapping, with the contract's own field names."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def echo_json(value: Any, *, one_line: bool = False) -> None:
    """Writes one JSON value."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if one_line else 2))


def echo_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Writes a table on a terminal; in a pipe, lines with tabs and no heading."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(str(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for number, column in enumerate(columns):
        # What comes first is what people copy: it is never cut.
        table.add_column(column, no_wrap=number == 0, overflow="fold" if number == 0 else "ellipsis")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def echo_listing(
    found: Sequence[MessageT],
    columns: Sequence[str],
    short_row: Callable[[MessageT], Sequence[object]],
    row: Callable[[MessageT], Sequence[object]],
    *,
    as_json: bool,
) -> None:
    """Writes messages: as JSON, as a table for people, or in a pipe as lines with all there is.

    Args:
        found: What to write.
        columns: Of the table for people.
        short_row: Gives its rows.
        row: Gives the lines in a pipe.
        as_json: Whether to write JSON.
    """
    if as_json:
        echo_json([as_dict(message) for message in found])
    else:
        cells = short_row if sys.stdout.isatty() else row
        echo_table(columns, [cells(message) for message in found])


def stage_of(progress: JobProgress) -> str:
    """Gives the stage of a job, of one that waits with its place: queued, 3 ahead."""
    if not progress.HasField("queue_position"):
        return progress.stage
    return f"{progress.stage}, {progress.queue_position} ahead"


def clock(ms: int) -> str:
    """Gives a position in audio as mm:ss.ms."""
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def age(seconds: float) -> str:
    """Gives a duration as one number: 12 s, 3 min, 2 h, 4 d."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def enum_word(enum: Any, value: int) -> str:
    """Gives an enum value as one word: JOB_STATE_RUNNING -> running."""
    prefix = enum.DESCRIPTOR.name
    name = enum.Name(value) if value in enum.values() else str(value)
    snake = "".join(f"_{letter}" if letter.isupper() else letter for letter in prefix).strip("_").upper()
    return str(name).removeprefix(f"{snake}_").lower()
