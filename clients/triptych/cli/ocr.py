"""`triptych ocr`: pixels to text."""

from __future__ import annotations

from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.evidence import percent_box
from triptych.cli.failure import FAILED
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet, run_job


@click.command()
@click.argument("file", type=options.file_type)
@options.pages_option
@options.model_option
@options.language_option
@options.words_option
@click.option("--lines", is_flag=True, help="Write every line with its box, in percent of the page.")
@click.option("--layout", is_flag=True, help="Find headings, lists and tables, and write the pages as Markdown.")
@click.option("--ignore-text-layer", is_flag=True, help="Read the pixels even where a PDF carries its own text.")
@options.timeout_option
@options.server_options
@options.json_option
@click.pass_context
def ocr(
    context: click.Context,
    *,
    file: Path,
    pages: str,
    model: str,
    language: str,
    words: bool,
    lines: bool,
    layout: bool,
    ignore_text_layer: bool,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Writes the text of FILE (a PDF or an image), page by page."""
    from triptych.client import specs
    from triptych.core.pages_markdown import page_markdown
    from triptych.v1.ocr_pb2 import EmbeddedTextPolicy, OcrConfig, OcrMode

    config = OcrConfig(model=model, language_codes=[language] if language else [], enable_words=words)
    if ignore_text_layer:
        config.embedded_text_policy = EmbeddedTextPolicy.EMBEDDED_TEXT_POLICY_IGNORE
    if layout:
        config.mode = OcrMode.OCR_MODE_LAYOUT
    ranges = options.page_ranges(pages)
    with server.connect() as client:
        (document,) = client.sources([file])
        spec = specs.ocr(document, config, ranges)
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quiet(as_json))
    failed = [page for page in outcome.ocr.pages if page.HasField("error")]
    if as_json:
        echo_json({"job": job.name, **as_dict(outcome.ocr)})
    else:
        for page in outcome.ocr.pages:
            if len(outcome.ocr.pages) > 1:
                click.secho(f"--- page {page.page_number} ---", dim=True)
            if not (lines or words):
                click.echo(page_markdown(page) if layout else page.text, nl=not layout)
                continue
            for line in page.lines:
                click.echo(f"{percent_box(line.polygon)}  {line.text}")
                for word in line.words:
                    click.echo(f"    {percent_box(word.polygon)}  {word.text}")
        if not failed and not any(page.text for page in outcome.ocr.pages):
            click.echo("no text was found", err=True)
        for page in failed:
            click.secho(f"error: page {page.page_number}: {page.error.message}", fg="red", err=True)
    if failed:
        context.exit(FAILED)
