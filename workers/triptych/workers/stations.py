"""The models that one worker serves, each loaded when it is first wanted and freed when another needs its room."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.core.records import KINDS
from triptych.core.settings import Settings
from triptych.workers import metrics
from triptych.workers.engines import registry
from triptych.workers.shelf import Loaded, Shelf
from triptych.workers.station import Station

log = logging.getLogger("triptych.stations")

# Whoever waits for a model asks this often whether it is still wanted.
_HEED_EVERY_S = 0.25


class Loan:
    """The models that one job uses; none of them is freed before it ends. For one thread.

    Args:
        stations: Lends them.
        check: Raises what stopped the job; asked while it waits for a model.
    """

    def __init__(self, stations: Stations, check: Callable[[], object]) -> None:
        self._stations = stations
        self.check = check
        self.waits = False

    def get(self, name: str = "", *, languages: Sequence[str] = ()) -> Station[Any, Any]:
        """Gives the station of a model, loading it first if need be.

        With a memory budget, idle models are freed for it, the longest unused first; those that other jobs use are
        waited for.

        Args:
            name: Of the model; empty: the default one, or another one that is here if that does not know the languages.
            languages: BCP-47 tags that the default has to know.

        Raises:
            ModelNotFound: No such model, or its weights are not on this machine.
            FieldInvalid: The model is of another kind.
            AcceleratorMemoryExhausted: It does not fit the budget, whatever is freed.
            TriptychError: What stopped the job meanwhile.
        """
        return self._stations.lend(name or self._stations.default_for(languages), self)


class Stations:
    """Loaded engines by model name. Thread-safe.

    Args:
        settings: Threads, device, bounds of batches, memory budget.
        kind: Kind of job; only models of it are served.
        catalog: Where the models are.
    """

    def __init__(self, settings: Settings, kind: str, catalog: Catalog) -> None:
        self._settings = settings
        self._kind = kind
        self._catalog = catalog
        self._changed = threading.Condition()  # guards what follows
        self._shelf = Shelf(settings.max_model_bytes)
        # One at a time loads: two at once would only make both slower. First come, first served.
        self._queue: deque[Loan] = deque()
        defaults = {"transcription": settings.speech_model, "ocr": settings.ocr_model, "vision": settings.vision_model}
        self.default: str = defaults[kind]

    def names(self) -> list[str]:
        """Gives the models that this worker can serve: those of its kind whose weights are here."""
        return [entry.name for entry in self._catalog.for_kind(KINDS[self._kind]) if self._catalog.ready(entry.name)]

    def default_for(self, languages: Sequence[str]) -> str:
        """Gives the default model; if that does not know the languages, one whose weights are here and that does."""
        if not self._catalog.get(self.default).unknown(languages):
            return self.default
        found = [name for name in self._catalog.knowing(KINDS[self._kind], languages) if self._catalog.ready(name)]
        # Of several, that which knows the fewest others: it was made for these.
        return min(found, key=lambda name: len(self._catalog.get(name).languages), default=self.default)

    @contextmanager
    def lent(self, check: Callable[[], object] = lambda: None) -> Iterator[Loan]:
        """Lends models to one job until the block ends.

        Args:
            check: Raises what stopped the job; asked while it waits for a model.
        """
        loan = Loan(self, check)
        try:
            yield loan
        finally:
            with self._changed:
                self._shelf.give_back(loan, time.monotonic())
                self._changed.notify_all()

    def lend(self, name: str, loan: Loan) -> Station[Any, Any]:
        """See `Loan.get`."""
        if station := self._taken(name, loan):
            return station
        entry = self._catalog.get(name)
        if entry.kind != KINDS[self._kind]:
            raise FieldInvalid("config.model", f"{name} does no {self._kind}")
        if not self._catalog.ready(name):
            raise ModelNotFound(f"the weights of {name} are not on this machine; `triptych models pull {name}`")
        with self._turn(loan):
            return self._taken(name, loan) or self._load(name, loan)

    def forget(self) -> None:
        """Has every engine drop what it keeps of earlier items: a document was purged."""
        with self._changed:
            stations = [loaded.station for loaded in self._shelf.all()]
        for station in stations:
            station.engine.forget()

    def stop(self) -> None:
        """Lets every batcher finish what it has, then ends it, and frees the models."""
        with self._changed:
            held = [self._shelf.remove(loaded.name) for loaded in self._shelf.all()]
        for loaded in held:
            loaded.station.stop()
            loaded.station.engine.unload()

    def _taken(self, name: str, loan: Loan) -> Station[Any, Any] | None:
        with self._changed:
            return self._shelf.take(name, loan, time.monotonic())

    @contextmanager
    def _turn(self, loan: Loan) -> Iterator[None]:
        with self._changed:
            self._queue.append(loan)
            loan.waits = True
        try:
            self._wait(loan, lambda: self._queue[0] is loan)
            yield
        finally:
            with self._changed:
                self._queue.remove(loan)
                loan.waits = False
                self._changed.notify_all()

    def _wait(self, loan: Loan, done: Callable[[], bool]) -> None:
        """Waits until it is done; asked again at each change."""
        with self._changed:
            while not done():
                self._changed.wait(_HEED_EVERY_S)
                loan.check()

    # From here on one thread at a time: whose turn it is.

    def _load(self, name: str, loan: Loan) -> Station[Any, Any]:
        with self._changed:
            estimate = self._shelf.known_bytes(name) or self._catalog.disk_bytes(name)
        self._make_room(name, estimate, loan)
        began = time.monotonic()
        engine = registry.build(name, self._catalog, self._settings)
        try:
            engine.load()
            engine.warm_up()
            size_bytes = engine.memory_bytes() or self._catalog.disk_bytes(name)
            with self._changed:
                self._shelf.learn(name, size_bytes)
            # It may have turned out larger.
            self._make_room(name, size_bytes, loan)
        except BaseException:
            engine.unload()
            raise
        station = Station(engine, registry.policy(name, self._catalog, self._settings), metrics.count_batch)
        station.start()
        with self._changed:
            self._shelf.put(
                Loaded(name=name, station=station, size_bytes=size_bytes, loans={loan}, used_at=time.monotonic())
            )
        metrics.MODEL_BYTES.labels(name).set(size_bytes)
        metrics.MODEL_LOADS.labels(name).inc()
        seconds = round(time.monotonic() - began, 1)
        log.info("model loaded", extra={"model": name, "seconds": seconds, "size_bytes": size_bytes})
        return station

    def _make_room(self, name: str, size_bytes: int, loan: Loan) -> None:
        """Frees models until so many bytes fit beside those that stay.

        Raises:
            AcceleratorMemoryExhausted: They do not, whatever is freed.
            TriptychError: What stopped the job meanwhile.
        """
        with self._changed:
            self._shelf.weigh()
            self._shelf.plan(name, size_bytes, loan)
        try:
            # A model that leaves is lent to nobody any more, so the jobs that use it come to an end.
            self._wait(loan, self._shelf.cleared)
            with self._changed:
                leaving = [self._shelf.remove(loaded.name) for loaded in self._shelf.leaving()]
        finally:
            with self._changed:
                self._shelf.cancel_plan()
        while leaving:
            _free(leaving.pop())
            # Networks of layers are cycles; their memory is wanted now.
            gc.collect()


def _free(loaded: Loaded) -> None:
    loaded.station.stop()
    loaded.station.engine.unload()
    metrics.MODEL_BYTES.remove(loaded.name)
    metrics.MODEL_UNLOADS.labels(loaded.name).inc()
    log.info("model freed", extra={"model": loaded.name, "size_bytes": loaded.size_bytes})
