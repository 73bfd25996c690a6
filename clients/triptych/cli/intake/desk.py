"""A folder of results that is worked on: its lock, its journal, and one run over it until a signal or the end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.intake.display import IntakeDisplay
from triptych.core.errors import NotFound, PreconditionFailed

if TYPE_CHECKING:
    from triptych.intake.event import Counts, Tell
    from triptych.intake.filing import Filing
    from triptych.intake.journal import Journal
    from triptych.intake.source import Source

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

STATE = ".intake"
out_argument = click.argument("out", type=click.Path(file_okay=False, exists=True, path_type=Path))
state_option = click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder of the journal, on a disk of this machine; default: .intake in the folder of results.",
)  # fmt: skip


def desk_options(command: CommandT) -> CommandT:
    """Adds what says where results go and how much is done at a time: the command's argument `desk`."""
    for option in reversed((
        click.option(
            "--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
            help="Folder of the results; a folder is one intake.",
        ),
        state_option,
        click.option("--csv", "with_table", is_flag=True, help="Write results.csv too."),
        click.option(
            "--in-flight", type=click.IntRange(1, 1000), default=16, show_default=True, metavar="N",
            help="Jobs under way at a time.",
        ),
        click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve Prometheus metrics."),
        click.option("--metrics-host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address of them."),
        options.server_options,
        options.json_option,
    )):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the options of a run say."""

    out: Path
    state: Path | None
    with_table: bool
    in_flight: int
    metrics_port: int | None
    metrics_host: str
    server: Server
    as_json: bool

    def folders(self, source: Path) -> tuple[Path, Path]:
        """Gives the folders with what the intake writes; none of that comes from a source in which they are.

        Raises:
            click.UsageError: The source is one of them: nobody could tell what came from what was written.
        """
        own = (self.out, state_folder(self.out, self.state))
        if source.resolve() in [path.resolve() for path in own]:
            raise click.UsageError(f"{source} cannot be the folder of the results, or of the journal, too")
        return own

    def run(
        self,
        source_of: Callable[[Tell], Source],
        *,
        total: int | None = None,
        filing: Filing | None = None,
        all_alike: bool,
        oldest_s: Callable[[], float] | None = None,
    ) -> tuple[Counts, bool]:
        """Runs until the source has no more, or SIGTERM; gives what was counted and whether it came to the end.

        Args:
            source_of: Gives the source of orders.
            total: Orders in all; None: nobody knows.
            filing: Where files go that leave.
            all_alike: Whether all orders ask the same.
            oldest_s: Gives the age of the oldest file without a result; None: the journal says.

        Raises:
            PreconditionFailed: Another run works on this folder.
            TriptychError: The services take nothing of this caller, or nothing that asks this.
        """
        from triptych.intake.metrics import Metrics
        from triptych.intake.results import Results
        from triptych.intake.runner import Runner

        self.out.mkdir(parents=True, exist_ok=True)
        with (
            alone(state_folder(self.out, self.state)),
            opened(self.out, self.state) as journal,
            contextlib.closing(Results(self.out, journal, with_table=self.with_table)) as results,
            IntakeDisplay(total, as_json=self.as_json) as display,
        ):

            async def run() -> tuple[Counts, bool]:
                async with self.server.connect_async() as client:
                    source = source_of(display.tell)
                    runner = Runner(
                        client, journal, results, source, filing=filing, tell=display.tell,
                        in_flight=self.in_flight, all_alike=all_alike,
                    )  # fmt: skip
                    display.counts = runner.counts
                    if self.metrics_port is not None:
                        metrics = Metrics(runner.counts, oldest_s or journal.oldest_open_s)
                        port = metrics.serve(self.metrics_host, self.metrics_port)
                        click.echo(f"metrics: http://{self.metrics_host}:{port}/metrics", err=True)
                    return runner.counts, await _until_term(runner.run())

            return asyncio.run(run())


async def _until_term(work: Any) -> bool:
    """Runs something until it ends (true) or SIGTERM comes."""
    task = asyncio.ensure_future(work)
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        told.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told.is_set():
            raise
        return False
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    return True


def state_folder(out: Path, state: Path | None) -> Path:
    """Gives the folder of the journal."""
    return state or out / STATE


@contextlib.contextmanager
def opened(out: Path, state: Path | None, *, must_exist: bool = False) -> Iterator[Journal]:
    """Opens the journal of a folder of results.

    Raises:
        NotFound: There is none, and it must exist.
        PreconditionFailed: It cannot be read or written.
    """
    from triptych.intake.journal import Journal

    folder = state_folder(out, state)
    if must_exist and not (folder / "journal.sqlite").exists():
        raise NotFound(f"{out} is no folder of an intake: there is no journal", metadata={"hint": "say --state"})
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(Journal(folder / "journal.sqlite")) as journal:
            yield journal
    except sqlite3.Error as error:
        raise PreconditionFailed(f"{folder / 'journal.sqlite'}: {error}") from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other runs away; the system takes the lock back when this process dies.

    Raises:
        PreconditionFailed: One is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PreconditionFailed(f"another intake works with {folder}") from None
        yield
