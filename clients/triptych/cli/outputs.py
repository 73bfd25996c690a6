"""Files that a result is written to, in the format that their names or an option say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
FormatT = TypeVar("FormatT")


def output_options(names: Sequence[str], endings: str, *, instead_of: str) -> Callable[[CommandT], CommandT]:
    """Adds --format and --output: the command's arguments `format_name` and `outputs`.

    Args:
        names: Of formats.
        endings: Of files, for the help.
        instead_of: What the command writes without them.
    """
    format_option = click.option(
        "--format", "format_name", type=click.Choice(names), help=f"Write this, not {instead_of}."
    )
    output_option = click.option(
        "--output", "outputs", type=click.Path(dir_okay=False, writable=True, path_type=Path), multiple=True,
        metavar="FILE",
        help=f"Write into this file, as it ends ({endings}) or --format says; may be repeated.",
    )  # fmt: skip
    return lambda command: format_option(output_option(command))


def format_of(path: Path, formats: Mapping[str, FormatT]) -> FormatT:
    """Gives the format that a file's name ends with.

    Args:
        path: Of the file.
        formats: By ending, without the dot.

    Raises:
        click.BadParameter: It is none.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        known = ", ".join(f".{suffix}" for suffix in formats)
        raise click.BadParameter(f"{path} ends with none of {known}; or say --format", param_hint="--output")
    return formats[suffix]


def checked(outputs: tuple[Path, ...], file: Path, use: str) -> tuple[Path, ...]:
    """Gives the files to be written, before anything is sent.

    Args:
        outputs: Their paths.
        file: What is sent.
        use: What for: "heard" or "read".

    Raises:
        click.BadParameter: There is no such folder, or a file is the one that is sent.
    """
    for path in outputs:
        if not path.parent.is_dir():
            raise click.BadParameter(f"there is no folder {path.parent}", param_hint="--output")
        if path.exists() and path.samefile(file):
            raise click.BadParameter(f"{path} is what is to be {use}", param_hint="--output")
    return outputs
