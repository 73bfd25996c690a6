"""`triptych intake`: files and messages in, results out, each exactly once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from triptych.cli.failure import FAILED
from triptych.cli.intake.desk import Desk, desk_options, opened, out_argument, state_option
from triptych.cli.intake.display import summary
from triptych.cli.intake.terms import Terms, said_of, terms_of, terms_options
from triptych.cli.options import json_option
from triptych.cli.printing import age, echo_json

_DESK = ("out", "state", "with_table", "in_flight", "metrics_port", "metrics_host", "server", "as_json")
_TERMS = (
    "kind", "pipeline", "question", "schema", "model", "language", "pages", "allow_partial", "labels", "webhook",
    "priority", "data_class",
)  # fmt: skip
folder_type = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def intake() -> None:
    """Takes in files from a folder, a manifest or a mailbox; every one gets exactly one result.

    A run that is killed at any place goes on where it stopped when the same command is given again. Bytes that came
    before, asked the same, cost no job.
    """


def _asking(*, allow_partial: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options of all runs: the command's arguments `desk` and `terms`.

    Args:
        allow_partial: Whether questions go on without what cannot be read, if nobody says.
    """

    def asking(command: Callable[..., None]) -> Callable[..., None]:
        @terms_options
        @desk_options
        @functools.wraps(command)
        def with_both(**said: Any) -> None:
            desk = Desk(**{name: said.pop(name) for name in _DESK})
            if allow_partial and said["allow_partial"] is None and said["kind"] == "reasoning":
                said["allow_partial"] = True
            command(desk=desk, terms=terms_of(**{name: said.pop(name) for name in _TERMS}), **said)

        return with_both

    return asking


