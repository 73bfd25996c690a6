"""`triptych models`: which models there are, bringing their weights, and proving them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, NoReturn, Self

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from triptych.core import manifest, weights
from triptych.core.catalog import Catalog, ModelEntry
from triptych.core.errors import TriptychError
from triptych.core.settings import Settings
from triptych.core.weights import PullEvent


@click.group()
def models() -> None:
    """Lists, pulls and verifies models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, with every file and digest.")
def list_models(*, as_json: bool) -> None:
    """Lists the models: those that come with Triptych and those of TRIPTYCH_MODELS_FILE."""
    settings, catalog = _open()
    defaults = _defaults(settings)
    rows = [_row(catalog, entry, is_default=entry.name in defaults) for entry in catalog.entries]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif sys.stdout.isatty():
        table = Table("model", "kind", "engine", "here", "download", "licence", "what", box=None, header_style="bold")
        for row in rows:
            here = "[green]yes[/]" if row["ready"] else "no"
            name = f"{row['name']} [dim](default)[/]" if row["is_default"] else row["name"]
            size = _megabytes(row["size_bytes"])
            table.add_row(name, row["kind"], row["engine"], here, size, row["licence"], row["about"])
        Console().print(table)
    else:
        for row in rows:
            here = "ready" if row["ready"] else "absent"
            fields = (row["name"], row["kind"], row["engine"], here, str(row["size_bytes"]), row["licence"])
            click.echo("\t".join((*fields, row["revision"], row["source"])))


@models.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of what is here afterwards.")
def pull(names: tuple[str, ...], *, as_json: bool) -> None:
    """Brings the weights of NAMES, and of the models they use; without NAMES those of the defaults.

    What is here already is not fetched again, and a pull that was interrupted goes on where it stopped.
    """
    settings, catalog = _open()
    names = names or _defaults(settings)
    # The workers know how to convert; whether they could is asked before anything is downloaded.
    from triptych.workers import conversion

    try:
        entries = {entry.name: entry for name in names for entry in catalog.with_parts(name)}
        for entry in entries.values():
            if entry.convert and not catalog.ready(entry.name):
                conversion.require(entry.convert)
        with _Display() as display:
            for name in entries:
                index_url = settings.package_index_url
                weights.pull(catalog, name, index_url=index_url, convert=conversion.convert, notify=display.show)
    except (TriptychError, OSError) as error:
        _fail(error)
    if as_json:
        found = [{"name": name, "folder": str(catalog.folder(name)), "ready": catalog.ready(name)} for name in entries]
        click.echo(json.dumps(found, indent=2))


@models.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of what is wrong; empty: nothing.")
def verify(names: tuple[str, ...], *, as_json: bool) -> None:
    """Hashes every file of NAMES again (without NAMES: of the defaults) and exits with 1 if one is not as pulled."""
    settings, catalog = _open()
    try:
        entries = {entry.name: entry for name in names or _defaults(settings) for entry in catalog.with_parts(name)}
        # A model that is made of others has nothing to hash; its parts are in the list themselves.
        faults = [
            fault for entry in entries.values() if not entry.uses for fault in weights.verify(catalog, entry.name)
        ]
    except (TriptychError, OSError) as error:
        _fail(error)
    if as_json:
        wrong = [{"model": fault.model, "file": fault.file, "problem": fault.problem} for fault in faults]
        click.echo(json.dumps(wrong, indent=2))
    else:
        bad = {fault.model for fault in faults}
        for entry in entries.values():
            if entry.name not in bad and not bad & set(entry.uses):
                click.echo(f"{entry.name}: as it should be")
        for fault in faults:
            click.echo(f"{fault.model}: {fault.file + ': ' if fault.file else ''}{fault.problem}", err=True)
    if faults:
        raise SystemExit(1)


class _Display:
    """Shows a pull: a bar per model on a terminal, a line per finished file in a pipe. Both on standard error."""

    def __init__(self) -> None:
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, console=Console(stderr=True))

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, event: PullEvent) -> None:
        """Shows one event; may be called from any thread."""
        if self._progress:
            self._draw(self._progress, event)
        elif event.stage == "waiting":
            click.echo(f"{event.model}: another process pulls it; waiting", err=True)
        elif event.stage != "downloading":
            click.echo(f"{event.model}: {event.stage} {event.what}".rstrip(), err=True)

    def _draw(self, progress: Progress, event: PullEvent) -> None:
        bar = self._bars.get(event.model)
        if bar is None:
            bar = self._bars[event.model] = progress.add_task(event.model, total=None)
        if event.stage == "downloading":
            progress.update(bar, completed=event.done_bytes, total=event.total_bytes or None)
        elif event.stage == "ready":
            total = progress.tasks[bar].total or 1
            progress.update(bar, description=f"{event.model} [green]ready[/]", completed=total, total=total)
        elif event.stage != "downloaded":
            progress.update(bar, description=f"{event.model} [dim]{event.stage}[/]")


def _open() -> tuple[Settings, Catalog]:
    settings = Settings()
    try:
        return settings, Catalog.load(settings)
    except TriptychError as error:
        _fail(error)


def _defaults(settings: Settings) -> tuple[str, ...]:
    return (settings.speech_model, settings.ocr_model, settings.vision_model)


def _row(catalog: Catalog, entry: ModelEntry, *, is_default: bool) -> dict[str, Any]:
    found = manifest.read(catalog.folder(entry.name)) if entry.source else None
    return {
        "name": entry.name,
        "kind": entry.kind_name,
        "engine": entry.engine,
        "is_default": is_default,
        "ready": catalog.ready(entry.name),
        "source": entry.source,
        "revision": entry.revision,
        "licence": entry.licence,
        "about": entry.about,
        "confirmed": entry.confirmed,
        "uses": list(entry.uses),
        "size_bytes": sum(part.size_bytes for part in catalog.with_parts(entry.name)),
        "folder": str(catalog.folder(entry.name)) if entry.source else "",
        "files": _files(entry.files),
        "files_on_disk": _files(found.files) if found else [],
    }


def _files(files: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in files]


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def _fail(error: Exception) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    raise SystemExit(1)
