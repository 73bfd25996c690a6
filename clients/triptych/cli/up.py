"""`triptych up`: starts a stack on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import load_settings
from triptych.cli.printing import echo_json
from triptych.cli.stack_display import StackDisplay, summary

if TYPE_CHECKING:
    from triptych.cli.stack.record import StackRecord
    from triptych.core.settings import Settings

DEFAULT_TIMEOUT_S = 300.0


@click.command()
@click.option("--foreground", is_flag=True, help="Stay here and stop the stack with Ctrl-C.")
@click.option("--no-pull", is_flag=True, help="Do not fetch weights that are missing.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=DEFAULT_TIMEOUT_S, show_default=True, metavar="S",
    help="Longest wait until all is ready, in seconds; then the start is undone.",
)  # fmt: skip
@options.state_dir_option
@options.json_option
@click.pass_context
def up(
    context: click.Context, *, foreground: bool, no_pull: bool, timeout_s: float, state_dir: Path | None, as_json: bool
) -> None:
    """Starts Redis (unless TRIPTYCH_REDIS_URL names one), the services and a worker per queue, and waits for them.

    Missing weights are fetched first. One state folder is one stack; a stack that runs already is left alone.
    """
    settings = load_settings(state_dir)
    if no_pull:
        _require_weights(settings)
    else:
        pull_missing(context, settings)
    _require_redis(settings)
    if foreground:
        context.exit(_run_here(settings))
    record = start(settings, timeout_s)
    if as_json:
        echo_json(summary(record, settings.state_dir))
    else:
        for name, value in summary(record, settings.state_dir).items():
            if isinstance(value, str) and value:
                click.echo(f"{name:<9} {value}")
        click.echo('\nask with  triptych ask "What is the total?" invoice.pdf\nstop with triptych down')


def missing_models(settings: Settings) -> tuple[str, ...]:
    """Gives the default models whose weights are not here."""
    from triptych.core.catalog import Catalog

    catalog = Catalog.load(settings)
    return tuple(name for name in settings.default_models if not catalog.ready(name))


def _require_weights(settings: Settings) -> None:
    """Raises if weights are missing: workers would crash for want of them, one after the other."""
    from triptych.core.errors import ModelNotFound

    if missing := missing_models(settings):
        hint = f"triptych models pull {' '.join(missing)}"
        raise ModelNotFound(f"weights are missing: {', '.join(missing)}", metadata={"hint": hint})


def pull_missing(context: click.Context, settings: Settings) -> None:
    """Fetches the weights of the default models that are not here."""
    if missing := missing_models(settings):
        from triptych.cli.models import pull

        click.echo(f"fetching weights: {', '.join(missing)}", err=True)
        context.invoke(pull, names=missing, as_json=False)


def _require_redis(settings: Settings) -> None:
    """Raises if the operator named a Redis that does not answer: workers would start and wait for it for ever."""
    from triptych.cli.checks import redis_check
    from triptych.core.errors import BackendUnavailable

    check = redis_check(settings)
    if check.level == "fail" and not settings.embedded_redis:
        raise BackendUnavailable(f"the Redis of TRIPTYCH_REDIS_URL: {check.message}", metadata={"hint": check.hint})


def start(settings: Settings, timeout_s: float) -> StackRecord:
    """Starts the stack of these settings in the background and waits until every queue has a worker.

    Raises:
        PreconditionFailed: A process does not start.
        TimedOut: Not ready in time.
    """
    from triptych.cli.stack.launcher import launch, running
    from triptych.cli.stack.layout import embedded_plan

    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (record := running(settings.state_dir)) and record.state == "ready":
        click.echo("the stack runs already", err=True)
        return record
    end = time.monotonic() + timeout_s
    with StackDisplay() as display:
        record = launch(embedded_plan(settings), timeout_s, display.show)
    _await_workers(record, settings, end)
    preferred = settings.listen
    if record.target != preferred and "listen" not in settings.model_fields_set:
        click.echo(f"{preferred} is taken; the services listen on {record.target}", err=True)
    return record


def _await_workers(record: StackRecord, settings: Settings, end: float) -> None:
    """Waits until the services themselves see a worker for every kind of job."""
    from triptych.cli.stack.layout import WORKER_KINDS
    from triptych.client import Client
    from triptych.core.errors import TimedOut

    key = next(iter(settings.api_keys), settings.api_key)
    with Client(record.target, api_key=key) as client:
        while True:
            served = {queue.kind for queue in client.queues() if queue.worker_count}
            if len(served) >= len(WORKER_KINDS):
                return
            if time.monotonic() > end:
                raise TimedOut("the services see no worker for some queue; `triptych status` shows which")
            time.sleep(0.2)


def _run_here(settings: Settings) -> int:
    from triptych.cli.stack.layout import embedded_plan
    from triptych.cli.stack.supervisor import Supervisor

    with StackDisplay(plain=True) as display:

        def show(record: StackRecord) -> None:
            display.show(record)
            if record.state == "ready" and not display.announced:
                display.announced = True
                click.echo(f"ready     {record.target}")
                sys.stdout.flush()

        return Supervisor(embedded_plan(settings), show).run()
