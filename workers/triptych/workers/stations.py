"""The models that one worker serves, each loaded when it is first wanted and freed when another needs its room."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from triptych.core import ceilings
from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.core.records import KINDS
from triptych.core.settings import Settings
from triptych.workers import metrics
from triptych.workers.batch_history import BatchHistory
from triptych.workers.ceiling_book import CeilingBook
from triptych.workers.engines import registry
from triptych.workers.memory_budget import MemoryBudget
from triptych.workers.memory_meters import MemoryMeter, resident_bytes
from triptych.workers.model_memory import ModelMemory
from triptych.workers.shelf import Loaded, Shelf
from triptych.workers.station import Station

log = logging.getLogger("triptych.stations")

# Whoever waits for a model asks this often whether it is still wanted.
_HEED_EVERY_S = 0.25
# Of a device's memory, what this process may plan with unless told otherwise.
_SHARE = 0.9


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
        ceilings: What workers remember of batches that did not fit.
    """

    def __init__(self, settings: Settings, kind: str, catalog: Catalog, ceilings: CeilingBook | None = None) -> None:
        self._settings = settings
        self._kind = kind
        self._catalog = catalog
        self.ceilings = ceilings or CeilingBook()
        self._budgets: dict[str, MemoryBudget] = {}
        self._changed = threading.Condition()  # guards what follows
        self._shelf = Shelf(lambda device: self._budgets[device].max_bytes)
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

    def free_unused(self, ttl_s: float) -> None:
        """Frees the models that nobody has used for so long, unless one is being loaded just now."""
        with self._changed:
            if self._queue or not self._shelf.unused_since(time.monotonic() - ttl_s):
                return
        with self._turn(Loan(self, lambda: None)):
            with self._changed:
                unused = self._shelf.unused_since(time.monotonic() - ttl_s)
                gone = [self._shelf.remove(loaded.name) for loaded in unused]
            self._free(gone, "idle")

    def resident_bytes(self) -> int:
        """Gives the host's memory that this process and those of its engines take."""
        with self._changed:
            engines = [loaded.station.engine for loaded in self._shelf.all()]
        return resident_bytes(os.getpid()) + sum(
            engine.memory_bytes() for engine in engines if engine.memory_meter().alone
        )

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
        engine = registry.build(name, self._catalog, self._settings)
        meter = engine.memory_meter()
        budget = self._budget(meter)
        self._make_room(name, meter.device, estimate, loan)
        began = time.monotonic()
        try:
            # Batches of others wait for their memory as long as this model waits for its own.
            with budget.lease(estimate, wanted=partial(_wanted, loan)):
                engine.load()
                engine.warm_up()
                size_bytes = engine.memory_bytes() or self._catalog.disk_bytes(name)
                budget.hold(name, size_bytes)
            with self._changed:
                self._shelf.learn(name, size_bytes)
            # It may have turned out larger.
            self._make_room(name, meter.device, size_bytes, loan)
            station = self._station(name, engine, meter, budget)
        except BaseException:
            budget.drop(name)
            engine.unload()
            raise
        loaded = Loaded(
            name=name,
            station=station,
            device=meter.device,
            size_bytes=size_bytes,
            loans={loan},
            used_at=time.monotonic(),
        )
        station.start()
        with self._changed:
            self._shelf.put(loaded)
        metrics.MODEL_BYTES.labels(name).set(size_bytes)
        metrics.MODEL_LOADS.labels(name).inc()
        seconds = round(time.monotonic() - began, 1)
        log.info("model loaded", extra={"model": name, "seconds": seconds, "size_bytes": size_bytes})
        return station

    def _budget(self, meter: MemoryMeter) -> MemoryBudget:
        """Gives the budget of the device that a model runs on."""
        if meter.device not in self._budgets:
            max_bytes = self._settings.max_memory_bytes or int(_SHARE * meter.total_bytes()) or sys.maxsize
            self._budgets[meter.device] = MemoryBudget(max_bytes)
            metrics.BUDGET_BYTES.labels(meter.device).set(max_bytes)
        return self._budgets[meter.device]

    def _station(
        self, name: str, engine: registry.AnyEngine, meter: MemoryMeter, budget: MemoryBudget
    ) -> Station[Any, Any]:
        where = ceilings.place(engine.model, meter.device, meter.total_bytes())
        return Station(
            engine,
            registry.policy(name, self._catalog, self._settings),
            metrics.count_batch,
            history=BatchHistory(self.ceilings.read(name, where), partial(self.ceilings.note, name, where)),
            memory=ModelMemory(
                name, budget, meter, weigh=engine.memory_bytes, spare=partial(self._spare, meter.device)
            ),
        )

    def _make_room(self, name: str, device: str, size_bytes: int, loan: Loan) -> None:
        """Frees models until so many bytes fit beside those that stay.

        Raises:
            AcceleratorMemoryExhausted: They do not, whatever is freed.
            TriptychError: What stopped the job meanwhile.
        """
        with self._changed:
            self._shelf.weigh()
            for loaded in self._shelf.all():
                self._budgets[loaded.device].hold(loaded.name, loaded.size_bytes)
            self._shelf.plan(name, device, size_bytes, loan)
        try:
            # A model that leaves is lent to nobody any more, so the jobs that use it come to an end.
            self._wait(loan, self._shelf.cleared)
            with self._changed:
                leaving = [self._shelf.remove(loaded.name) for loaded in self._shelf.leaving()]
        finally:
            with self._changed:
                self._shelf.cancel_plan()
        self._free(leaving, "room")

    # From here on any thread.

    def _spare(self, device: str, missing_bytes: int) -> bool:
        """Frees idle models for a batch that needs their room; says whether there were any.

        A batcher's thread asks, for which others may wait: so only models are freed that have no job and no item.
        """
        with self._changed:
            gone = [self._shelf.remove(loaded.name) for loaded in self._shelf.spared(device, missing_bytes)]
        some = bool(gone)
        self._free(gone, "room")
        return some

    def _free(self, gone: list[Loaded], reason: str) -> None:
        """Frees models that are not on the shelf any more; empties the list, which would keep them."""
        while gone:
            loaded = gone.pop()
            loaded.station.stop()
            loaded.station.engine.unload()
            self._budgets[loaded.device].drop(loaded.name)
            metrics.MODEL_BYTES.remove(loaded.name)
            metrics.MODEL_UNLOADS.labels(loaded.name, reason).inc()
            facts = {"model": loaded.name, "reason": reason, "size_bytes": loaded.size_bytes}
            log.info("model freed", extra=facts)
            device = loaded.device
            del loaded
            # Networks of layers are cycles; their memory is wanted now.
            gc.collect()
            if device == "cuda" and (torch := sys.modules.get("torch")):
                torch.cuda.empty_cache()


def _wanted(loan: Loan) -> bool:
    """Raises what stopped the job that waits."""
    loan.check()
    return True
