"""`triptych doctor`: checks whether this machine can run a stack."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.connection import load_settings
from triptych.cli.failure import FAILED
from triptych.cli.printing import echo_json

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@options.state_dir_option
@options.json_option
@click.pass_context
def doctor(context: click.Context, *, state_dir: Path | None, as_json: bool) -> None:
    """Looks at Python, extras, weights, Redis, ports, disk, memory and GPU; exit code 1 if something must be mended."""
    from triptych.cli.checks import all_checks

    checks = list(all_checks(load_settings(state_dir)))
    if as_json:
        echo_json([asdict(check) for check in checks])
    else:
        for check in checks:
            click.echo(f"{click.style(f'{check.level:<4}', fg=_COLOURS[check.level])}  {check.name}: {check.message}")
            if check.hint:
                click.echo(f"      {check.hint}")
    if any(check.level == "fail" for check in checks):
        context.exit(FAILED)
