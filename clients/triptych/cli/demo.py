"""`triptych demo`: two questions on files that come with the command, answered and checked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import options
from triptych.cli.ask import answer, by_document, show, write
from triptych.cli.connection import Server, find_services, load_settings
from triptych.cli.failure import FAILED
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet

if TYPE_CHECKING:
    from triptych.core.settings import Settings
    from triptych.v1.reasoning_pb2 import ReasoningResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question on one file, with the answers that count as right."""

    file: str
    question: str
    expected: tuple[str, ...]


def load_tasks(text: str) -> list[Task]:
    """Reads demo.json."""
    return [
        Task(file=entry["file"], question=entry["question"], expected=tuple(entry["expected"]))
        for entry in json.loads(text)["tasks"]
    ]


def is_right(task: Task, result: ReasoningResult) -> bool:
    """Whether the answer has one of the expected texts and rests on words found again in the document."""
    from triptych.v1.reasoning_pb2 import AnswerStatus, QuoteMatch

    text = " ".join(result.answer.text.lower().split())
    found = any(expected.lower() in text for expected in task.expected)
    proven = any(
        evidence.quote_match in (QuoteMatch.QUOTE_MATCH_EXACT, QuoteMatch.QUOTE_MATCH_FUZZY)
        for evidence in result.evidence
    )
    return found and proven and result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-out"), show_default=True,
    help="Folder for the reports and, if a stack has to be started, its state.",
)  # fmt: skip
@options.timeout_option
@options.server_options
@options.json_option
@click.pass_context
def demo(
    context: click.Context,
    *,
    out: Path,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Asks one question on a scanned invoice and one on a voice memo, prints the answers and checks them.

    Without services that answer, a stack of its own is started for it and stopped afterwards.
    """
    from triptych.cli.report.documents import require
    from triptych.client import Client

    out.mkdir(parents=True, exist_ok=True)
    reports: list[dict[str, Any]] = []
    folder = resources.files("triptych.cli") / "demo_data"
    tasks = load_tasks((folder / "demo.json").read_text(encoding="utf-8"))
    with ExitStack() as opened:
        require([opened.enter_context(resources.as_file(folder / task.file)) for task in tasks])
    settings = load_settings(server.state_dir)
    # A stack that we start asks for a key if the operator's settings say so; any of its keys will do.
    key = server.api_key or settings.api_key or next(iter(settings.api_keys), "")
    with _services(context, server.target, settings, out) as address, Client(address, api_key=key) as client:
        for task in tasks:
            with resources.as_file(folder / task.file) as file:
                files = (file,)
                job, result = answer(client, task.question, files, timeout_s=timeout_s, quietly=quiet(as_json))
                report = write(out / file.stem, task.question, result, files)
            right = is_right(task, result)
            reports.append(
                {
                    "job": job.name,
                    "file": task.file,
                    "question": task.question,
                    "expected": list(task.expected),
                    "right": right,
                    "result": as_dict(result),
                    "report": str(report),
                }
            )
            if not as_json:
                click.secho(f"\n{task.file}: {task.question}", fg="cyan")
                show(result, tuple(by_document(files).values()))
                click.echo(f"report: {report}")
                click.echo("right" if right else f"WRONG: expected {' or '.join(task.expected)}, with evidence")
    if as_json:
        echo_json(reports)
    if not all(report["right"] for report in reports):
        context.exit(FAILED)


@contextmanager
def _services(context: click.Context, target: str, settings: Settings, out: Path) -> Iterator[str]:
    """Gives an address where services answer, for which a private stack may be started."""
    address = find_services(target, settings)
    if address.found_by in ("option", "setting") or _answers(address.target):
        yield address.target
        return
    from triptych.cli.stack.launcher import stop
    from triptych.cli.up import DEFAULT_TIMEOUT_S, pull_missing, start

    pull_missing(context, settings)
    private = load_settings((out / "state").resolve())
    click.echo("no services answer; starting a stack for this demo", err=True)
    try:
        yield start(private, DEFAULT_TIMEOUT_S).target
    finally:
        stop(private.state_dir, 2 * (private.drain_s + 10))


def _answers(target: str) -> bool:
    """Whether services of ours are there: a port may be somebody else's."""
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
    except OSError:
        return False
    from triptych.client import Client
    from triptych.core.errors import TriptychError, Unauthenticated

    with Client(target) as client:
        try:
            client.server_info()
        except Unauthenticated:
            return True
        except TriptychError:
            return False
    return True
