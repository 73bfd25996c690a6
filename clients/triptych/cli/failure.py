"""How a failure ends the command: one sentence, a hint, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from triptych.core.errors import TriptychError

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EPILOG = """\b
Exit codes: 0 done; 1 the work, or a part of it, failed; 2 wrong usage;
3 the services cannot be reached or are not ready; 4 not found: the job, the
model, or the answer in the documents; 5 timed out; 130 interrupted."""


def hint_for(error: TriptychError) -> str:
    """Gives what the user can do about it; empty if nobody knows."""
    from triptych.core import errors

    hints: list[tuple[type[TriptychError], str]] = [
        (errors.NoWorker, "`triptych status` shows which workers run"),
        (errors.Unavailable, "start a stack with `triptych up`, or name one with --target or TRIPTYCH_TARGET"),
        (errors.Unauthenticated, "give a key with --api-key or TRIPTYCH_API_KEY"),
        (errors.ModelNotFound, "`triptych models list` shows what there is"),
        (errors.JobNotFound, "`triptych jobs list` shows what there is; ended jobs are kept for a day"),
        (errors.TimedOut, "allow more with --timeout"),
        (errors.QueueFull, "the services are busy; try again later"),
        (errors.MediaTypeUnsupported, "audio, video, PDF, PNG, JPEG, WebP, TIFF and BMP can be read"),
        (errors.MediaEncrypted, "remove the password first"),
    ]
    if "hint" in error.metadata:
        return error.metadata["hint"]
    return next((hint for cls, hint in hints if isinstance(error, cls)), "")


def exit_code_of(error: TriptychError) -> int:
    """Gives the exit code for an error."""
    from triptych.core import errors

    if isinstance(error, errors.Unavailable):
        return UNREACHABLE
    if isinstance(error, errors.NotFound):
        return NOT_FOUND
    if error.metadata.get("field", "").startswith("TRIPTYCH_"):
        return USAGE
    return TIMED_OUT if isinstance(error, errors.TimedOut) else FAILED


def end_with(context: click.Context, error: TriptychError) -> NoReturn:
    """Says what went wrong, to people on standard error or with --json as an object, and ends the command."""
    hint = hint_for(error)
    if context.find_root().meta.get("triptych.json"):
        facts = {"reason": error.reason, "message": error.message, "hint": hint, "metadata": error.metadata}
        click.echo(json.dumps({"error": facts}, ensure_ascii=False, indent=2))
    else:
        click.secho(f"error: {error.message}", fg="red", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    context.exit(exit_code_of(error))
