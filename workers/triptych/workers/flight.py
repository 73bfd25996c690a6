"""The units of one work as one attempt sees them: what others know or compute is not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from triptych.core.units import Holder, Work
from triptych.v1.job_pb2 import CachePolicy
from triptych.workers import metrics
from triptych.workers.unit_store import Taken, Units

# The one unit of a work whose result is not divided.
WHOLE = "result"
POLL_S = 0.1
# Units asked for at once. Few, so that jobs at one document share it out between them and few values are in memory;
# some, so that what is known takes few round trips.
PORTION = 8


class Flight:
    """Takes, keeps and waits for units, as the job's cache policy allows.

    An attempt that waits must have begun all units that are its own: then two attempts never wait for each other.

    Args:
        units: Where they are shared.
        work: What they are units of.
        holder: The attempt.
        policy: The job's.
        check: Raises what stopped the attempt.
    """

    def __init__(
        self, units: Units, work: Work, holder: Holder, *, policy: CachePolicy.ValueType, check: Callable[[], None]
    ) -> None:
        self._units = units
        self._work = work
        self._holder = holder
        self._check = check
        self._reads = work.shared and policy not in (
            CachePolicy.CACHE_POLICY_REFRESH,
            CachePolicy.CACHE_POLICY_BYPASS,
        )
        self._writes = work.shared and policy != CachePolicy.CACHE_POLICY_BYPASS
        self._awaited: set[str] = set()

    def look(self, names: Sequence[str]) -> Iterator[bytes]:
        """Yields the values of those units that are known, a few at a time; none becomes the attempt's."""
        for start in range(0, len(names) if self._reads else 0, PORTION):
            for value in self._units.look(self._work, self._holder, names[start : start + PORTION]).values():
                self._count("found")
                yield value

    def take(self, names: Sequence[str]) -> Taken:
        """Asks for units: some are known, some the attempt has to compute, others are computed elsewhere."""
        taken = self._units.take(self._work, self._holder, names) if self._reads else Taken(own=names)
        for name in taken.known:
            self._count("joined" if name in self._awaited else "found")
        self._awaited.update(taken.elsewhere)
        return taken

    def find(self, name: str = WHOLE) -> bytes | None:
        """Gives a unit's value, awaited if another job computes it; None: the attempt has to compute it.

        Raises:
            TriptychError: What stopped the attempt.
        """
        while True:
            taken = self.take([name])
            if not taken.elsewhere:
                return taken.known.get(name)
            self.pause()

    def pause(self) -> None:
        """Waits a moment before units that are computed elsewhere are asked for again.

        Raises:
            TriptychError: What stopped the attempt.
        """
        self._check()
        time.sleep(POLL_S)
        self._check()

    def keep(self, value: bytes, name: str = WHOLE) -> None:
        """Makes a unit known that the attempt has computed."""
        self._count("computed")
        if self._writes:
            self._units.keep(self._work, self._holder, name, value)

    def release(self, name: str = WHOLE) -> None:
        """Lets others compute a unit that failed here."""
        if self._reads:
            self._units.release(self._work, self._holder, name)

    def _count(self, outcome: str) -> None:
        metrics.UNITS.labels(self._work.kind, outcome).inc()
