"""Runs one job for a command: submits it, shows how far it is, and gives the result."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from triptych.cli.progress import JobDisplay

if TYPE_CHECKING:
    from triptych.client import Client
    from triptych.v1.job_pb2 import Job, JobEvent, JobResult, JobSpec


def run_job(
    client: Client,
    spec: JobSpec,
    *,
    timeout_s: float,
    quiet: bool,
    data_class: str | None = None,
    heed: Callable[[JobEvent, JobDisplay], None] | None = None,
) -> tuple[Job, JobResult]:
    """Runs a job to its end; it is cancelled when the user presses Ctrl-C or the time is over.

    Args:
        client: Of the services.
        spec: What to do.
        timeout_s: Longest wait in seconds.
        quiet: Whether nothing is shown meanwhile.
        data_class: How closely its bytes are to be kept, such as "restricted"; None: the server's default.
        heed: Is told everything that happens, partial results too.

    Raises:
        TriptychError: The error with which the job failed.
    """
    from triptych.core.errors import TimedOut
    from triptych.v1.job_pb2 import DataClass, JobOptions, JobPriority

    kept = DataClass.Value(f"DATA_CLASS_{(data_class or 'unspecified').upper()}")
    # Somebody waits at the other end of this command.
    job = client.submit(spec, JobOptions(priority=JobPriority.JOB_PRIORITY_INTERACTIVE, data_class=kept))
    try:
        with JobDisplay(quiet=quiet) as display:
            for event in events_of(client, job.name, include_partials=heed is not None, timeout_s=timeout_s):
                display.show(event)
                if heed:
                    heed(event, display)
                if event.HasField("job"):
                    job = event.job
    except KeyboardInterrupt:
        client.cancel_job(job.name)
        click.echo(f"cancelled {job.name}", err=True)
        raise
    except TimedOut:
        client.cancel_job(job.name)
        raise TimedOut(f"{job.name} was not done after {timeout_s:g} s and is cancelled") from None
    return job, client.result(job)


def events_of(
    client: Client, name: str, *, include_partials: bool, timeout_s: float | None = None
) -> Iterator[JobEvent]:
    """Gives the events of a job, as `Client.watch_job` does, so that Ctrl-C may come at any time.

    A thread of its own waits for them: an interrupt inside of gRPC's waiting can meet a lock that is half released, and
    become another error.
    """
    told: SimpleQueue[JobEvent | BaseException | None] = SimpleQueue()

    def receive() -> None:
        try:
            for event in client.watch_job(name, include_partials=include_partials, timeout_s=timeout_s):
                told.put(event)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            told.put(error)
        else:
            told.put(None)

    threading.Thread(target=receive, name="events", daemon=True).start()
    while (event := told.get()) is not None:
        if isinstance(event, BaseException):
            raise event
        yield event


def quiet(as_json: bool) -> bool:
    """Whether progress would disturb: JSON was asked for, and nobody looks."""
    return as_json and not sys.stderr.isatty()
