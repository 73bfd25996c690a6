"""`triptych ocr`: pixels to text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.failure import FAILED
from triptych.cli.outputs import checked, format_of, output_options
from triptych.cli.pages import FORMAT_NAMES, PDF, WITH_WORDS, ReadPages, names_by_ending, page_lines
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet, run_job

if TYPE_CHECKING:
    from triptych.cli.pages import PagesView
    from triptych.v1.ocr_pb2 import OcrResult


@click.command()
@click.argument("file", type=options.file_type)
@options.pages_option
@options.password_option
@options.model_option
@options.language_option
@options.words_option
@click.option("--lines", is_flag=True, help="Write every line with its box, in percent of the page.")
@click.option("--layout", is_flag=True, help="Find headings, lists and tables, and write the pages as Markdown.")
@click.option("--ignore-text-layer", is_flag=True, help="Read the pixels even where a PDF carries its own text.")
@output_options(FORMAT_NAMES, ".txt .md .html .hocr .xml .json .pdf", instead_of="text for people")
@options.timeout_option
@options.server_options
@options.json_option
@click.pass_context
def ocr(
    context: click.Context,
    *,
    file: Path,
    pages: str,
    password: str,
    model: str,
    language: str,
    words: bool,
    lines: bool,
    layout: bool,
    ignore_text_layer: bool,
    format_name: str | None,
    outputs: tuple[Path, ...],
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Writes the text of FILE (a PDF or an image), page by page, or files of it: .xml is ALTO, .pdf can be searched."""
    from triptych.client import specs
    from triptych.v1.ocr_pb2 import EmbeddedTextPolicy, OcrConfig, OcrMode

    if as_json and format_name:
        raise click.UsageError("--json is a format by itself; leave --format out")
    files = [(path, format_name or format_of(path, names_by_ending())) for path in checked(outputs, file, "read")]
    if format_name == PDF and not files and sys.stdout.isatty():
        raise click.UsageError("a PDF is nothing for a terminal; say --output FILE.pdf")
    wanted = {format_name, *(name for _, name in files)}
    config = OcrConfig(model=model, language_codes=[language] if language else [])
    config.enable_words = words or bool(wanted & WITH_WORDS)
    if ignore_text_layer:
        config.embedded_text_policy = EmbeddedTextPolicy.EMBEDDED_TEXT_POLICY_IGNORE
    if layout:
        config.mode = OcrMode.OCR_MODE_LAYOUT
    ranges = options.page_ranges(pages)
    with server.connect() as client:
        (document,) = client.sources([file], password=password)
        spec = specs.ocr(document, config, ranges)
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quiet(as_json))
        read = ReadPages(client=client, job_name=job.name, result=outcome.ocr)
        read.write(files)
        if as_json:
            echo_json({"job": job.name, **as_dict(outcome.ocr)})
        elif format_name and not files:
            click.echo(read.content(format_name), nl=False)
    if not (as_json or format_name or files):
        _show(outcome.ocr, "places" if lines or words else "layout" if layout else "text")
    failed = [page for page in outcome.ocr.pages if page.HasField("error")]
    for page in failed if not as_json else []:
        click.secho(f"error: page {page.page_number}: {page.error.message}", fg="red", err=True)
    if failed:
        context.exit(FAILED)


def _show(result: OcrResult, what: PagesView) -> None:
    for line in page_lines(result, what):
        click.echo(line)
    if not any(page.text or page.HasField("error") for page in result.pages):
        click.echo("no text was found", err=True)
