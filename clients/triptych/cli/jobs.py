"""`triptych jobs`: what runs, what ran, and stopping it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import connect
from triptych.cli.failure import FAILED
from triptych.cli.printing import as_dict, echo_json, echo_table, enum_word

if TYPE_CHECKING:
    from triptych.v1.job_pb2 import Job, JobEvent

KINDS = ("transcription", "ocr", "vision", "reasoning")
STATES = ("pending", "running", "cancelling", "succeeded", "failed", "cancelled")


def _name(text: str) -> str:
    return text if text.startswith("jobs/") else f"jobs/{text}"


@click.group()
def jobs() -> None:
    """Lists, shows, watches and cancels jobs."""


@jobs.command("list")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only in this state; may be repeated."
)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only of this kind; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Jobs at most.")
@options.server_options
@options.json_option
def list_jobs(
    *,
    states: tuple[str, ...],
    kinds: tuple[str, ...],
    limit: int,
    target: str,
    api_key: str,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Lists jobs, newest first."""
    from triptych.v1.job_pb2 import JobKind, JobState
    from triptych.v1.job_service_pb2 import JobFilter

    job_filter = JobFilter(
        states=[JobState.Value(f"JOB_STATE_{state.upper()}") for state in states],
        kinds=[JobKind.Value(f"JOB_KIND_{kind.upper()}") for kind in kinds],
    )
    with connect(target, api_key, state_dir) as client:
        found = client.list_jobs(job_filter, limit=limit)
    if as_json:
        echo_json([as_dict(job) for job in found])
    else:
        columns = ("job", "kind", "state", "created", "stage", "percent", "attempt")
        echo_table(columns, [_row(job) for job in found])


def _row(job: Job) -> tuple[object, ...]:
    from triptych.v1.job_pb2 import JobKind, JobState

    return (
        job.name,
        enum_word(JobKind, job.kind),
        enum_word(JobState, job.state),
        job.create_time.ToJsonString(),
        job.progress.stage,
        job.progress.percent if job.progress.HasField("percent") else "",
        job.attempt,
    )


@jobs.command()
@click.argument("name")
@options.server_options
@options.json_option
def get(*, name: str, target: str, api_key: str, state_dir: Path | None, as_json: bool) -> None:
    """Shows the job NAME with its result or its error."""
    with connect(target, api_key, state_dir) as client:
        job = client.get_job(_name(name))
        if job.WhichOneof("outcome") == "result_blob":
            job.result.CopyFrom(client.result(job))
    if as_json:
        echo_json(as_dict(job))
        return
    columns = ("job", "kind", "state", "created", "stage", "percent", "attempt")
    for column, value in zip(columns, _row(job), strict=True):
        click.echo(f"{column}: {value}")
    if job.WhichOneof("outcome") == "error":
        click.echo(f"error: {job.error.message}")
    elif job.WhichOneof("outcome") == "result":
        click.echo(_text(job))


def _text(job: Job) -> str:
    result = job.result
    match result.WhichOneof("result"):
        case "transcription":
            return result.transcription.text
        case "ocr":
            return "\n".join(page.text for page in result.ocr.pages)
        case "vision":
            return result.vision.text
        case _:
            return result.reasoning.answer.text


@jobs.command()
@click.argument("name")
@click.option("--partials", is_flag=True, help="Also show partial results.")
@options.server_options
@options.json_option
@click.pass_context
def watch(
    context: click.Context,
    *,
    name: str,
    partials: bool,
    target: str,
    api_key: str,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Follows the job NAME until it ends; Ctrl-C leaves it alone. With --json: one object a line."""
    from triptych.v1.job_pb2 import JobState

    state = JobState.JOB_STATE_UNSPECIFIED
    with connect(target, api_key, state_dir) as client:
        for event in client.watch_job(_name(name), include_partials=partials):
            if as_json:
                echo_json(as_dict(event), one_line=True)
            elif line := _event_line(event):
                click.echo(line)
            if event.HasField("job"):
                state = event.job.state
    if state != JobState.JOB_STATE_SUCCEEDED:
        context.exit(FAILED)


def _event_line(event: JobEvent) -> str:
    from triptych.v1.job_pb2 import JobState

    match event.WhichOneof("event"):
        case "job":
            error = f": {event.job.error.message}" if event.job.WhichOneof("outcome") == "error" else ""
            return f"{enum_word(JobState, event.job.state)}{error}"
        case "progress":
            progress = event.progress
            counts = (
                f" {progress.completed_unit_count}/{progress.total_unit_count}" if progress.total_unit_count else ""
            )
            return f"{progress.stage}{counts}"
        case "transcript_segment":
            return event.transcript_segment.text
        case "ocr_page":
            return f"page {event.ocr_page.page_number}: {len(event.ocr_page.lines)} lines"
        case "text_delta":
            return event.text_delta.text
        case "stage":
            return f"{event.stage.stage} done in {event.stage.elapsed.ToMilliseconds() / 1000:.1f} s"
        case _:
            return ""


@jobs.command()
@click.argument("name")
@options.server_options
@options.json_option
def cancel(*, name: str, target: str, api_key: str, state_dir: Path | None, as_json: bool) -> None:
    """Asks for the job NAME to be cancelled; one that has ended stays as it is."""
    from triptych.v1.job_pb2 import JobState

    with connect(target, api_key, state_dir) as client:
        job = client.cancel_job(_name(name))
    if as_json:
        echo_json(as_dict(job))
    else:
        click.echo(f"{job.name}: {enum_word(JobState, job.state)}")
