"""Keeps the leases of the jobs that this worker runs, and heeds what their callers want."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from triptych.core import jobs, load
from triptych.core.errors import BackendUnavailable, JobCancelled
from triptych.core.store import Store
from triptych.workers.attempt import Attempt, HandedBack, LeaseLost

log = logging.getLogger("triptych.leases")

# One mechanism for leases and for cancellation: a caller's CancelJob is heard after at most this long.
TICK_S = 0.25
# A worker that said nothing for this long counts as gone.
PRESENCE_S = 5


class Leases:
    """One thread that renews every lease in one round trip and stops attempts that are cancelled or lost.

    Args:
        store: Where the jobs are.
        kind: Kind of this worker, for its presence.
        worker: Its name, unique.
        models: Gives the models that it serves.
        lease_s: How long the leases last.
    """

    def __init__(
        self, store: Store, *, kind: str, worker: str, models: Callable[[], list[str]], lease_s: float
    ) -> None:
        self._store = store
        self._kind = kind
        self._worker = worker
        self._models = models
        self._lease_s = lease_s
        self._held: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._drain_at = float("inf")
        self._announced = 0.0
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)

    def start(self) -> None:
        """Starts the thread; from now on the worker counts as live."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and takes the worker off the list."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(BackendUnavailable):
            self._store.run(load.retire(self._kind, self._worker))

    def drain(self, after_s: float) -> None:
        """Lets the running attempts go on for after_s, then hands them back. Asked again it gives no more time."""
        self._drain_at = min(self._drain_at, time.monotonic() + after_s)

    @contextlib.contextmanager
    def held(self, attempt: Attempt) -> Iterator[None]:
        """Keeps one attempt's lease inside the block."""
        with self._lock:
            self._held[attempt.job_id] = attempt
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(attempt.job_id, None)

    def _beat(self) -> None:
        while not self._ended.wait(TICK_S):
            try:
                self._tick()
            except BackendUnavailable as error:
                # The work goes on: its result is reported when Redis is back.
                log.warning("leases cannot be renewed: %s", error)
            except Exception:
                log.exception("the lease keeper stumbled")

    def _tick(self) -> None:
        with self._lock:
            held = list(self._held.values())
        if time.monotonic() > self._drain_at:
            for attempt in held:
                attempt.stop(HandedBack("the worker shuts down"))
        answers = self._store.run_all([jobs.renew(a.job_id, a.number, self._lease_s) for a in held])
        for attempt, answer in zip(held, answers, strict=True):
            if answer == "cancel":
                attempt.stop(JobCancelled("the job was cancelled"))
            elif answer == "lost":
                attempt.stop(LeaseLost("another attempt runs the job"))
        if time.monotonic() - self._announced > PRESENCE_S / 4 and self._drain_at == float("inf"):
            self._store.run(load.announce(self._kind, self._worker, self._models(), PRESENCE_S))
            self._announced = time.monotonic()
