"""Stops calling a server that fails, and tries it again with one call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from triptych.core.errors import RemoteUnavailable

FAILURES = 5
COOL_S = 15.0

State = Literal["closed", "open", "half-open"]


class Breaker:
    """One server's circuit: closed while it answers, open after failures in a row, half-open while one call tries.

    For one event loop.

    Args:
        host: The server, for messages.
        failures: In a row, until it opens.
        cool_s: How long it stays open before a call may try, in seconds.
        clock: Gives seconds.
    """

    def __init__(
        self,
        host: str,
        *,
        failures: int = FAILURES,
        cool_s: float = COOL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._most = failures
        self._cool_s = cool_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        """Where it is."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if self._trying else "open"

    def admit(self) -> None:
        """Lets a call through; whoever called says `succeeded`, `failed` or `unknown` then.

        Raises:
            RemoteUnavailable: The server failed lately; says when it is tried again.
        """
        if self._opened_at is None:
            return
        left_s = self._opened_at + self._cool_s - self._clock()
        if self._trying or left_s > 0:
            raise RemoteUnavailable(
                f"{self._host} failed {self._failures} times in a row and is left alone for now",
                metadata={"cause": "circuit_open"},
                retry_after_s=max(1.0, left_s),
            )
        self._trying = True

    def succeeded(self) -> None:
        """The server answered, be it with a refusal."""
        self._failures, self._opened_at, self._trying = 0, None, False

    def failed(self) -> None:
        """It did not, or with an error of its own."""
        self._failures += 1
        if self._trying or self._failures >= self._most:
            self._opened_at, self._trying = self._clock(), False

    def unknown(self) -> None:
        """The call was given up before anybody could tell."""
        self._trying = False
