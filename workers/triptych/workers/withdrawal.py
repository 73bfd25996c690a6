"""Whether an item is stopped, as its engine asks it; the item's future ends when the engine hears that it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from triptych.core.errors import JobCancelled


class Withdrawal:
    """Stands in for an item's `stopped`; only the batcher's thread calls it.

    An engine asks between its steps and does nothing more for an item that is stopped, but the batch may go on for
    others. So the future ends there and then: its owner learns when the engine was free of the item. What was heard
    once stays true, as the engine has skipped steps by then.

    Args:
        stopped: The item's own.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._heard = False
        self._future: Future[Any] | None = None

    def ends(self, future: Future[Any]) -> None:
        """Says which future ends with it."""
        self._future = future

    def __call__(self) -> bool:
        """Whether nobody wants the item any more."""
        if not self._heard and self._stopped():
            self._heard = True
            if self._future is not None and not self._future.done():
                self._future.set_exception(JobCancelled("the job was stopped"))
        return self._heard
