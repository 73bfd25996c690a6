"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triptych.cli.connection import Server

if TYPE_CHECKING:
    from triptych.v1.common_pb2 import PageRange

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class NamedFolder(click.Path):
    """A folder; the empty name, of a variable that is not set say, does not stand for the current one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Gives the path."""
        if value == "":
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


def _remember_json(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    context.find_root().meta["triptych.json"] = value
    return value


def _asked_password(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    return click.prompt("Password", hide_input=True, err=True) if value == "-" else value


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Write JSON for programs."
)
state_dir_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the stack; one folder is one stack. [env: TRIPTYCH_STATE_DIR]",
)
pages_option = click.option("--pages", default="", metavar="1-3,5", help="Pages to use, from 1; default: all.")
render_option = click.option(
    "--render",
    type=NamedFolder(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write a report to open in a browser: evidence boxed on its pages, sounds played where they are cited.",
)
language_option = click.option(
    "--language", default="", metavar="TAG", help="Language, such as en or de; default: found out."
)
model_option = click.option("--model", default="", metavar="NAME", help="Model; default: the server's.")
words_option = click.option("--words", is_flag=True, help="Also give every word with its place.")
password_option = click.option(
    "--password", default="", envvar="TRIPTYCH_PASSWORD", metavar="TEXT", callback=_asked_password,
    help="Password of encrypted PDFs; - asks for it, so that no list of processes shows it. [env: TRIPTYCH_PASSWORD]",
)  # fmt: skip
data_class_option = click.option(
    "--data-class", type=click.Choice(("public", "internal", "confidential", "restricted")),
    help="How closely the bytes are to be kept: decides whether a model outside may see them; restricted never leaves.",
)  # fmt: skip
timeout_option = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=600, show_default=True, metavar="S",
    help="Longest wait in seconds; then the job is cancelled.",
)  # fmt: skip
allow_partial_option = click.option(
    "--allow-partial", is_flag=True,
    help="Go on without documents that cannot be read, such as an attachment; the result says which, and why.",
)  # fmt: skip
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
file_type = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says where the services are, and who asks: the command's argument `server`."""

    @functools.wraps(command)
    def with_server(*args: Any, target: str, api_key: str, state_dir: Path | None, **others: Any) -> None:
        command(*args, server=Server(target=target, api_key=api_key, state_dir=state_dir), **others)

    for option in (
        state_dir_option,
        click.option("--api-key", default="", metavar="KEY", help="Key of the caller. [env: TRIPTYCH_API_KEY]"),
        click.option(
            "--target", default="", metavar="HOST:PORT", help="Address of the services. [env: TRIPTYCH_TARGET]"
        ),
    ):
        with_server = option(with_server)
    return with_server


def limit_option(what: str) -> Callable[[CommandT], CommandT]:
    """Adds how many of them are listed at most."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=20, show_default=True, help=f"{what.capitalize()} at most."
    )


def schema_in(path: Path) -> str:
    """Gives the JSON Schema in the file of --schema.

    Raises:
        click.BadParameter: It is empty, or no text.
    """
    try:
        schema = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{path} is not in UTF-8", param_hint="--schema") from error
    if not schema:
        # It would be sent as if none were given.
        raise click.BadParameter(f"{path} is empty", param_hint="--schema")
    return schema


def job_name(text: str) -> str:
    """Gives the name of a job of which the user said the name or the id."""
    return text if text.startswith("jobs/") else f"jobs/{text}"


def page_ranges(text: str) -> list[PageRange]:
    """Reads "1-3,5,7-" as page ranges.

    Raises:
        click.BadParameter: It does not look like that.
    """
    from triptych.v1.common_pb2 import PageRange

    ranges = []
    for part in filter(None, text.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or int(first) < 1:
            raise click.BadParameter(f"{part!r} is no range of pages such as 2, 1-3 or 4-", param_hint="--pages")
        last_page = int(last) if last else (0 if dash else int(first))
        if last_page and last_page < int(first):
            raise click.BadParameter(f"{part!r} runs backwards", param_hint="--pages")
        ranges.append(PageRange(first_page=int(first), last_page=last_page))
    return ranges


def question_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what every question over documents takes, whichever pipeline answers it."""
    for option in (
        json_option, server_options, timeout_option, data_class_option, render_option, allow_partial_option,
        language_option, model_option, password_option, pages_option,
    ):  # fmt: skip
        command = option(command)
    return command
