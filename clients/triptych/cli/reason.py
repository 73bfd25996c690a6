"""`triptych reason`: documents through a pipeline to a result with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triptych.cli import options
from triptych.cli.ask import ask_and_tell, config_of
from triptych.cli.connection import Server


@click.command()
@click.argument("pipeline")
@click.argument("files", type=options.file_type, nargs=-1, required=True)
@click.option("--question", default="", metavar="TEXT", help="What to look for, if the pipeline takes that.")
@click.option(
    "--schema",
    type=options.file_type,
    help="File with a JSON Schema of what to extract; default: the pipeline's.",
)
@click.option(
    "--min-confidence", type=click.FloatRange(0, 1), metavar="0-1",
    help="Do not tell what is less sure; default: the pipeline's.",
)  # fmt: skip
@options.pages_option
@options.password_option
@options.model_option
@options.language_option
@options.allow_partial_option
@options.render_option
@options.data_class_option
@options.timeout_option
@options.server_options
@options.json_option
@click.pass_context
def reason(
    context: click.Context,
    *,
    pipeline: str,
    files: tuple[Path, ...],
    question: str,
    schema: Path | None,
    min_confidence: float | None,
    pages: str,
    password: str,
    model: str,
    language: str,
    allow_partial: bool,
    render: Path | None,
    data_class: str | None,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Runs PIPELINE over FILES: extract, summarize, classify, transcript-minutes or your own.

    FILES are all that `triptych ask` takes. `triptych pipelines list` shows what there is.

    Ends with exit code 4 if the documents do not say.
    """
    config = config_of(model=model, language=language, allow_partial=allow_partial, min_confidence=min_confidence)
    how: dict[str, Any] = {"pages": pages, "password": password, "timeout_s": timeout_s, "data_class": data_class}
    what = {"pipeline": pipeline, "output_json_schema": options.schema_in(schema) if schema else ""}
    ask_and_tell(context, server, question, files, config, render=render, as_json=as_json, **what, **how)
