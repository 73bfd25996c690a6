"""`triptych jobs dead`: jobs with units on which workers died, running them again, dropping them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import options
from triptych.cli.connection import Server, whole_job
from triptych.cli.failure import EPILOG, FAILED, facts_of
from triptych.cli.printing import age, as_dict, echo_json, echo_listing, enum_word

if TYPE_CHECKING:
    from triptych.client import Client
    from triptych.v1.job_pb2 import Job

FACTS = ("job", "kind", "state", "ended", "units", "error", "part of")


def choice_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says which dead letters are meant: NAMES, or --all of them."""
    for option in (
        options.json_option,
        options.server_options,
        options.yes_option,
        click.option("--all", "everything", is_flag=True, help="All dead letters."),
        click.argument("names", nargs=-1),
    ):
        command = option(command)
    return command


@click.group(epilog=EPILOG, short_help="Dead letters: list, show, retry and drop them.")
def dead() -> None:
    """Lists, shows, retries and drops dead letters.

    A dead letter is a job with units (pages, windows of audio) on which workers died as often as is allowed. They were
    set aside; the other units stand.
    """


@dead.command("list", short_help="List dead letters, latest end first.")
@options.limit_option("jobs")
@options.server_options
@options.json_option
def list_letters(*, limit: int, server: Server, as_json: bool) -> None:
    """Lists dead letters, latest end first; one that was retried is none any more.

    In a pipe: name, kind, state, time of the end, units, error, the job that it is a part of.
    """
    with server.connect() as client:
        found = _letters(client, limit)
    echo_listing(found, ("job", "kind", "ended", "units"), _short_row, _row, as_json=as_json)


@dead.command(short_help="Show which units were set aside, and why.")
@click.argument("name")
@options.server_options
@options.json_option
def show(*, name: str, server: Server, as_json: bool) -> None:
    """Shows the job NAME, a line per unit that was set aside with its error."""
    with server.connect() as client:
        job = whole_job(client, options.job_name(name))
    if as_json:
        echo_json(as_dict(job))
        return
    for column, value in zip(FACTS, _row(job), strict=True):
        if value and column != "units":
            click.echo(f"{column}: {value}")
    said = {f"page:{page.page_number}": page.error.message for page in job.result.ocr.pages if page.HasField("error")}
    for unit in job.set_aside_units:
        click.echo(f"unit: {unit}{f': {said[unit]}' if unit in said else ''}")


@dead.command(short_help="Run dead letters again.")
@choice_options
@click.pass_context
def retry(
    context: click.Context,
    *,
    names: tuple[str, ...],
    everything: bool,
    yes: bool,
    server: Server,
    as_json: bool,
) -> None:
    """Runs the jobs NAMES again, as new jobs; any job that has ended can be named.

    What was done costs nothing, what was set aside is tried anew. A part of another job is retried with that job. The
    old jobs stay with their results, but leave the list.
    """
    with server.connect() as client:
        chosen = _chosen(client, names, everything, yes, "retry")
        whole = dict.fromkeys(job.parent_job or job.name for job in chosen)
        told = _told(whole, lambda name: {"job": name, "retried_as": client.retry_job(name).name})
    _end(context, told, lambda facts: f"retried as {facts['retried_as']}", as_json=as_json)


@dead.command(short_help="Delete dead letters and their results.")
@choice_options
@click.pass_context
def drop(
    context: click.Context,
    *,
    names: tuple[str, ...],
    everything: bool,
    yes: bool,
    server: Server,
    as_json: bool,
) -> None:
    """Deletes the dead letters NAMES, with the results of the units that stand."""

    def delete(name: str) -> dict[str, Any]:
        client.delete_job(name)
        return {"job": name}

    with server.connect() as client:
        chosen = _chosen(client, names, everything, yes, "drop")
        for job in chosen:
            if not job.set_aside_units:
                raise click.UsageError(f"{job.name} is no dead letter: none of its units was set aside")
        told = _told([job.name for job in chosen], delete)
    _end(context, told, lambda _facts: "dropped", as_json=as_json)


def _letters(client: Client, limit: int) -> list[Job]:
    from triptych.v1.job_service_pb2 import JobFilter

    return client.list_jobs(JobFilter(set_aside=True), limit=limit)


def _chosen(client: Client, names: tuple[str, ...], everything: bool, yes: bool, verb: str) -> list[Job]:
    if bool(names) == everything:
        raise click.UsageError("name the jobs, or give --all")
    if names:
        return [client.get_job(options.job_name(name)) for name in names]
    found = _letters(client, sys.maxsize)
    if found and not yes:
        click.confirm(f"{verb} {len(found)} job{'s' * (len(found) > 1)}?", abort=True, err=True)
    return found


def _told(names: Iterable[str], act: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Does it to every job and gives what came of each; one that cannot be done keeps no other one back."""
    from triptych.core.errors import TriptychError, Unavailable

    told = []
    for name in names:
        try:
            told.append(act(name))
        except Unavailable:
            raise
        except TriptychError as error:
            told.append({"job": name, "error": facts_of(error)})
    return told


def _end(
    context: click.Context, told: list[dict[str, Any]], line: Callable[[dict[str, Any]], str], *, as_json: bool
) -> None:
    if as_json:
        echo_json(told)
    else:
        for facts in told:
            if "error" in facts:
                click.secho(f"error: {facts['job']}: {facts['error']['message']}", fg="red", err=True)
            else:
                click.echo(f"{facts['job']}: {line(facts)}")
    if any("error" in facts for facts in told):
        context.exit(FAILED)


def _short_row(job: Job) -> tuple[object, ...]:
    """A line of the table for people; it has to fit 80 columns."""
    from triptych.v1.job_pb2 import JobKind

    return (
        job.name.removeprefix("jobs/"),
        enum_word(JobKind, job.kind) + (" (part)" if job.parent_job else ""),
        age(time.time() - job.end_time.ToMilliseconds() / 1000),
        " ".join(job.set_aside_units),
    )


def _row(job: Job) -> tuple[str, ...]:
    from triptych.v1.job_pb2 import JobKind, JobState

    return (
        job.name,
        enum_word(JobKind, job.kind),
        enum_word(JobState, job.state),
        job.end_time.ToJsonString() if job.HasField("end_time") else "",
        " ".join(job.set_aside_units),
        job.error.message,
        job.parent_job,
    )
