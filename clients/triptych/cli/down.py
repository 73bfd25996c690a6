"""`triptych down`: stops the stack of this machine."""

from __future__ import annotations

from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.connection import load_settings
from triptych.cli.printing import echo_json


@click.command()
@options.state_dir_option
@options.json_option
def down(*, state_dir: Path | None, as_json: bool) -> None:
    """Stops the stack: running jobs may finish (TRIPTYCH_DRAIN_S), the others stay queued for the next start."""
    from triptych.cli.stack.launcher import stop

    settings = load_settings(state_dir)
    # Workers and services drain at once, then Redis saves; each has five seconds more than it needs.
    stopped = stop(settings.state_dir, 2 * (settings.drain_s + 10))
    if as_json:
        echo_json({"stopped": stopped, "folder": str(settings.state_dir)})
    else:
        click.echo("stopped" if stopped else f"no stack runs in {settings.state_dir}")
