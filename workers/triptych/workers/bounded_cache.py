"""Keeps values that may be wanted again, within a bound of bytes, until a document is purged."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What is kept."""

    def nbytes(self) -> int:
        """Gives the memory that it takes."""


ValueT = TypeVar("ValueT", bound=Sized)


class BoundedCache(Generic[ValueT]):
    """The most recently used values within a bound of bytes. Thread-safe.

    Args:
        max_bytes: 0: nothing is kept.
        on_look: Told of every look, whether it hit.
    """

    def __init__(self, max_bytes: int, on_look: Callable[[bool], object] = lambda _hit: None) -> None:
        self._max_bytes = max_bytes
        self._on_look = on_look
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[ValueT, int]] = OrderedDict()
        self._bytes = 0
        self._purges = 0

    @property
    def purges(self) -> int:
        """How many times it was emptied: what was begun before one of them is not kept after it."""
        return self._purges

    def find(self, key: Hashable) -> ValueT | None:
        """Gives what is kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        self._on_look(found is not None)
        return found[0] if found is not None else None

    def keep(self, key: Hashable, value: ValueT, *, purges: int) -> None:
        """Keeps a value; those unused the longest make room.

        Args:
            key: Of everything that it depends on, and of whom it belongs to.
            value: Its size must not change.
            purges: As it was when its making began.
        """
        size = value.nbytes()
        with self._lock:
            if purges != self._purges or size > self._max_bytes or key in self._kept:
                return
            self._kept[key] = value, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def forget(self) -> None:
        """Drops everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0
            self._purges += 1

    def nbytes(self) -> int:
        """Gives the memory that it takes."""
        return self._bytes
