"""How a failure ends the command: one sentence, a hint, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from triptych.core.errors import TriptychError

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EPILOG = """\b
Exit codes: 0 done; 1 the work, or a part of it, failed; 2 wrong usage;
3 the services cannot be reached or are not ready; 4 not found: the job, the
model, the message, or the answer in the documents; 5 timed out;
130 interrupted."""

_WITHOUT_IT = "--allow-partial of ask, reason and intake goes on without it"


def hint_for(error: TriptychError) -> str:
    """Gives what the user can do about it; empty if nobody knows."""
    from triptych.core import errors

    hints: list[tuple[type[TriptychError], str]] = [
        (errors.NoWorker, "`triptych status` shows which workers run"),
        (errors.Unavailable, "start a stack with `triptych up`, or name one with --target or TRIPTYCH_TARGET"),
        (errors.Unauthenticated, "give a key with --api-key or TRIPTYCH_API_KEY"),
        (errors.ModelNotFound, "`triptych models list` shows what there is"),
        (errors.BlobNotFound, "results and inputs are kept for a day"),
        (errors.JobNotFound, "`triptych jobs list` shows what there is; ended jobs are kept for a day"),
        (errors.DeliveryNotFound, "`triptych webhooks list` shows what is not taken yet"),
        (errors.TimedOut, "allow more with --timeout"),
        (errors.QueueFull, "the services are busy; try again later"),
        (errors.HostExhausted, "the host of the services needs more room; `triptych doctor` there says where"),
        (errors.MediaTypeUnsupported, _reader_hint(error.message)),
        (errors.InputTooLarge, "split it; docs/inputs.md, Bounds, lists what is read at most"),
        (errors.MediaEncrypted, "give the password with --password or TRIPTYCH_PASSWORD"),
    ]
    # Of a job that failed for what failed inside of it, the hint of that.
    cause = error.metadata.get("reason", "") if isinstance(error, errors.StageFailed) else ""
    found = (hint for cls, hint in hints if (cls.reason == cause if cause else isinstance(error, cls)))
    hint = error.metadata.get("hint") or next(found, "")
    # "d1.2" is in "d1".
    if cause and "." in error.metadata.get("document_id", ""):
        return f"{hint}; or {_WITHOUT_IT}" if hint else _WITHOUT_IT
    return hint


def _reader_hint(message: str) -> str:
    """Gives what to do about a type that the command cannot read."""
    if message.endswith("reads a PDF or an image"):
        return "`triptych transcribe` reads audio and video, `triptych ask` reads all of them"
    if message.endswith("reads audio or video"):
        return "`triptych ocr` reads PDFs and images, `triptych ask` reads all of them"
    if "save it" in message or "make it" in message:
        return ""
    return "give a text an ending such as .txt; docs/inputs.md lists what can be read"


def exit_code_of(error: TriptychError) -> int:
    """Gives the exit code for an error."""
    from triptych.core import errors

    if isinstance(error, errors.Unavailable):
        return UNREACHABLE
    if isinstance(error, errors.NotFound):
        return NOT_FOUND
    if isinstance(error, errors.FieldInvalid | errors.SchemaInvalid):
        return USAGE
    return TIMED_OUT if isinstance(error, errors.TimedOut) else FAILED


def facts_of(error: TriptychError) -> dict[str, Any]:
    """Gives an error as programs get it."""
    return {"reason": error.reason, "message": error.message, "hint": hint_for(error), "metadata": error.metadata}


def end_with(context: click.Context, error: TriptychError) -> NoReturn:
    """Says what went wrong, to people on standard error or with --json as an object, and ends the command."""
    if _wants_json(context):
        _echo_failure(facts_of(error))
    else:
        click.secho(f"error: {error.message}", fg="red", err=True)
        if hint := hint_for(error):
            click.echo(f"hint: {hint}", err=True)
    context.exit(exit_code_of(error))


def end_with_usage(context: click.Context, error: click.UsageError) -> NoReturn:
    """Ends the command after wrong arguments: click says it to people, an object says it to programs."""
    if not _wants_json(context):
        raise error
    where = error.ctx.command_path if error.ctx else "triptych"
    facts = {"reason": "FIELD_INVALID", "message": error.format_message(), "hint": f"{where} --help", "metadata": {}}
    _echo_failure(facts)
    context.exit(USAGE)


def _wants_json(context: click.Context) -> bool:
    return bool(context.find_root().meta.get("triptych.json"))


def _echo_failure(facts: dict[str, Any]) -> None:
    click.echo(json.dumps({"error": facts}, ensure_ascii=False, indent=2))
