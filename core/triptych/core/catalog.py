"""The models of this deployment: what each is, where its weights come from and whether they are here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path

from triptych.core import manifest
from triptych.core.catalog_file import UNPINNED, ModelEntry, ModelFile, Part, digest_of, parse
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.job_pb2 import JobKind

__all__ = ["Catalog", "ModelEntry", "ModelFile", "Part"]


class Catalog:
    """All models by name: the embedded ones and those of the operator's file, which win.

    Args:
        entries: The models; every name in `uses` has to be among them, with weights of its own.
        models_dir: Folder that holds one folder per pulled model.
    """

    def __init__(self, entries: Iterable[ModelEntry], models_dir: Path) -> None:
        self.models_dir = models_dir
        self._by_name = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
        for entry in self.entries:
            self._check_uses(entry)
        for name, entry in self._by_name.items():
            if entry.uses and not entry.revision:
                # What such a model answers changes with its parts, so its revision does.
                *parts, _ = self.with_parts(name)
                unpinned = UNPINNED in [part.revision for part in parts]
                revision = UNPINNED if unpinned else digest_of([f"{part.name} {part.revision}" for part in parts])
                self._by_name[name] = replace(entry, revision=revision)

    def _check_uses(self, entry: ModelEntry) -> None:
        for name in entry.uses:
            used = self._by_name.get(name)
            if used is None or not used.source:
                raise FieldInvalid(f"models.{entry.name}.uses", f"{name!r} is no model with weights of its own")
            if entry.base and (used.base or used.engine != entry.engine):
                why = "an adapter itself" if used.base else f"of the engine {used.engine!r}, not {entry.engine!r}"
                raise FieldInvalid(f"models.{entry.name}.uses", f"{name!r} is no base of this adapter: it is {why}")

    @classmethod
    def load(cls, settings: Settings) -> Catalog:
        """Reads the embedded models and `settings.models_file`.

        Raises:
            FieldInvalid: The file cannot be read, or an entry is wrong; names file, entry and field.
        """
        models = parse(resources.files("triptych.core").joinpath("models.toml").read_text("utf-8"), "models.toml")
        if settings.models_file:
            try:
                text = settings.models_file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise FieldInvalid("models_file", f"{settings.models_file} cannot be read: {error}") from error
            models |= parse(text, str(settings.models_file))
        return cls(models.values(), settings.models_dir)

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """Every model, by name."""
        return tuple(self._by_name.values())

    def get(self, name: str, kind: JobKind.ValueType | None = None) -> ModelEntry:
        """Gives the model of that name.

        Args:
            name: As a request has it.
            kind: Of job that it is wanted for: if there is none of the name, only such are offered.

        Raises:
            ModelNotFound: There is none; the message has the nearest names.
        """
        if name in self._by_name:
            return self._by_name[name]
        known = [entry.name for entry in self.entries if kind in {None, entry.kind}]
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
        raise ModelNotFound(f"no model is called {name!r}; {hint}", metadata={"model": name, "nearest": ",".join(near)})

    def for_kind(self, kind: JobKind.ValueType) -> tuple[ModelEntry, ...]:
        """Gives the models that serve a kind of job, by name."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def knowing(self, kind: JobKind.ValueType, languages: Iterable[str]) -> tuple[str, ...]:
        """Gives the names of the models of a kind that say that they know all these languages (BCP-47 tags)."""
        tags = list(languages)
        return tuple(entry.name for entry in self.for_kind(kind) if entry.languages and not entry.unknown(tags))

    def with_parts(self, *names: str) -> tuple[ModelEntry, ...]:
        """Gives the models whose weights these need: those that each uses, then itself; none twice."""
        found: dict[str, ModelEntry] = {}
        for name in names:
            entry = self.get(name)
            found |= {part.name: part for part in self.with_parts(*entry.uses)} | {name: entry}
        return tuple(found.values())

    def folder(self, name: str) -> Path:
        """Gives the folder of the model's weights, whether they are there or not."""
        entry = self.get(name)
        if entry.source.startswith("dir:"):
            return Path(entry.source.removeprefix("dir:")).expanduser()
        return self.models_dir / name

    def ready(self, name: str) -> bool:
        """Tells whether the weights, and those of the models it uses, are here in full size. Reads no weights."""
        return all(self._is_here(entry) for entry in self.with_parts(name))

    def disk_bytes(self, name: str) -> int:
        """Gives the size of the weights that are here, with those of the models it uses."""
        return sum(
            path.stat().st_size
            for entry in self.with_parts(name)
            if entry.source
            for path in self._files(entry)
            if path.is_file()
        )

    def ref(self, name: str, engine: str) -> ModelRef:
        """Gives what results say about the model.

        Args:
            name: Name of the model.
            engine: Engine and its version, for example `faster-whisper/1.2.1`.
        """
        entry = self.get(name)
        base = self.ref(entry.base, engine) if entry.base else None
        return ModelRef(model=name, revision=entry.revision, engine=engine, licence=entry.licence, base=base)

    def _files(self, entry: ModelEntry) -> Iterable[Path]:
        folder = self.folder(entry.name)
        if entry.source.startswith("dir:") and entry.files:
            # The folder may hold more than the model.
            return [folder / file.path for file in entry.files]
        return folder.rglob("*")

    def _is_here(self, entry: ModelEntry) -> bool:
        folder = self.folder(entry.name)
        if not entry.source:
            return True
        if entry.source.startswith("dir:"):
            return folder.is_dir() and manifest.has_sizes(folder, entry.files)
        found = manifest.read(folder)
        return found is not None and found.revision == entry.revision and manifest.has_sizes(folder, found.files)
