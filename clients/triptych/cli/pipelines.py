"""`triptych pipelines`: which plans of reasoning there are, and what is wrong with a file of one's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server, load_settings
from triptych.cli.failure import EPILOG, FAILED
from triptych.cli.printing import echo_json, echo_listing, enum_word

if TYPE_CHECKING:
    from triptych.v1.reasoning_service_pb2 import Pipeline

_NEEDED = ("yaml", "jsonschema", "llguidance")


@click.group(epilog=EPILOG)
def pipelines() -> None:
    """Lists the pipelines of the services, and checks files of your own."""


@pipelines.command("list", short_help="List the pipelines that requests can name.")
@options.server_options
@options.json_option
def list_pipelines(*, server: Server, as_json: bool) -> None:
    """Lists the pipelines that `triptych reason` can name, and what is wrong with those that cannot be used.

    In a pipe: name, shipped or custom, question rule, digest, description, error.
    """
    with server.connect() as client:
        found = client.pipelines()
    echo_listing(found, ("pipeline", "question", "what"), _short_row, _row, as_json=as_json)


def _short_row(pipeline: Pipeline) -> tuple[object, ...]:
    whose = "your own: " if pipeline.custom else ""
    return pipeline.name, _question(pipeline), f"{whose}{pipeline.error or pipeline.description}"


def _row(pipeline: Pipeline) -> tuple[object, ...]:
    whose = "custom" if pipeline.custom else "shipped"
    return pipeline.name, whose, _question(pipeline), pipeline.digest, pipeline.description, pipeline.error


def _question(pipeline: Pipeline) -> str:
    from triptych.v1.reasoning_service_pb2 import QuestionRule

    return "" if pipeline.error else enum_word(QuestionRule, pipeline.question)


@pipelines.command(short_help="Check a pipeline's file, or a folder of them.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@options.json_option
@click.pass_context
def check(context: click.Context, *, path: Path, as_json: bool) -> None:
    """Checks the pipeline in PATH, or all those of a folder, without services: writes file:line: reason.

    Ends with exit code 1 if something is wrong. Models are those of this machine's settings.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise click.ClickException(f"checking needs {', '.join(missing)}: pip install 'triptych[queue]'")
    from triptych.core.catalog import Catalog
    from triptych.core.pipelines.catalogue import files_in, pipelines_among, read_entry

    catalog = Catalog.load(load_settings())
    files = sorted(files_in(path).values()) if path.is_dir() else [path]
    if not files:
        raise click.UsageError(f"{path} has no file that ends in .yaml")
    entries = pipelines_among([read_entry(file, catalog) for file in files])
    if as_json:
        echo_json([
            {
                "name": entry.name,
                "file": str(entry.path),
                "digest": entry.plan.digest if entry.plan else "",
                "mistakes": [
                    {"file": str(entry.path.parent / mistake.file), "line": mistake.line, "reason": mistake.reason}
                    for mistake in entry.mistakes
                ],
            }
            for entry in entries
        ])  # fmt: skip
    else:
        for entry in entries:
            for mistake in entry.mistakes:
                click.echo(f"{entry.path.parent / mistake.file}:{mistake.line}: {mistake.reason}")
            if entry.plan:
                click.echo(f"{entry.path}: {entry.name} is right")
    if any(entry.mistakes for entry in entries):
        context.exit(FAILED)
