"""Shares the memory of one device out between models and the batches that run on it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

# Whoever waits for room asks this often whether it is still wanted.
_HEED_EVERY_S = 0.25


class Lease:
    """Memory that one batch, or one model that is being loaded, may take until it is released."""

    def __init__(self, budget: MemoryBudget, size_bytes: int, *, shared: bool) -> None:
        self._budget = budget
        self.size_bytes = size_bytes
        self.shared = shared
        """Whether another lease ran beside this one at any time."""

    def grow(self, more_bytes: int) -> bool:
        """Takes more, for what joins a batch that runs. False: there is no room, or somebody waits for it."""
        return self._budget.grow(self, more_bytes)

    def shrink(self, less_bytes: int) -> None:
        """Gives a part back: something left the batch."""
        self._budget.shrink(self, less_bytes)

    def release(self) -> None:
        """Gives all of it back."""
        self._budget.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class MemoryBudget:
    """What models hold and batches lease of one device, together at most so much. Thread-safe.

    Leases are given in the order in which they are asked for, so that a large one is not kept waiting by small ones.
    Nothing waits for ever: a lease that nobody stands beside is given, whatever its size. Then only the device itself
    can refuse, by running out of memory.

    Args:
        max_bytes: The budget.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._changed = threading.Condition()  # guards what follows
        self._held: dict[str, int] = {}
        self._leases: set[Lease] = set()
        self._queue: deque[object] = deque()

    def hold(self, name: str, size_bytes: int) -> None:
        """Takes note of what a loaded model takes at rest."""
        with self._changed:
            self._held[name] = size_bytes
            self._changed.notify_all()

    def drop(self, name: str) -> None:
        """Takes note that a model is freed."""
        with self._changed:
            self._held.pop(name, None)
            self._changed.notify_all()

    def room_bytes(self) -> int:
        """Gives what the batches may take together beside the models that are loaded."""
        with self._changed:
            return max(0, self.max_bytes - sum(self._held.values()))

    def leased_bytes(self) -> int:
        """Gives what is leased now."""
        with self._changed:
            return self._leased()

    def lease(
        self,
        size_bytes: int,
        *,
        wanted: Callable[[], bool] = lambda: True,
        spare: Callable[[int], bool] = lambda _missing_bytes: False,
    ) -> Lease:
        """Gives a lease as soon as there is room, or nobody stands beside it.

        Args:
            size_bytes: What it is for takes at most.
            wanted: Asked while it waits. If not, an empty lease is given: what runs then ends at once.
            spare: Asked, with the bytes that are missing, when the models alone leave too little; says whether it freed
                something.
        """
        place = object()
        with self._changed:
            self._queue.append(place)
        try:
            while True:
                with self._changed:
                    waits = self._queue[0] is not place or (bool(self._leases) and self._missing(size_bytes) > 0)
                    if waits:
                        self._changed.wait(_HEED_EVERY_S)
                    elif (missing_bytes := self._missing(size_bytes)) <= 0:
                        return self._given(size_bytes)
                if waits:
                    # Outside the lock: futures of those that are stopped call back their owners.
                    if not wanted():
                        with self._changed:
                            return self._given(0)
                    continue
                # Nobody passes us meanwhile: we are first.
                if not spare(missing_bytes):
                    with self._changed:
                        return self._given(size_bytes)
        finally:
            with self._changed:
                self._queue.remove(place)
                self._changed.notify_all()

    def grow(self, lease: Lease, more_bytes: int) -> bool:
        """See `Lease.grow`."""
        with self._changed:
            if lease not in self._leases or self._queue:
                return False
            if more_bytes > 0 and self._missing(more_bytes) > 0:
                return False
            lease.size_bytes += more_bytes
            return True

    def shrink(self, lease: Lease, less_bytes: int) -> None:
        """See `Lease.shrink`."""
        with self._changed:
            lease.size_bytes = max(0, lease.size_bytes - less_bytes)
            self._changed.notify_all()

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        with self._changed:
            self._leases.discard(lease)
            self._changed.notify_all()

    def _given(self, size_bytes: int) -> Lease:
        lease = Lease(self, size_bytes, shared=bool(self._leases))
        for other in self._leases:
            other.shared = True
        self._leases.add(lease)
        return lease

    def _leased(self) -> int:
        return sum(lease.size_bytes for lease in self._leases)

    def _missing(self, size_bytes: int) -> int:
        return size_bytes + self._leased() + sum(self._held.values()) - self.max_bytes
