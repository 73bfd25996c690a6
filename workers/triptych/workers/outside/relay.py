"""A future that follows one item from one engine to another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Relay(Future[ValueT], Generic[ValueT]):
    """Ends as the future that it followed last. Cancelling it cancels that one, which decides when it ends."""

    def __init__(self) -> None:
        super().__init__()
        self._now: Future[ValueT] | None = None
        self.unwanted = False
        """Whether it was cancelled: then nothing new is to be begun."""

    def follow(self, future: Future[ValueT], then: Callable[[Future[ValueT]], object]) -> None:
        """Goes on with a future; `then` is called when it has ended, on whatever thread ends it."""
        self._now = future
        if self.unwanted:
            future.cancel()
        future.add_done_callback(then)

    def cancel(self) -> bool:
        """Cancels what is followed; see `Future.cancel`."""
        self.unwanted = True
        return self._now.cancel() if self._now is not None else False

    def end(self, future: Future[ValueT]) -> None:
        """Ends as a future that has ended."""
        if future.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif error := future.exception():
            self.set_exception(error)
        else:
            self.set_result(future.result())
