"""What a batcher asks before a batch runs: how large it may be, and for a lease of the memory it takes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class BatchLease(Protocol):
    """The memory of a batch that runs."""

    def admit(self, cost: float) -> bool:
        """Takes more, for an item that joins; False: there is no room for it now."""

    def settle(self, cost: float) -> None:
        """Gives back what is more than that which runs now takes: something has left.

        Args:
            cost: Of all that runs.
        """

    def learn(self, cost: float) -> None:
        """Takes note of what was taken so far. What failed or was stopped teaches nothing.

        Args:
            cost: So much ran at once, and well.
        """


class BatchMemory(Protocol):
    """The memory that a model's batches take. For the batcher's thread."""

    def max_cost(self, key: Hashable) -> float:
        """Gives the cost up to which batches of a key fit; a single item always runs."""

    def leased(self, items: Sequence[Any], key: Hashable, cost: float) -> AbstractContextManager[BatchLease]:
        """Waits for the memory of a batch, and holds it inside the block, in which the batch runs."""


class Boundless:
    """Memory without a bound, for batchers whose engine has none to share."""

    def max_cost(self, key: Hashable) -> float:  # noqa: ARG002 - the same for all
        """See `BatchMemory.max_cost`."""
        return math.inf

    def leased(
        self,
        items: Sequence[Any],  # noqa: ARG002 - nothing is counted
        key: Hashable,  # noqa: ARG002
        cost: float,  # noqa: ARG002
    ) -> AbstractContextManager[BatchLease]:
        """See `BatchMemory.leased`."""
        return nullcontext(self)

    def admit(self, cost: float) -> bool:  # noqa: ARG002 - nothing is counted
        """See `BatchLease.admit`."""
        return True

    def settle(self, cost: float) -> None:
        """See `BatchLease.settle`."""

    def learn(self, cost: float) -> None:
        """See `BatchLease.learn`."""
