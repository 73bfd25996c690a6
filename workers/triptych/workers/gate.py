"""Lets units run side by side, or one alone: a unit on which a worker died takes no neighbour with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE_S = 0.05


class Gate:
    """A readers-writer lock that prefers the writer; `enter` and `leave` may be called by different threads."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._waiting = 0
        self._changed = threading.Condition()

    def enter(self, *, alone: bool, check: Callable[[], None]) -> None:
        """Waits until the unit may run.

        Args:
            alone: Nothing else runs until it leaves.
            check: Called again and again while it waits; what it raises ends the wait.
        """
        with self._changed:
            self._waiting += alone
            try:
                while self._alone or (self._inside if alone else self._waiting):
                    check()
                    self._changed.wait(PATIENCE_S)
                self._inside += 1
                self._alone = alone
            finally:
                self._waiting -= alone

    def leave(self) -> None:
        """Lets others in."""
        with self._changed:
            self._inside -= 1
            self._alone = False
            self._changed.notify_all()
