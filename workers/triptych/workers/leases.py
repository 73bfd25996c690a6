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
from triptych.workers.attempt import Attempt
from triptych.workers.forgetting import Forgetting
from triptych.workers.stoppable import HandedBack, LeaseLost

log = logging.getLogger("triptych.leases")

# One mechanism for leases and for cancellation: a caller's CancelJob is heard after at most this long.
TICK_S = 0.25
# A worker that said nothing for this long counts as gone.
PRESENCE_S = 5
# A thread that does not heed for this long that its attempt was stopped hangs.
HUNG_S = 15


class Leases:
    """One thread that renews every lease in one round trip and stops attempts that are cancelled or lost.

    Args:
        store: Where the jobs are.
        kind: Kind of this worker, for its presence.
        worker: Its name, unique.
        models: Gives the models that it serves.
        lease_s: How long the leases last.
        on_hung: Ends the job of an attempt whose thread hangs.
        forgetting: Drops what the worker's memory keeps of documents that were purged.
    """

    def __init__(
        self,
        store: Store,
        *,
        kind: str,
        worker: str,
        models: Callable[[], list[str]],
        lease_s: float,
        on_hung: Callable[[Attempt], None],
        forgetting: Forgetting | None = None,
    ) -> None:
        self._store = store
        self._kind = kind
        self._worker = worker
        self._models = models
        self._lease_s = lease_s
        self._on_hung = on_hung
        self._forgetting = forgetting
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

    @property
    def draining(self) -> bool:
        """Whether no further job may be taken."""
        return self._drain_at < float("inf")

    def attempts(self) -> list[Attempt]:
        """Gives the attempts whose leases are kept."""
        with self._lock:
            return list(self._held.values())

    def add(self, attempt: Attempt) -> None:
        """Keeps an attempt's lease from now on."""
        with self._lock:
            self._held[attempt.job_id] = attempt

    def drop(self, attempt: Attempt) -> None:
        """Keeps an attempt's lease no longer."""
        with self._lock:
            if self._held.get(attempt.job_id) is attempt:
                del self._held[attempt.job_id]

    @contextlib.contextmanager
    def held(self, attempt: Attempt) -> Iterator[None]:
        """Keeps one attempt's lease inside the block, and lets go of all that it holds after it."""
        self.add(attempt)
        try:
            yield
        finally:
            self.drop(attempt)
            attempt.close()

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
        held = self.attempts()
        if time.monotonic() > self._drain_at:
            for attempt in held:
                attempt.stop(HandedBack("the worker shuts down"))
        answers = self._store.run_all([jobs.renew(a.job_id, a.number, self._lease_s) for a in held])
        for attempt, answer in zip(held, answers, strict=True):
            self._heed(attempt, answer)
        if time.monotonic() - self._announced > PRESENCE_S / 4 and not self.draining:
            self._store.run(load.announce(self._kind, self._worker, self._models(), PRESENCE_S))
            if self._forgetting:
                self._forgetting.look()
            self._announced = time.monotonic()

    def _heed(self, attempt: Attempt, answer: jobs.Renewal) -> None:
        if answer.standing == "cancel":
            attempt.stop(JobCancelled("the job was cancelled"), since_s=answer.cancelled_ms / 1000)
        elif answer.standing == "lost":
            attempt.stop(LeaseLost("another attempt runs the job"))
        else:
            attempt.extend_call(None if answer.call_left_ms is None else answer.call_left_ms / 1000)
            if attempt.stopped():  # its time is over
                attempt.stop(attempt.stopped_by())
        if attempt.stopped_for_s() > HUNG_S:
            self.drop(attempt)
            self._on_hung(attempt)
