"""Leaves a computation in the middle once nobody wants it, wherever the code that computes asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# While a call of foreign code runs elsewhere, it is asked this often.
HEED_EVERY_S = 0.05

_check: ContextVar[Callable[[], object]] = ContextVar("check", default=lambda: None)


class Unwanted(Exception):
    """Nobody wants what is computed. Never leaves an engine."""


@contextmanager
def heeding(check: Callable[[], object]) -> Iterator[None]:
    """Has `check` called between the steps of what is computed inside the block, by this thread; it raises to leave."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


@contextmanager
def left_when(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Has the block left as soon as `unwanted` says so; it is asked before it begins, too.

    Raises:
        Unwanted: It did.
    """

    def check() -> None:
        if unwanted():
            raise Unwanted

    check()
    with heeding(check):
        yield


def heed() -> None:
    """Asks; called before every step that may be left out.

    Raises:
        Exception: Whatever leaves the block of `heeding` in which it is called.
    """
    _check.get()()
