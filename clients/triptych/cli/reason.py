"""`triptych reason`: documents through a pipeline to a result with evidence."""

from __future__ import annotations

from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.ask import answer, show
from triptych.cli.connection import Server
from triptych.cli.failure import NOT_FOUND
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet


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
    data_class: str | None,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Runs PIPELINE over FILES (PDFs, images, audio): extract, summarize, classify, transcript-minutes or your own.

    `triptych pipelines list` shows what there is. Ends with exit code 4 if the documents do not say.
    """
    from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningConfig

    config = ReasoningConfig(min_confidence=min_confidence)
    config.generation.model = model
    if language:
        config.ocr.language_codes.append(language)
        config.transcription.language_code = language
    schema_text = options.schema_in(schema) if schema else ""
    with server.connect() as client:
        job, result = answer(
            client,
            question,
            files,
            config,
            pages=pages,
            password=password,
            timeout_s=timeout_s,
            quietly=quiet(as_json),
            data_class=data_class,
            pipeline=pipeline,
            output_json_schema=schema_text,
        )
    if as_json:
        echo_json({"job": job.name, **as_dict(result)})
    else:
        show(result, files)
    if result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND:
        context.exit(NOT_FOUND)
