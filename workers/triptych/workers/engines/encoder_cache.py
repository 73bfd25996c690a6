"""Keeps what images were encoded to: a further question about an image neither prepares nor encodes it again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

from triptych.workers.engines.generation import Pixels


class Sized(Protocol):
    """What is kept."""

    def nbytes(self) -> int:
        """Gives the memory that it takes."""


def image_key(tenant: str, image: Pixels) -> Hashable:
    """Names an image by its tenant and all its bytes: what is kept for one tenant serves no other."""
    return tenant, hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()


class EncoderCache:
    """The most recently used results within a bound of bytes. Thread-safe.

    Args:
        max_bytes: 0: nothing is kept.
        on_look: Told of every look, whether it hit.
    """

    def __init__(self, max_bytes: int, on_look: Callable[[bool], object] = lambda _hit: None) -> None:
        self._max_bytes = max_bytes
        self._on_look = on_look
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Sized] = OrderedDict()
        self._bytes = 0
        self._purges = 0

    @property
    def purges(self) -> int:
        """How many times it was emptied: what was begun before one of them is not kept after it."""
        return self._purges

    def find(self, key: Hashable) -> Sized | None:
        """Gives what is kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        self._on_look(found is not None)
        return found

    def keep(self, key: Hashable, value: Sized, *, purges: int) -> None:
        """Keeps a value; those unused the longest make room.

        Args:
            key: Of `image_key`.
            value: What it was encoded to.
            purges: As it was when the image came.
        """
        size = value.nbytes()
        with self._lock:
            if purges != self._purges or size > self._max_bytes or key in self._kept:
                return
            self._kept[key] = value
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes()

    def forget(self) -> None:
        """Drops everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0
            self._purges += 1

    def nbytes(self) -> int:
        """Gives the memory that it takes."""
        return self._bytes
