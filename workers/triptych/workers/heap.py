"""What the C library does with memory that is freed; nothing happens where it is not glibc."""

from __future__ import annotations

import ctypes
from typing import Any

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Has blocks of a megabyte and more given back to the system as soon as they are freed: pages of documents.

    By default glibc keeps ever larger ones, in a heap for every thread.
    """
    if mallopt := _function("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def trim() -> None:
    """Gives back what is free now."""
    if malloc_trim := _function("malloc_trim"):
        malloc_trim(0)


def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
