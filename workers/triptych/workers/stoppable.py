"""What ends an attempt from outside: its deadlines, its caller, its worker."""

from __future__ import annotations

import time
from collections.abc import Callable

from triptych.core.errors import CallTimeout, ExecutionTimeout, JobCancelled, TriptychError

# A deadline moves by less than that if it is still the same call's, which is measured anew at each renewal.
_SAME_CALL_S = 0.5


class LeaseLost(TriptychError):
    """Another attempt runs the job: this one has nothing more to say. Never leaves the worker."""


class HandedBack(TriptychError):
    """The attempt ends before the job is done, which goes back to its lane. Never leaves the worker."""


class Stoppable:
    """Work on a job that has to end by a deadline and may be stopped before it. Thread-safe.

    Attributes:
        job_id: Id without "jobs/".

    Args:
        execution_timeout_s: Longest time it may run.
        call_left_s: Until the deadline of the call that waits for it; None: there is none.
    """

    def __init__(self, job_id: str, *, execution_timeout_s: float, call_left_s: float | None) -> None:
        self.job_id = job_id
        self._ends = time.monotonic() + execution_timeout_s
        self._call_ends = float("inf")
        self.extend_call(call_left_s)
        self._stopped_by: TriptychError | None = None
        self._late: TriptychError | None = None
        self._stopped_at = float("inf")
        self._cancelled_at: float | None = None
        self._on_stop: list[Callable[[], object]] = []

    @property
    def deadline(self) -> float:
        """When it has to be done, on the clock of `time.monotonic`."""
        return min(self._ends, self._call_ends)

    def extend_call(self, left_s: float | None) -> None:
        """Takes note of when the call that waits for the job ends; None: none waits."""
        self._call_ends = float("inf") if left_s is None else time.monotonic() + left_s

    def stop(self, reason: TriptychError, *, since_s: float = 0.0) -> None:
        """Stops it: `check` raises the reason from now on, and whoever asked for it is called.

        Args:
            reason: What the job ends with, or LeaseLost, or HandedBack.
            since_s: How long ago that was decided.
        """
        if self._stopped_by is None:
            self._stopped_by, self._stopped_at = reason, time.monotonic()
            if isinstance(reason, JobCancelled):
                self._cancelled_at = self._stopped_at - since_s
        for callback in tuple(self._on_stop):
            callback()

    def call_on_stop(self, callback: Callable[[], object]) -> None:
        """Has a callback called by `stop`, at once if that came before."""
        self._on_stop.append(callback)
        if self._stopped_by is not None:
            callback()

    def stopped_by(self) -> TriptychError:
        """Gives what stopped it."""
        if self._stopped_by is not None:
            return self._stopped_by
        error = self._late or self.too_late("took longer")
        if isinstance(error, CallTimeout) and self.deadline - time.monotonic() > _SAME_CALL_S:
            # What engines left out when the first call ended is done anew for the one that joined since.
            return HandedBack("another call waits for the job now")
        return error

    def stopped(self) -> bool:
        """Whether work on it is wasted. Cheap: engines ask between steps.

        Once it is, it stays so, even if the deadline moves: engines leave out what is stopped, and were it wanted
        again, that would be missing from its result.
        """
        if self._late is None and time.monotonic() > self.deadline:
            self._stopped_at = min(self._stopped_at, self.deadline)
            self._late = self.too_late("took longer")
        return self._stopped_by is not None or self._late is not None

    def stopped_for_s(self) -> float:
        """Gives how long ago it was stopped; below 0 if it was not."""
        return time.monotonic() - min(self._stopped_at, self.deadline)

    def too_late(self, how: str) -> TriptychError:
        """Gives the error of what does not end by its deadline, by whichever comes first.

        Args:
            how: Goes before "than", such as "took longer".
        """
        if self._call_ends < self._ends:
            return CallTimeout(f"the job {how} than its call waits", metadata={"job": f"jobs/{self.job_id}"})
        return ExecutionTimeout(f"the attempt {how} than its execution_timeout")

    def check(self) -> None:
        """Raises what stopped it, if anything did.

        Raises:
            JobCancelled: The caller does not want it any more.
            ExecutionTimeout, CallTimeout: It ran too long.
            TriptychError: The lease was lost, or the worker drains.
        """
        if self.stopped():
            raise self.stopped_by()