@intake.command()
@click.argument("folder", type=folder_type)
@click.option(
    "--settle", "settle_s", type=click.FloatRange(min=0), default=2, show_default=True, metavar="S",
    help="A file is whole when it has not changed for so long, in seconds.",
)  # fmt: skip
@click.option("--recursive", is_flag=True, help="Also watch the folders in it.")
@click.option(
    "--poll", "poll_s", type=click.FloatRange(min=0.1), metavar="S",
    help="Look every S seconds and ask for no notices: for network file systems.",
)  # fmt: skip
@click.option("--done", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Default: FOLDER/done.")
@click.option(
    "--failed", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Default: FOLDER/failed."
)
@_asking()
def watch(
    *,
    folder: Path,
    settle_s: float,
    recursive: bool,
    poll_s: float | None,
    done: Path | None,
    failed: Path | None,
    desk: Desk,
    terms: Terms,
) -> None:
    """Watches FOLDER, and moves every file to done/ or failed/ when its result is in --out.

    Ends with SIGTERM or Ctrl-C only, or if the services refuse what is asked.
    """
    from triptych.cli.intake.listing import order_of
    from triptych.core.errors import FieldInvalid
    from triptych.intake.filing import Filing
    from triptych.intake.folder import Folder
    from triptych.intake.settling import Settling

    folder = folder.resolve()
    filing = Filing(done=(done or folder / "done").resolve(), failed=(failed or folder / "failed").resolve())
    try:
        order_of("any", folder / "any", terms, leaves=True)
    except FieldInvalid as error:
        raise click.UsageError(said_of(error)) from None
    left_out = (filing.done, filing.failed, *desk.folders(folder))
    for target in (filing.done, filing.failed):
        if target == folder:
            raise click.UsageError("files that are done have to leave the folder that is watched")
        target.mkdir(parents=True, exist_ok=True)
    settling = Settling(folder, settle_s=settle_s, recursive=recursive, left_out=left_out)
    counts, _ = desk.run(
        lambda tell: Folder(
            folder,
            settling,
            lambda path: order_of(str(path.relative_to(folder)), path, terms, leaves=True),
            tell=tell,
            poll_s=poll_s,
        ),
        filing=filing,
        all_alike=True,
        oldest_s=settling.oldest_s,
    )
    click.echo(f"{summary(counts)}; the same command goes on", err=True)


@intake.command()
@click.argument("sources", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@_asking()
@click.pass_context
def run(context: click.Context, *, sources: tuple[Path, ...], desk: Desk, terms: Terms) -> None:
    """Does what SOURCES say, then ends: manifests (.jsonl, .csv), folders, files.

    A line of a .jsonl is as for `triptych submit`; a .csv has the same fields as columns, several `files` with
    semicolons between, and `label:KEY`. What a line does not say, the options say. Files stay where they are.
    """
    from triptych.cli.intake.listing import listed

    own = [path for source in sources if source.is_dir() for path in desk.folders(source)]
    _run_all(context, desk, listed(sources, terms, left_out=own))


@intake.command()
@click.argument("mailboxes", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@_asking(allow_partial=True)
@click.pass_context
def mail(context: click.Context, *, mailboxes: tuple[Path, ...], desk: Desk, terms: Terms) -> None:
    """Asks about every message of MAILBOXES (.eml, mbox, Maildir), its attachments with it, then ends.

    An attachment that cannot be read costs only itself (--no-allow-partial: the message). Messages are kept
    in --out, as evidence refers to them.
    """
    from triptych.cli.intake.listing import order_of
    from triptych.core.errors import FieldInvalid
    from triptych.intake.mails import split
    from triptych.intake.order import Order

    def orders() -> Iterator[Order]:
        for mailbox in mailboxes:
            for name, file in split(mailbox, desk.out / "messages"):
                yield order_of(name, file, terms)

    try:
        _run_all(context, desk, list(orders()))
    except FieldInvalid as error:
        raise click.UsageError(said_of(error)) from None


def _run_all(context: click.Context, desk: Desk, orders: list[Any]) -> None:
    from triptych.intake.source import Listed

    counts, to_the_end = desk.run(lambda _: Listed(orders), total=len(orders), all_alike=False)
    if desk.as_json:
        numbers = {
            "order_count": len(orders),
            "done_count": counts.done,
            "failed_count": counts.failed,
            "earlier_count": counts.earlier,
            "unread_count": counts.put_back + counts.gone,
        }
        echo_json(numbers, one_line=True)
    else:
        click.echo(f"{len(orders)} orders: {summary(counts)}", err=True)
    if not to_the_end or counts.failed or counts.earlier_failed or counts.put_back or counts.gone:
        context.exit(FAILED)


@intake.command()
@out_argument
@state_option
@json_option
@click.pass_context
def status(context: click.Context, *, out: Path, state: Path | None, as_json: bool) -> None:
    """Says how far the intake of OUT is, and what failed; ends with 1 if something did."""
    with opened(out, state, must_exist=True) as journal:
        counts, failures, oldest_s = journal.counts(), journal.failures(), journal.oldest_open_s()
    if as_json:
        echo_json({**counts, "oldest_open_s": round(oldest_s, 3), "failures": failures})
    else:
        for name, count in counts.items():
            click.echo(f"{name.removesuffix('_count')}: {count}")
        if counts["open_count"]:
            click.echo(f"oldest open: {age(oldest_s)}")
        for failure in failures:
            error = failure["error"]
            click.echo(f"failed: {failure['name']}: {error['reason']}: {error['message']}")
    if failures:
        context.exit(FAILED)


@intake.command()
@out_argument
@state_option
@json_option
def retry(*, out: Path, state: Path | None, as_json: bool) -> None:
    """Lets all that failed in OUT be done again.

    Files go back to the folder that is watched; what a manifest named is done again when `run` is given again.
    """
    from triptych.intake.filing import move_back

    with opened(out, state, must_exist=True) as journal:
        count = journal.again(move_back)
    if as_json:
        echo_json({"retried_count": count})
    else:
        click.echo(f"{count} to be done again")
