"""`triptych status`: the processes of the stack of this machine, and the queues."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import options
from triptych.cli.connection import Server, find_services, load_settings
from triptych.cli.failure import UNREACHABLE, hint_for
from triptych.cli.printing import age, as_dict, echo_json, echo_table, enum_word
from triptych.cli.stack_display import summary

if TYPE_CHECKING:
    from triptych.cli.stack.record import StackRecord
    from triptych.v1.system_service_pb2 import Queue


@click.command()
@options.server_options
@options.json_option
@click.pass_context
def status(context: click.Context, *, server: Server, as_json: bool) -> None:
    """Shows every process and every queue. Exit code 3 if the services cannot be reached."""
    from triptych.cli.stack.launcher import running
    from triptych.client import Client
    from triptych.core.errors import TriptychError

    settings = load_settings(server.state_dir)
    record = running(settings.state_dir)
    address = find_services(server.target, settings)
    if record is not None and address.found_by == "option" and address.target != record.target:
        record = None  # somebody else's services were asked for, not the stack of this machine
    queues: list[Queue] = []
    problem: TriptychError | None = None
    with Client(address.target, api_key=server.api_key or settings.api_key) as client:
        try:
            queues = client.queues()
        except TriptychError as error:
            problem = error
    processes = _processes(record) if record else []
    if as_json:
        echo_json(
            {
                "stack": summary(record, settings.state_dir) if record else None,
                "processes": processes,
                "target": address.target,
                "queues": [as_dict(queue) for queue in queues],
                "problem": problem.message if problem else "",
            }
        )
    else:
        _show(record, processes, queues, address.target, settings.state_dir, asked=address.found_by == "option")
    if problem is not None:
        click.secho(f"error: {problem.message}", fg="red", err=True)
        if not as_json and (hint := hint_for(problem)):
            click.echo(f"hint: {hint}", err=True)
        context.exit(UNREACHABLE)


def _show(
    record: StackRecord | None,
    processes: list[dict[str, Any]],
    queues: list[Queue],
    target: str,
    state_dir: Path,
    *,
    asked: bool,
) -> None:
    from triptych.v1.job_pb2 import JobKind, JobPriority

    if record is None:
        if not asked:
            click.echo(f"no stack runs in {state_dir}")
    else:
        away = [process["name"] for process in processes if process["state"] != "ready"]
        # A process that died is started again; until then the stack is not what "ready" promises.
        but = f", but not {', '.join(away)}" if away and record.state == "ready" else ""
        click.echo(f"{record.state}{but}: {state_dir}")
        columns = ("process", "pid", "state", "uptime", "memory", "restarts")
        rows = [
            (
                process["name"],
                process["pid"] or "",
                process["state"] if process["state"] != "backoff" else f"ended with {process['exit_code']}",
                age(process["uptime_s"]),
                f"{process['memory_bytes'] / 1e6:.0f} MB",
                process["restarts"],
            )
            for process in processes
        ]
        echo_table(columns, rows)
    if queues:
        click.echo(f"queues at {target}")
        # On a terminal the name says kind and lane already, and the table has to fit 80 columns.
        short = sys.stdout.isatty()
        echo_table(
            ("queue", *(() if short else ("kind", "lane")), "waiting", "running", "workers"),
            [
                (
                    queue.name,
                    *(() if short else (enum_word(JobKind, queue.kind), enum_word(JobPriority, queue.priority))),
                    queue.pending_count,
                    queue.running_count,
                    queue.worker_count,
                )
                for queue in queues
            ],
        )


def _processes(record: StackRecord) -> list[dict[str, Any]]:
    return [
        {
            "name": process.name,
            "pid": process.pid,
            "state": process.state,
            "uptime_s": round(time.time() - process.started_at) if process.pid else 0,
            "memory_bytes": _memory_bytes(process.pid) if process.pid else 0,
            "restarts": process.restarts,
            "exit_code": process.exit_code,
            "log": process.log,
            "ready": process.ready,
        }
        for process in record.processes
    ]


def _memory_bytes(pid: int) -> int:
    """Gives the resident memory of a process; 0 if it is gone or nobody says."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        pass
    # Systems without /proc.
    try:
        said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
        return int(said.stdout.strip() or 0) * 1024
    except OSError:
        return 0
