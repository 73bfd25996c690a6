"""One line of a manifest: what it says, and the specification that comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from google.protobuf import json_format
from google.protobuf.message import Message

from triptych.cli.options import page_ranges
from triptych.client import specs
from triptych.client.inputs import LocalInput
from triptych.core.errors import FieldInvalid
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import JobOptions, JobSpec
from triptych.v1.ocr_pb2 import OcrConfig
from triptych.v1.reasoning_pb2 import ReasoningConfig
from triptych.v1.transcription_pb2 import TranscriptionConfig
from triptych.v1.vision_pb2 import GenerationConfig

MessageT = TypeVar("MessageT", bound=Message)

KINDS = ("ocr", "transcription", "vision", "reasoning")
# What has a meaning for some kinds only.
_KINDS_OF = {
    "question": ("reasoning",),
    "prompt": ("vision",),
    "pipeline": ("reasoning",),
    "schema": ("reasoning",),
    "pages": ("ocr", "reasoning"),
}
# What makes a specification; a line has these or a whole `spec`.
_PARTS = ("kind", "question", "prompt", "pipeline", "schema", "pages", "config")
FIELDS = ("id", *_PARTS, "spec", "file", "files", "labels", "options", "request_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a manifest.

    Attributes:
        line: Its number, from 1.
        id: The user's own name for it; may be empty.
        spec: What to do; the inputs that have no source yet are those for `files`, in order.
        files: Paths of the inputs.
        options: As the user gave them.
        request_id: The user's own; empty: one is derived.
        content: What the line says, however it was written.
    """

    line: int
    id: str
    spec: JobSpec
    files: tuple[Path, ...]
    options: JobOptions
    request_id: str
    content: bytes

    def file_digests(self) -> list[str]:
        """Hashes the files: blocks.

        Raises:
            FieldInvalid: One is gone.
        """
        return [LocalInput.of(path).sha256() for path in self.files]

    def digest(self, file_digests: Sequence[str]) -> str:
        """Names the line by what it says and by the bytes of its files."""
        return hashlib.sha256(b"\0".join((self.content, *map(str.encode, file_digests)))).hexdigest()

    def spec_of(self, sources: Sequence[InputSource]) -> JobSpec:
        """Gives the specification with the files' bytes, or where they are, in their places."""
        return specs.filled(self.spec, sources)


def entry_of(number: int, text: bytes, folder: Path, *, known: Sequence[str] = FIELDS) -> Entry:
    """Reads one line.

    Args:
        number: Of the line.
        text: The line.
        folder: Where relative paths begin.
        known: Fields that it may have.

    Raises:
        FieldInvalid: It is no JSON object, or a field is missing or wrong.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FieldInvalid("json", str(error)) from None
    need(isinstance(fields, dict), "json", "must be an object")
    for name in fields:
        need(name in known, name, f"is none of the fields {', '.join(known)}")
    need(not ("file" in fields and "files" in fields), "file", "stands beside files")
    names = fields.get("files", [fields["file"]] if "file" in fields else [])
    need(isinstance(names, list) and all(isinstance(name, str) for name in names), "files", "must be paths")
    if "schema" in fields:
        # What the file says now, not what it is called, is what the line says.
        fields["schema"] = _schema(fields["schema"], folder)
    return Entry(
        line=number,
        id=_text(fields, "id"),
        spec=_spec(fields, len(names)),
        files=tuple(folder / name for name in names),
        options=_options(fields),
        request_id=_text(fields, "request_id"),
        content=json.dumps(fields, sort_keys=True).encode(),
    )


def _spec(fields: dict[str, Any], file_count: int) -> JobSpec:
    if "spec" not in fields:
        spec = _spec_of_parts(fields, [InputSource() for _ in range(file_count)])
    else:
        for name in _PARTS:
            need(name not in fields, name, "stands beside spec, which says it all")
        spec = _message(JobSpec(), fields["spec"], "spec")
        need(spec.WhichOneof("spec") is not None, "spec", f"has none of {', '.join(KINDS)}")
    places = len(specs.open_inputs(spec))
    need(places == file_count, "files", f"{file_count} for {places} inputs that have no source")
    return spec


def _spec_of_parts(fields: dict[str, Any], sources: list[InputSource]) -> JobSpec:
    kind = _text(fields, "kind")
    need(kind in KINDS, "kind", f"must be one of {', '.join(KINDS)}")
    for name, kinds in _KINDS_OF.items():
        need(name not in fields or kind in kinds, name, f"has no meaning for {kind}")
    config, pages = fields.get("config", {}), _pages(_text(fields, "pages"))
    if kind == "vision":
        prompt = _text(fields, "prompt")
        need(bool(prompt), "prompt", "is missing")
        return specs.vision(prompt, sources, _message(GenerationConfig(), config, "config"))
    if kind == "reasoning":
        question, pipeline = _text(fields, "question"), _text(fields, "pipeline")
        schema = json.dumps(fields["schema"], ensure_ascii=False) if "schema" in fields else ""
        # Which pipelines do without a question know the services.
        need(bool(question or pipeline or schema), "question", "is missing")
        need(bool(sources), "files", "is missing")
        options = _message(ReasoningConfig(), config, "config")
        return specs.reasoning(question, sources, options, pages=pages, pipeline=pipeline, output_json_schema=schema)
    need(len(sources) == 1, "file", f"{kind} reads one file, not {len(sources)}")
    if kind == "ocr":
        return specs.ocr(sources[0], _message(OcrConfig(), config, "config"), pages)
    return specs.transcription(sources[0], _message(TranscriptionConfig(), config, "config"))


def _schema(said: Any, folder: Path) -> dict[str, Any]:
    """The schema of a line, which is there or in a file."""
    schema = said
    if isinstance(said, str):
        try:
            schema = json.loads((folder / said).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise FieldInvalid("schema", f"{said}: {error}") from None
    need(isinstance(schema, dict), "schema", "must be an object or the path of a file with one")
    return dict(schema)


def _options(fields: dict[str, Any]) -> JobOptions:
    options = _message(JobOptions(), fields.get("options", {}), "options")
    if "labels" in fields:
        need(not options.labels, "labels", "stands beside options.labels")
        _message(options, {"labels": fields["labels"]}, "labels")
    return options


def _pages(text: str) -> list[PageRange]:
    try:
        return page_ranges(text)
    except click.BadParameter as error:
        raise FieldInvalid("pages", error.message) from None


def _message(message: MessageT, value: Any, field: str) -> MessageT:
    need(isinstance(value, dict), field, "must be an object")
    try:
        return json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        raise FieldInvalid(field, str(error).partition("\n")[0]) from None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    need(isinstance(value, str), name, "must be text")
    return str(value)


def need(holds: bool, field: str, message: str) -> None:
    """Asks that something about a line holds.

    Raises:
        FieldInvalid: It does not.
    """
    if not holds:
        raise FieldInvalid(field, message)
