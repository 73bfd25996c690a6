"""The units that an attempt still needs: a few at a time are asked for, and its own come before those of others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from triptych.workers.flight import PORTION, Flight


class Supply:
    """Hands out units to compute, and waits for others only when there are no more: nobody waits for who waits.

    Args:
        flight: Shared with other jobs.
        names: Units needed, in the order wanted.
        on_known: Told the value of every unit that somebody else has computed.
    """

    def __init__(self, flight: Flight, names: Iterable[str], on_known: Callable[[bytes], None]) -> None:
        self._flight = flight
        self._unasked = deque(names)
        self._own: deque[str] = deque()
        self._elsewhere: list[str] = []
        self._on_known = on_known

    def next(self) -> str | None:
        """Gives a unit that is to be computed here; None if there is none right now."""
        while not self._own and self._unasked:
            portion = [self._unasked.popleft() for _ in range(min(PORTION, len(self._unasked)))]
            taken = self._flight.take(portion)
            self._own.extend(taken.own)
            self._elsewhere.extend(taken.elsewhere)
            for value in taken.known.values():
                self._on_known(value)
        return self._own.popleft() if self._own else None

    def await_others(self) -> bool:
        """Lets units that are computed elsewhere be asked for again in a moment; False if there are none.

        Call it when all that `next` gave is computed.

        Raises:
            TriptychError: What stopped the attempt.
        """
        if not self._elsewhere:
            return False
        self._flight.pause()
        self._unasked.extend(self._elsewhere)
        self._elsewhere.clear()
        return True
