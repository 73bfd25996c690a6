"""Takes the jobs that a worker may take, given those that it holds already."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection

from triptych.core import jobs
from triptych.workers.attempt import Attempt
from triptych.workers.execution import Execution
from triptych.workers.leases import Leases

# How soon a thread that may take nothing asks again.
ASK_EVERY_S = 0.25


class Claims:
    """Hands jobs to the threads of one worker.

    Of its threads, `share` may hold jobs of one tenant. The rest is there for whoever comes: a half for a tenant's only
    job, a half for interactive ones. So a single page does not wait until long jobs of others are done.

    Args:
        execution: Claims.
        leases: Keeps what was claimed.
        kind: Of the worker.
        share: Threads that one tenant may have.
    """

    def __init__(self, execution: Execution, leases: Leases, *, kind: str, share: int) -> None:
        self._execution = execution
        self._leases = leases
        self._kind = kind
        self._share = share
        self._spare = spare_count(share)
        # One thread asks at a time: what may be taken depends on what the others took.
        self._asking = threading.Lock()

    def next(self) -> Attempt | None:
        """Gives the next job's attempt, its lease kept, as soon as one may be taken; None if none waits.

        A message that cannot be used yet is not given back: any job that may be taken will do for it.
        """
        while not self._leases.draining:
            with self._asking:
                found = self._ask()
            if isinstance(found, Attempt):
                return found
            if found == "none":
                return None
            threading.Event().wait(ASK_EVERY_S)
        return None

    def _ask(self) -> Attempt | str:
        held = self._leases.attempts()
        tenants = Counter(attempt.tenant for attempt in held)
        patient = sum(attempt.lane > 0 for attempt in held)
        served = [tenant for tenant, count in tenants.items() if count >= self._share]
        if patient < self._share:
            return self._claim(jobs.LOWEST_LANE, served)
        found = self._claim(0, served)
        if isinstance(found, Attempt) or patient >= self._share + self._spare:
            return found
        return self._claim(jobs.LOWEST_LANE, tenants)

    def _claim(self, lowest_lane: int, held_back: Collection[str]) -> Attempt | str:
        found = self._execution.claim(self._kind, lowest_lane=lowest_lane, held_back=held_back)
        if isinstance(found, Attempt):
            self._leases.add(found)
        return found


def spare_count(share: int) -> int:
    """Gives the threads kept for tenants that have none, and once more for interactive jobs: a quarter of `share`."""
    return max(1, share // 4)


def thread_count(share: int) -> int:
    """Gives the threads of a worker of which one tenant may have `share`."""
    return share + 2 * spare_count(share)
