"""Looks after what nobody holds: jobs of dead workers, late jobs, lost messages, blobs over their time."""

from __future__ import annotations

import logging
import threading
import time

from triptych.core import jobs
from triptych.core.blobs import BlobStore
from triptych.core.broker import Broker
from triptych.core.errors import BackendUnavailable
from triptych.core.records import KINDS
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.watermarks import disk_is_short

log = logging.getLogger("triptych.caretaker")

SWEEP_EVERY_S = 1.0
# A caretaker that did not sweep for this long is succeeded by another process's.
TERM_S = 3.0
EXPIRE_EVERY_S = 60.0
# While the disk is short.
EXPIRE_SOON_S = 5.0
# Messages that one sweep sends for a kind.
MAX_MESSAGES = 100


class Caretaker:
    """A thread in every process, services and workers alike; one of them is elected and sweeps.

    Args:
        settings: How long leases last, and which disk is short when.
        store: Where the jobs are.
        broker: Sends messages again.
        blobs: Forgets what is over its time.
        name: Of the process, unique.
    """

    def __init__(self, settings: Settings, store: Store, broker: Broker, blobs: BlobStore, *, name: str) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._blobs = blobs
        self._name = name
        self._short: dict[str, int] = {}
        self._expired_at = float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; another process takes over."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SWEEP_EVERY_S):
            try:
                if self._sweep() and self._expiry_is_due():
                    self._expired_at = time.monotonic()
                    self._expire()
            except BackendUnavailable as error:
                log.debug("nothing is swept: %s", error)
            except Exception:
                # Whatever it is, without a sweeper lost jobs would stay lost.
                log.exception("sweep failed")

    def _sweep(self) -> bool:
        """Sweeps once; says whether this process is the elected one."""
        found = self._store.run(jobs.sweep(tuple(KINDS), self._name, term_s=TERM_S, lease_s=self._settings.lease_s))
        if found is None:
            self._short.clear()
            return False
        for kind, job_id in found.back:
            log.info("job goes back to its queue", extra={"job_id": job_id, "kind": kind})
            self._broker.publish(kind)
        queued = self._broker.queue_lengths()
        for kind, waiting in found.waiting.items():
            # What was missing a sweep ago too: a message that is on its way just now is not lost.
            short = max(0, waiting - queued[kind])
            for _ in range(min(short, self._short.get(kind, 0), MAX_MESSAGES)):
                self._broker.publish(kind)
            self._short[kind] = short
        return True

    def _expiry_is_due(self) -> bool:
        waited_s = time.monotonic() - self._expired_at
        return waited_s >= EXPIRE_EVERY_S or (waited_s >= EXPIRE_SOON_S and disk_is_short(self._settings))

    def _expire(self) -> None:
        if gone := self._blobs.expire():
            log.info("blobs expired", extra={"count": gone})
