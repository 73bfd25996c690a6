"""The models that one worker serves, each loaded when it is first wanted."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.core.records import KINDS
from triptych.core.settings import Settings
from triptych.workers import metrics
from triptych.workers.engines import registry
from triptych.workers.station import Station

log = logging.getLogger("triptych.stations")


class Stations:
    """Loaded engines by model name.

    Args:
        settings: Threads, device and bounds of batches.
        kind: Kind of job; only models of it are served.
        catalog: Where the models are.
    """

    def __init__(self, settings: Settings, kind: str, catalog: Catalog) -> None:
        self._settings = settings
        self._kind = kind
        self._catalog = catalog
        self._loaded: dict[str, Station[Any, Any]] = {}
        # One lock for all models: two loads at once would only make both slower, and need the memory of both.
        self._loading = threading.Lock()
        defaults = {"transcription": settings.speech_model, "ocr": settings.ocr_model, "vision": settings.vision_model}
        self.default: str = defaults[kind]

    def names(self) -> list[str]:
        """Gives the models that this worker can serve: those of its kind whose weights are here."""
        return [entry.name for entry in self._catalog.for_kind(KINDS[self._kind]) if self._catalog.ready(entry.name)]

    def get(self, name: str = "") -> Station[Any, Any]:
        """Gives the station of a model, loading it first if need be.

        Raises:
            ModelNotFound: No such model, or its weights are not on this machine.
            FieldInvalid: The model is of another kind.
        """
        name = name or self.default
        station = self._loaded.get(name)
        if station is not None:
            return station
        entry = self._catalog.get(name)
        if entry.kind != KINDS[self._kind]:
            raise FieldInvalid("config.model", f"{name} does no {self._kind}")
        if not self._catalog.ready(name):
            raise ModelNotFound(f"the weights of {name} are not on this machine; `triptych models pull {name}`")
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def stop(self) -> None:
        """Lets every batcher finish what it has, then ends it."""
        for station in self._loaded.values():
            station.stop()

    def _load(self, name: str) -> Station[Any, Any]:
        began = time.monotonic()
        engine = registry.build(name, self._catalog, self._settings)
        engine.load()
        engine.warm_up()
        station = Station(engine, registry.policy(name, self._catalog, self._settings), metrics.count_batch)
        station.start()
        log.info("model loaded", extra={"model": name, "seconds": round(time.monotonic() - began, 1)})
        return station
