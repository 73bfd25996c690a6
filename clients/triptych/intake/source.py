"""Where orders come from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol

from triptych.intake.order import Order


class Source(Protocol):
    """Gives orders, and takes back files that cannot be handled now."""

    def orders(self) -> AsyncIterator[Order]:
        """Yields orders, until there are no more or for ever."""
        ...

    def put_back(self, paths: Iterable[Path]) -> None:
        """Takes files back that could not be read, or not be moved away."""
        ...


class Listed:
    """Orders that are all known beforehand: what cannot be read is left out, and the command run again does it."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._orders = orders

    async def orders(self) -> AsyncIterator[Order]:
        """Yields them."""
        for order in self._orders:
            yield order

    def put_back(self, paths: Iterable[Path]) -> None:
        """Leaves them out; the event was told."""
