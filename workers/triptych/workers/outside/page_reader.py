"""Recognizes the words of pages for redaction, with this deployment's OCR model, loaded when it is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from triptych.core.errors import EgressDenied
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.engines.generation import Pixels
from triptych.workers.station import Station

if TYPE_CHECKING:
    from triptych.core.catalog import Catalog
    from triptych.core.settings import Settings

log = logging.getLogger("triptych.outside")


class PageReader:
    """One OCR engine for all that is redacted in a worker. Thread-safe.

    Args:
        settings: Name the model.
        catalog: Says where its weights are.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._loading = threading.Lock()
        self._station: Station[Any, OcrPage] | None = None

    def read(self, images: Sequence[Pixels], stopped: Callable[[], bool]) -> list[OcrPage]:
        """Gives the pages with their words.

        Raises:
            EgressDenied: They cannot be read here, so nobody knows what is to be redacted.
        """
        from triptych.workers.engines.paddle_ocr import PageImage

        station = self._loaded()
        pages = [PageImage(pixels=image, words=True, stopped=stopped) for image in images]
        futures = [station.submit(page, lane=0, deadline=None) for page in pages]
        try:
            return [future.result().value for future in futures]
        except Exception as error:
            raise EgressDenied("a page could not be read, so what the policy redacts in it is not known") from error

    def stop(self) -> None:
        """Ends the engine."""
        with self._loading:
            station, self._station = self._station, None
        if station:
            station.stop()
            station.engine.unload()

    def _loaded(self) -> Station[Any, OcrPage]:
        with self._loading:
            if self._station is None:
                self._station = self._load(self._settings.ocr_model)
            return self._station

    def _load(self, name: str) -> Station[Any, OcrPage]:
        from triptych.workers.engines import registry

        if not self._catalog.ready(name):
            raise EgressDenied(
                f"the policy redacts patterns, and the weights of {name}, which reads pages, are not here"
            )
        try:
            engine = registry.build(name, self._catalog, self._settings)
            engine.load()
            engine.warm_up()
        except Exception as error:
            log.exception("no OCR for redaction")
            raise EgressDenied(
                f"the policy redacts patterns, and {name}, which reads pages, cannot be loaded"
            ) from error
        station: Station[Any, OcrPage] = Station(engine, registry.policy(name, self._catalog, self._settings))
        station.start()
        return station
