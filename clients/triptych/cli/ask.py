"""`triptych ask`: a question over documents to an answer with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import evidence, options
from triptych.cli.connection import Server
from triptych.cli.failure import NOT_FOUND
from triptych.cli.printing import as_dict, echo_json, enum_word
from triptych.cli.run import quiet, run_job

if TYPE_CHECKING:
    from triptych.client import Client
    from triptych.v1.job_pb2 import Job
    from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningResult


@click.command()
@click.argument("question")
@click.argument("files", type=options.file_type, nargs=-1, required=True)
@options.question_options
@click.pass_context
def ask(
    context: click.Context,
    /,
    *,
    question: str,
    files: tuple[Path, ...],
    **how: Any,
) -> None:
    """Answers QUESTION from FILES and shows where the answer stands.

    FILES are PDFs, images, audio, video (what is said and what is shown), Word, Excel and PowerPoint files, web pages,
    messages (.eml) with what is attached, texts and .zip archives of all these.

    Ends with exit code 4 if the documents do not say.
    """
    ask_and_tell(context, question, files, **how)


def ask_and_tell(
    context: click.Context,
    question: str,
    files: tuple[Path, ...],
    *,
    server: Server,
    model: str,
    language: str,
    allow_partial: bool,
    render: Path | None,
    as_json: bool,
    password: str,
    min_confidence: float | None = None,
    **how: Any,
) -> None:
    """Asks, tells the answer and writes its report; ends with exit code 4 if the documents do not say.

    The keywords are those of `options.question_options`, and what `answer` takes.
    """
    from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningConfig

    config = ReasoningConfig(min_confidence=min_confidence, allow_partial_documents=allow_partial)
    config.generation.model = model
    if language:
        config.ocr.language_codes.append(language)
        config.transcription.language_code = language
    if render:
        from triptych.cli.report.documents import require
        from triptych.cli.report.folder import is_free

        if not is_free(render):
            raise click.BadParameter(f"{render / 'index.html'} is no report of ours", param_hint="--render")
        require(files)
    with server.connect() as client:
        job, result = answer(client, question, files, config, password=password, quietly=quiet(as_json), **how)
    report = write(render, question or result.pipeline.name, result, files, password) if render else None
    if as_json:
        echo_json({"job": job.name, **as_dict(result), **({"report": str(report)} if report else {})})
    else:
        show(result, files)
        if report:
            click.echo(f"report: {report}")
    if result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND:
        context.exit(NOT_FOUND)


def answer(
    client: Client,
    question: str,
    files: tuple[Path, ...],
    config: ReasoningConfig | None = None,
    *,
    pages: str = "",
    password: str = "",
    timeout_s: float,
    quietly: bool,
    data_class: str | None = None,
    pipeline: str = "",
    output_json_schema: str = "",
) -> tuple[Job, ReasoningResult]:
    """Asks one question; documents are "d1", "d2", ... in the order of the files."""
    from triptych.client import specs
    from triptych.core.errors import StageFailed

    ranges = options.page_ranges(pages)
    documents = client.sources(files, password=password)
    spec = specs.reasoning(
        question, documents, config, pages=ranges, pipeline=pipeline, output_json_schema=output_json_schema
    )
    try:
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quietly, data_class=data_class)
    except StageFailed as error:
        # People know their files, not the ids that they got on the way.
        for document, file in by_document(files).items():
            error.message = error.message.replace(f"document '{document}'", f"'{file.name}'")
        raise
    return job, outcome.reasoning


def by_document(files: tuple[Path, ...]) -> dict[str, Path]:
    """Gives the file of each document id."""
    return {f"d{number}": file for number, file in enumerate(files, 1)}


def names_of(result: ReasoningResult, files: tuple[Path, ...]) -> dict[str, str]:
    """Gives the name of each document id, also of those that were in a file: "mail.eml: scan.pdf"."""
    names = {document: file.name for document, file in by_document(files).items()}
    for report in result.documents:
        if report.parent_document_id:
            parent = names.get(report.parent_document_id, report.parent_document_id)
            names[report.document_id] = f"{parent}: {report.path}"
    return names


def show(result: ReasoningResult, files: tuple[Path, ...]) -> None:
    """Writes the answer, its status and its evidence."""
    from triptych.v1.reasoning_pb2 import AnswerStatus

    click.secho(result.answer.output_json or result.answer.text, bold=True)
    status = enum_word(AnswerStatus, result.answer.status).replace("_", " ")
    measures = [name for name in ("groundedness", "confidence") if result.answer.HasField(name)]
    told = "".join(f", {name} {getattr(result.answer, name):.2f}" for name in measures)
    click.echo(f"status: {status}{told}")
    names = names_of(result, files)
    for found in result.evidence:
        click.echo(evidence.line(found, names))
    used = dict.fromkeys(
        f"{stage.model.model}@{stage.model.revision} ({stage.model.licence})"
        for stage in result.stages
        if stage.model.model
    )
    if used:
        click.echo(f"models: {', '.join(used)}")
    for report in result.documents:
        if report.HasField("error"):
            name = names.get(report.document_id, report.document_id)
            click.secho(f"error: {name}: {report.error.message}", fg="red", err=True)


def write(folder: Path, question: str, result: ReasoningResult, files: tuple[Path, ...], password: str = "") -> Path:
    """Writes the report of an answer and gives the page to open; says which evidence it has no picture of."""
    from triptych.cli.report.folder import write_report

    written = write_report(folder, question, result, by_document(files), password=password)
    for failure in written.failures:
        click.secho(f"no picture: {failure}", fg="yellow", err=True)
    return written.index
