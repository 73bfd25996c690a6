"""`triptych submit`: many jobs from a manifest, their results as they come."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.failure import FAILED
from triptych.cli.printing import echo_json
from triptych.cli.run import quiet

if TYPE_CHECKING:
    from triptych.cli.batch.display import BatchDisplay
    from triptych.cli.batch.results import Results

PRIORITIES = ("batch", "normal", "interactive")


@click.command()
@click.option(
    "--manifest", type=options.file_type, required=True, metavar="FILE", help="What to do: a JSON object a line."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where results go; lines that have theirs there already are left out. Default: standard output.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=128, show_default=True, metavar="N",
    help="Lines under way at a time.",
)  # fmt: skip
@click.option("--priority", type=click.Choice(PRIORITIES), default="batch", show_default=True, help="Lane of the jobs.")
@click.option("--batch", default="", metavar="NAME", help="Lines of another name are other jobs.")
@click.option("--retry-failed", is_flag=True, help="Also do the lines again that failed according to --output.")
@options.server_options
@options.json_option
@click.pass_context
def submit(
    context: click.Context,
    *,
    manifest: Path,
    output: Path | None,
    concurrency: int,
    priority: str,
    batch: str,
    retry_failed: bool,
    server: Server,
    as_json: bool,
) -> None:
    """Runs every line of a manifest as a job and writes a line of JSON per result, in the order in which they end.

    A line of the manifest has "kind" (ocr, transcription, vision, reasoning), "file" or "files" (paths relative to the
    manifest) and, as the kind needs, "question", "pipeline", "prompt", "pages", "config"; or a whole "spec". "id",
    "labels", "options" and "request_id" can be added. Nothing is sent unless all lines are well formed.

    Ctrl-C leaves the jobs alone; the same command then goes on where this one stopped.
    """
    from triptych.cli.batch import manifest as manifests
    from triptych.cli.batch.display import BatchDisplay
    from triptych.cli.batch.results import Results
    from triptych.cli.batch.runner import Batch
    from triptych.v1.job_pb2 import JobPriority

    if output and output.exists() and output.samefile(manifest):
        raise click.UsageError("--output is the manifest itself")
    line_count = manifests.check(manifest)

    async def run(results: Results, display: BatchDisplay) -> None:
        async with server.connect_async() as client:
            # Services that are not there, or do not know the key, end the command at once.
            await client.server_info()
            lines = Batch(
                client,
                results,
                display,
                name=batch,
                priority=JobPriority.Value(f"JOB_PRIORITY_{priority.upper()}"),
                retry_failed=retry_failed,
            )
            await lines.run(manifests.lines(manifest), manifest.parent, concurrency)

    with Results(output) as results, BatchDisplay(line_count, quiet=quiet(as_json)) as display:
        try:
            asyncio.run(run(results, display))
        except KeyboardInterrupt:
            click.echo(f"{display.summary()}; the other jobs go on, and the same command joins them", err=True)
            raise
    if as_json and output:
        echo_json(display.counts())
    elif not as_json:
        # Without --output, standard output is for the results.
        click.echo(display.summary(), err=output is None)
    if display.failed_count:
        context.exit(FAILED)
