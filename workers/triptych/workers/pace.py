"""Remembers how quickly an engine got through its items lately."""

from __future__ import annotations

import threading
from collections import deque

from triptych.workers.batch_history import ESTIMATE_LIFE_S


class Pace:
    """The least seconds an item took, as its share of a batch, within `ESTIMATE_LIFE_S`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: deque[tuple[float, float]] = deque()  # (share, end of the batch): both rise

    def learn(self, items: int, ran_s: float, now: float) -> None:
        """Takes note of a batch that ended now."""
        share_s = ran_s / items
        with self._lock:
            while self._shares and self._shares[-1][0] >= share_s:
                self._shares.pop()
            self._shares.append((share_s, now))
            self._drop_old(now)

    def least_s(self, items: int, now: float) -> float:
        """Gives how long so many items take at least; 0 if nothing ran lately."""
        with self._lock:
            self._drop_old(now)
            return items * self._shares[0][0] if self._shares else 0.0

    def _drop_old(self, now: float) -> None:
        while self._shares and now - self._shares[0][1] > ESTIMATE_LIFE_S:
            self._shares.popleft()
