"""What a worker looks after once a second: models that nobody uses, ceilings to keep, its own size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from triptych.core.errors import PreconditionFailed
from triptych.workers import metrics
from triptych.workers.stations import Stations

log = logging.getLogger("triptych.upkeep")

EVERY_S = 1.0


class Upkeep:
    """One thread.

    Args:
        stations: The worker's models.
        model_ttl_s: How long an unused model stays; 0: it stays.
        max_rss_bytes: Resident memory beyond which the worker recycles; 0: it does not.
        recycle: Has it drain; called once.
        every_s: Time between two looks.
    """

    def __init__(
        self,
        stations: Stations,
        *,
        model_ttl_s: float,
        max_rss_bytes: int,
        recycle: Callable[[], object],
        every_s: float = EVERY_S,
    ) -> None:
        self._stations = stations
        self._model_ttl_s = model_ttl_s
        self._max_rss_bytes = max_rss_bytes
        self._recycle = recycle
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="upkeep", daemon=True)
        self.recycling = False
        """Whether the worker ends because it has grown too large."""

    def start(self) -> None:
        """Starts the thread.

        Raises:
            PreconditionFailed: The worker is too large at rest: recycled, it would be so again.
        """
        resident_bytes = self._stations.resident_bytes()
        if 0 < self._max_rss_bytes <= resident_bytes:
            raise PreconditionFailed(
                f"TRIPTYCH_WORKER_MAX_RSS_BYTES is {self._max_rss_bytes}, but the worker takes {resident_bytes} at rest"
            )
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after a last look at what has to be kept."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._stations.ceilings.flush()

    def _look_after(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._look()
            except Exception:
                log.exception("upkeep stumbled")

    def _look(self) -> None:
        self._stations.ceilings.flush()
        if self._model_ttl_s:
            self._stations.free_unused(self._model_ttl_s)
        if self._max_rss_bytes and not self.recycling:
            resident_bytes = self._stations.resident_bytes()
            if resident_bytes > self._max_rss_bytes:
                self.recycling = True
                metrics.RECYCLES.inc()
                facts = {"resident_bytes": resident_bytes, "max_bytes": self._max_rss_bytes}
                log.warning("the worker has grown too large: it finishes what it has and ends", extra=facts)
                self._recycle()
