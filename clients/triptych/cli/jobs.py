"""`triptych jobs`: what runs, what ran, stopping it, and what killed its workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server, whole_job
from triptych.cli.dead import dead
from triptych.cli.failure import EPILOG, FAILED
from triptych.cli.printing import age, as_dict, echo_json, echo_listing, enum_word, stage_of
from triptych.cli.run import events_of

if TYPE_CHECKING:
    from triptych.v1.job_pb2 import Job, JobEvent, JobResult

KINDS = ("transcription", "ocr", "vision", "reasoning")
FACTS = ("job", "kind", "state", "created", "stage", "percent", "attempt", "part of")
STATES = ("pending", "running", "cancelling", "succeeded", "failed", "cancelled")


@click.group(epilog=EPILOG)
def jobs() -> None:
    """Lists, shows, watches and cancels jobs."""


jobs.add_command(dead)


@jobs.command("list", short_help="List jobs, newest first.")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only in this state; may be repeated."
)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only of this kind; may be repeated.")
@options.limit_option("jobs")
@options.server_options
@options.json_option
def list_jobs(
    *,
    states: tuple[str, ...],
    kinds: tuple[str, ...],
    limit: int,
    server: Server,
    as_json: bool,
) -> None:
    """Lists jobs, newest first, those too that a question started: the parts.

    In a pipe: name, kind, state, time of creation, stage, percent, attempt, the job that it is a part of.
    """
    from triptych.v1.job_pb2 import JobKind, JobState
    from triptych.v1.job_service_pb2 import JobFilter

    job_filter = JobFilter(
        states=[JobState.Value(f"JOB_STATE_{state.upper()}") for state in states],
        kinds=[JobKind.Value(f"JOB_KIND_{kind.upper()}") for kind in kinds],
    )
    with server.connect() as client:
        found = client.list_jobs(job_filter, limit=limit)
    echo_listing(found, ("job", "kind", "state", "age", "stage"), _short_row, _row, as_json=as_json)


def _short_row(job: Job) -> tuple[object, ...]:
    """A line of the table for people; it has to fit 80 columns."""
    from triptych.v1.job_pb2 import JobKind, JobState

    percent = f" {job.progress.percent}%" if job.progress.HasField("percent") else ""
    return (
        job.name.removeprefix("jobs/"),
        enum_word(JobKind, job.kind) + (" (part)" if job.parent_job else ""),
        enum_word(JobState, job.state),
        age(time.time() - job.create_time.ToMilliseconds() / 1000),
        f"{job.progress.stage}{percent}" if job.state == JobState.JOB_STATE_RUNNING else "",
    )


def _row(job: Job) -> tuple[object, ...]:
    from triptych.v1.job_pb2 import JobKind, JobState

    return (
        job.name,
        enum_word(JobKind, job.kind),
        enum_word(JobState, job.state),
        job.create_time.ToJsonString(),
        stage_of(job.progress),
        job.progress.percent if job.progress.HasField("percent") else "",
        job.attempt,
        job.parent_job,
    )


@jobs.command(short_help="Show a job with its result or its error.")
@click.argument("name")
@options.server_options
@options.json_option
def get(*, name: str, server: Server, as_json: bool) -> None:
    """Shows the job NAME with its result or its error."""
    with server.connect() as client:
        job = whole_job(client, options.job_name(name))
    if as_json:
        echo_json(as_dict(job))
        return
    for column, value in zip(FACTS, _row(job), strict=True):
        if value != "":
            click.echo(f"{column}: {value}")
    if job.WhichOneof("outcome") == "error":
        click.echo(f"error: {job.error.message}")
    elif job.result.HasField("reasoning"):
        from triptych.cli.ask import show

        show(job.result.reasoning, ())
    elif job.WhichOneof("outcome") == "result":
        click.echo(_text(job.result))


def _text(result: JobResult) -> str:
    match result.WhichOneof("result"):
        case "transcription":
            return result.transcription.text
        case "ocr":
            return "\n".join(page.text for page in result.ocr.pages)
        case _:
            return result.vision.output_json or result.vision.text


@jobs.command(short_help="Follow a job until it ends.")
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
    server: Server,
    as_json: bool,
) -> None:
    """Follows the job NAME until it ends; Ctrl-C leaves it alone. With --json: one object a line."""
    from triptych.client.jobs import TERMINAL
    from triptych.v1.job_pb2 import JobState

    state = JobState.JOB_STATE_UNSPECIFIED
    held = last = ""
    with server.connect() as client:
        for event in events_of(client, options.job_name(name), include_partials=partials):
            if as_json:
                echo_json(as_dict(event), one_line=True)
            elif event.HasField("job") and event.job.state in TERMINAL and not state:
                held = _event_line(event)  # it has ended already: its story comes first
            elif line := _event_line(event):
                if line != last or not _waits(event):  # its place is told again and again
                    click.echo(line)
                last = line
            if event.HasField("job"):
                held = held if not state else ""
                state = event.job.state
    if held:
        click.echo(held)
    if state != JobState.JOB_STATE_SUCCEEDED:
        context.exit(FAILED)


def _waits(event: JobEvent) -> bool:
    progress = event.job.progress if event.HasField("job") else event.progress
    return progress.HasField("queue_position")


def _event_line(event: JobEvent) -> str:
    from triptych.v1.job_pb2 import JobState

    match event.WhichOneof("event"):
        case "job":
            if _waits(event):
                return stage_of(event.job.progress)
            error = f": {event.job.error.message}" if event.job.WhichOneof("outcome") == "error" else ""
            return f"{enum_word(JobState, event.job.state)}{error}"
        case "progress":
            progress = event.progress
            counts = (
                f" {progress.completed_unit_count}/{progress.total_unit_count}" if progress.total_unit_count else ""
            )
            return f"{stage_of(progress)}{counts}"
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


@jobs.command(short_help="Cancel a job.")
@click.argument("name")
@options.server_options
@options.json_option
def cancel(*, name: str, server: Server, as_json: bool) -> None:
    """Asks for the job NAME to be cancelled; one that has ended stays as it is."""
    from triptych.v1.job_pb2 import JobState

    with server.connect() as client:
        job = client.cancel_job(options.job_name(name))
    if as_json:
        echo_json(as_dict(job))
    else:
        click.echo(f"{job.name}: {enum_word(JobState, job.state)}")
