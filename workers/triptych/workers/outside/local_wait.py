"""How long a new item would wait for an engine, as its items come and go."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

# Older times count less: by half after so many seconds of work.
HALF_LIFE_S = 60.0


class LocalWait:
    """Counts what one engine has in hand, and how fast it gets through it. Thread-safe.

    It needs to know nothing of batches: items divided by the time in which the engine had any is their rate.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_hand = 0
        self._done = 0.0
        self._busy_s = 0.0
        self._since = 0.0

    def begin(self) -> None:
        """An item came."""
        with self._lock:
            self._pass()
            self._in_hand += 1

    def end(self) -> None:
        """An item is done, or was taken back."""
        with self._lock:
            self._pass()
            self._in_hand -= 1
            self._done += 1

    def estimate_s(self) -> float:
        """Gives about how long those in hand still take together: the wait of one more. 0 if nothing is known."""
        with self._lock:
            self._pass()
            # As if one ended now: before the first has, it is known that it takes at least as long as it has taken.
            return self._in_hand * self._busy_s / (self._done + 1)

    def _pass(self) -> None:
        now = self._clock()
        if self._in_hand:
            passed_s = now - self._since
            fades = math.exp2(-passed_s / HALF_LIFE_S)
            self._busy_s = self._busy_s * fades + passed_s
            self._done *= fades
        self._since = now
