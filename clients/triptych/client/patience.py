"""Makes a call again until the services answer: they may be full, away or too slow for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triptych.client.steps import backoff_s
from triptych.core.errors import TimedOut, TriptychError

T = TypeVar("T")


async def patiently(
    call: Callable[[], Awaitable[T]],
    waiting: Callable[[TriptychError], None],
    *,
    also: tuple[type[TriptychError], ...] = (),
) -> T:
    """Makes a call until it is answered.

    Args:
        call: Begins it; may be called often.
        waiting: Told why it is to be made again, before each pause.
        also: Errors that are waited out besides those that say themselves that a retry helps.

    Raises:
        TriptychError: An error that no patience helps against.
    """
    failures = 0
    while True:
        try:
            return await call()
        except TriptychError as error:
            # A call that timed out says nothing about its job, and can be made again.
            if not error.retryable and type(error) is not TimedOut and not isinstance(error, also):
                raise
            failures += 1
            waiting(error)
            pause_s = error.retry_after_s or backoff_s(failures)
        await asyncio.sleep(pause_s * random.uniform(1, 1.5))
