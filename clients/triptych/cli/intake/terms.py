"""Options that say what is asked about every file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from triptych.cli import options
from triptych.cli.submit import PRIORITIES
from triptych.core.errors import FieldInvalid

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

# In an intake a job waits for as long as others come first; an hour, the server's own default, is soon over.
_QUEUE_TIMEOUT = "86400s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked about a file that does not say itself, as fields of a manifest's line."""

    fields: dict[str, Any]

    def of(self, line: dict[str, Any]) -> dict[str, Any]:
        """Gives a line with what it does not say itself; of another kind, or with a whole `spec`, it says all."""
        kind = self.fields["kind"]
        alike = "spec" not in line and line.get("kind", kind) == kind
        whole = {**(self.fields if alike else {}), **line}
        whole["options"] = {**self.fields["options"], **_object(line, "options")}
        if labels := {**self.fields.get("labels", {}), **_object(line, "labels")}:
            whole["labels"] = labels
        return whole


def _object(line: dict[str, Any], name: str) -> dict[str, Any]:
    value = line.get(name, {})
    if not isinstance(value, dict):
        raise FieldInvalid(name, "must be an object")
    return value


def terms_options(command: CommandT) -> CommandT:
    """Adds the options; `terms_of` reads them."""
    for option in reversed((
        click.option(
            "--kind", type=click.Choice(("reasoning", "ocr", "transcription", "vision")), default="reasoning",
            show_default=True, help="What is done with a file.",
        ),
        click.option("--pipeline", default="", metavar="NAME", help="Plan of a reasoning; default: the server's."),
        click.option("--question", default="", metavar="TEXT", help="What to find out, or what to ask of an image."),
        click.option("--schema", type=options.file_type, metavar="FILE", help="JSON Schema of what is extracted."),
        options.model_option,
        options.language_option,
        options.pages_option,
        click.option(
            "--allow-partial/--no-allow-partial", default=None,
            help="Go on without what cannot be read in a file, such as an attachment; default: only `mail` does.",
        ),
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the jobs; may be repeated."),
        click.option("--webhook", default="", metavar="URL", help="Told by the services of the end of each job."),
        click.option(
            "--priority", type=click.Choice(PRIORITIES), default="batch", show_default=True, help="Lane of the jobs."
        ),
        options.data_class_option,
    )):  # fmt: skip
        command = option(command)
    return command


def terms_of(
    *,
    kind: str,
    pipeline: str,
    question: str,
    schema: Path | None,
    model: str,
    language: str,
    pages: str,
    allow_partial: bool | None,
    labels: tuple[str, ...],
    webhook: str,
    priority: str,
    data_class: str | None,
) -> Terms:
    """Gives what the options say.

    Raises:
        click.UsageError: One of them makes no sense.
    """
    if allow_partial is not None and kind != "reasoning":
        raise click.BadParameter(f"has no meaning for {kind}", param_hint="--allow-partial")
    fields: dict[str, Any] = {
        "kind": kind,
        "prompt" if kind == "vision" else "question": question,
        "pipeline": pipeline,
        "pages": pages,
        "config": _config(kind, model, language, allow_partial=bool(allow_partial)),
        "labels": dict(_pair(label) for label in labels),
    }
    if schema:
        try:
            fields["schema"] = json.loads(schema.read_bytes())
        except ValueError as error:
            raise click.BadParameter(f"{schema}: {error}", param_hint="--schema") from None
    options_of_jobs: dict[str, Any] = {
        "priority": f"JOB_PRIORITY_{priority.upper()}",
        "queue_timeout": _QUEUE_TIMEOUT,
    }
    if webhook:
        options_of_jobs["webhook"] = {"url": webhook}
    if data_class:
        options_of_jobs["data_class"] = f"DATA_CLASS_{data_class.upper()}"
    return Terms(fields={name: value for name, value in fields.items() if value} | {"options": options_of_jobs})


def said_of(error: FieldInvalid) -> str:
    """Gives what is wrong with a request, and the options that would mend it where one is missing."""
    missing = {
        "prompt: is missing": "--question",
        "question: is missing": "--question, --pipeline or --schema",
    }.get(error.message)
    return f"{error.message}; give {missing}" if missing else error.message


def _config(kind: str, model: str, language: str, *, allow_partial: bool) -> dict[str, Any]:
    spoken: dict[str, Any] = {"language_code": language} if language else {}
    written: dict[str, Any] = {"language_codes": [language]} if language else {}
    if kind == "reasoning":
        parts = {"ocr": written, "transcription": spoken, "generation": {"model": model} if model else {}}
        partial = {"allow_partial_documents": True} if allow_partial else {}
        return {name: part for name, part in parts.items() if part} | partial
    named: dict[str, Any] = {"model": model} if model else {}
    return named | {"ocr": written, "transcription": spoken, "vision": {}}[kind]


def _pair(label: str) -> tuple[str, str]:
    key, is_pair, value = label.partition("=")
    if not is_pair:
        raise click.BadParameter(f"{label!r} is no KEY=VALUE", param_hint="--label")
    return key, value
