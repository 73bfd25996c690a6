"""`triptych reason`: documents through a pipeline to a result with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triptych.cli import options
from triptych.cli.ask import ask_and_tell


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
@options.question_options
@click.pass_context
def reason(
    context: click.Context,
    /,
    *,
    pipeline: str,
    files: tuple[Path, ...],
    schema: Path | None,
    question: str,
    **how: Any,
) -> None:
    """Runs PIPELINE over FILES: extract, summarize, classify, transcript-minutes or your own.

    FILES are all that `triptych ask` takes. `triptych pipelines list` shows what there is.

    Ends with exit code 4 if the documents do not say.
    """
    schema_text = options.schema_in(schema) if schema else ""
    ask_and_tell(context, question, files, pipeline=pipeline, output_json_schema=schema_text, **how)
