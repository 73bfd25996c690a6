"""Keeps what this worker learns of ceilings where the next one finds it."""

from __future__ import annotations

import contextlib
import logging
import threading

from triptych.core import ceilings
from triptych.core.ceilings import Ceiling
from triptych.core.errors import BackendUnavailable
from triptych.core.store import Store
from triptych.workers import metrics

log = logging.getLogger("triptych.ceilings")


class CeilingBook:
    """Ceilings of this worker's models. Thread-safe. What is noted is written by `flush`: no batch waits for that.

    Args:
        store: Where they are kept; None: nowhere.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._unwritten: dict[str, dict[str, Ceiling | None]] = {}
        self._lock = threading.Lock()

    def read(self, model: str, where: str) -> dict[str, Ceiling]:
        """Gives what is remembered of a model, by the text of the batch key; nothing if the store is away.

        Args:
            model: Its name, for the metrics.
            where: See `ceilings.place`.
        """
        if self._store is None:
            return {}
        try:
            found = self._store.run(ceilings.remembered(where))
        except BackendUnavailable:
            log.warning("ceilings cannot be read: Redis is away", extra={"model": model})
            return {}
        for key, ceiling in found.items():
            metrics.BATCH_CEILING.labels(model, key).set(ceiling.safe_cost)
        return found

    def note(self, model: str, where: str, key: str, ceiling: Ceiling | None) -> None:
        """Takes note of a change."""
        if ceiling:
            metrics.BATCH_CEILING.labels(model, key).set(ceiling.safe_cost)
        else:
            with contextlib.suppress(KeyError):
                metrics.BATCH_CEILING.remove(model, key)
        log.info("ceiling changed", extra={"model": model, "key": key, "safe_cost": ceiling and ceiling.safe_cost})
        with self._lock:
            self._unwritten.setdefault(where, {})[key] = ceiling

    def flush(self) -> None:
        """Writes what was noted; what cannot be written is tried again."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, {}
        if self._store is None:
            return
        for where, changes in unwritten.items():
            try:
                self._store.run_all(ceilings.remember(where, changes))
            except BackendUnavailable:
                with self._lock:
                    self._unwritten[where] = changes | self._unwritten.get(where, {})
