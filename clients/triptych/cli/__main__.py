"""The `triptych` command."""

from __future__ import annotations

import importlib
from typing import Any

import click

from triptych.cli.failure import EPILOG, INTERRUPTED, end_with, end_with_usage

# Name -> where it is and what it does. Said here so that `--help` need not import them.
COMMANDS = {
    "ask": ("triptych.cli.ask:ask", "Answer a question from documents, with evidence."),
    "reason": ("triptych.cli.reason:reason", "Run a pipeline: extract, summarize, classify, minutes, yours."),
    "transcribe": ("triptych.cli.transcribe:transcribe", "Speech to text."),
    "live": ("triptych.cli.live:live", "Speech to text while it is spoken."),
    "ocr": ("triptych.cli.ocr:ocr", "Text of a PDF or an image."),
    "see": ("triptych.cli.see:see", "What a model says about an image."),
    "submit": ("triptych.cli.submit:submit", "Many jobs from a manifest, results as they come."),
    "intake": ("triptych.cli.intake.group:intake", "Files from a folder or a mailbox, each exactly one result."),
    "jobs": ("triptych.cli.jobs:jobs", "List, show, watch and cancel jobs; dead letters."),
    "webhooks": ("triptych.cli.webhooks:webhooks", "List, replay and drop messages to webhooks."),
    "ledger": ("triptych.cli.ledger:ledger", "List what left to models outside, and the budget."),
    "purge": ("triptych.cli.purge:purge", "Remove a document with all that comes of it."),
    "pipelines": ("triptych.cli.pipelines:pipelines", "List pipelines, and check files of your own."),
    "models": ("triptych.cli.models:models", "List, pull and verify models."),
    "up": ("triptych.cli.up:up", "Start a stack on this machine."),
    "down": ("triptych.cli.down:down", "Stop it."),
    "status": ("triptych.cli.status:status", "Show its processes and queues."),
    "demo": ("triptych.cli.demo:demo", "Two questions, answered and checked."),
    "doctor": ("triptych.cli.doctor:doctor", "Check whether this machine can run it."),
}


class Commands(click.Group):
    """Imports a command when it is used, and ends every failure the same way."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Gives the names in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the list for `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; what it raises becomes one sentence, a hint and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except click.UsageError as error:
            end_with_usage(ctx, error)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            from triptych.core.errors import PreconditionFailed

            what = f"{error.filename}: " if error.filename else ""
            end_with(ctx, PreconditionFailed(f"{what}{error.strerror or error}"))
        except Exception as error:
            from triptych.core.errors import TriptychError

            if isinstance(error, TriptychError):
                end_with(ctx, error)
            raise


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"triptych {version('triptych')}")
        except PackageNotFoundError:
            click.echo("triptych, not installed")
        context.exit()


@click.command(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """Reads, hears and sees documents, and answers questions about them with evidence."""


def main() -> None:
    """Runs the command line."""
    cli(prog_name="triptych")


if __name__ == "__main__":
    main()
