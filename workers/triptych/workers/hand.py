"""The units that an attempt has in hand."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from triptych.core.errors import WorkerLost
from triptych.workers.backstage import Backstage
from triptych.workers.gate import Gate


class Hand:
    """What one attempt works on right now.

    Foreign bytes are touched only inside a unit: `begin` before, `save_part` or `settle` after. A unit on which a
    worker died is a suspect and runs alone in its process; one on which `max_deaths` died is set aside. What several
    threads have in hand under one name is in hand until the last of them lets go.

    Args:
        backstage: Where it is noted.
        job_id: Of the job.
        number: Of the attempt.
        gate: Of the worker.
        max_deaths: Workers that may die on a unit.
        check: Raises what stopped the attempt.
    """

    def __init__(
        self,
        backstage: Backstage,
        *,
        job_id: str,
        number: int,
        gate: Gate,
        max_deaths: int,
        check: Callable[[], None],
    ) -> None:
        self._backstage = backstage
        self._job_id = job_id
        self._number = number
        self._gate = gate
        self._max_deaths = max_deaths
        self._check = check
        self._blame: dict[str, int] | None = None
        self._held: Counter[str] = Counter()
        # Held while it is told, too: what was begun last must not be told first.
        self._telling = threading.RLock()

    def suspect(self, unit: str) -> bool:
        """Whether a worker died with this unit in hand: it will run alone, so leave it for last."""
        return self._deaths(unit) > 0

    def begin(self, unit: str) -> None:
        """Takes a unit in hand, once it may run: side by side with others, a suspect alone.

        Raises:
            WorkerLost: Too many workers died on it; it is set aside.
            TriptychError: What stopped the attempt meanwhile.
        """
        deaths = self._deaths(unit)
        if deaths >= self._max_deaths:
            self._backstage.settle(self._job_id, self._number, unit, set_aside=True)
            raise WorkerLost(f"{unit} is set aside: {deaths} workers died on it", metadata={"unit": unit})
        self._gate.enter(alone=deaths > 0, check=self._check)
        with self._telling:
            self._held[unit] += 1
            if self._held[unit] == 1:
                self._backstage.begin(self._job_id, self._number, unit)

    def settle(self, unit: str) -> None:
        """Lets go of a unit that has ended, well or not, and is not kept."""
        with self._telling:
            if self._held[unit] <= 1:
                self._backstage.settle(self._job_id, self._number, unit)
            self._leave(unit)

    def save_part(self, unit: str, value: bytes) -> None:
        """Lets go of a unit that is done (a page), and keeps it so that the next attempt need not do it again."""
        self._backstage.save_part(self._job_id, self._number, unit, value)
        self._leave(unit)

    def pass_on(self, unit: str) -> Callable[[], None]:
        """Leaves it to another to say when a held unit holds up nobody any more: gives what is to be called then."""
        with self._telling:
            if not self._held[unit]:
                return lambda: None
            self._held[unit] -= 1
            return self._gate.leave

    def drop_all(self) -> None:
        """Lets go of everything: the attempt is over."""
        with self._telling:
            for unit in tuple(self._held.elements()):
                self._leave(unit)

    @contextmanager
    def unit(self, name: str) -> Iterator[None]:
        """A unit that is not kept: begun before the block, settled after it; see `begin`."""
        self.begin(name)
        try:
            yield
        finally:
            self.settle(name)

    def _deaths(self, unit: str) -> int:
        if self._blame is None:
            self._blame = self._backstage.blame(self._job_id) if self._number > 1 else {}
        return self._blame.get(unit, 0)

    def _leave(self, unit: str) -> None:
        with self._telling:
            if self._held[unit]:
                self._held[unit] -= 1
                self._gate.leave()
