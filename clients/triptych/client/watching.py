"""Where a watch of a job stands, so that a broken one goes on after the last event seen."""

from __future__ import annotations

import time

from triptych.client.jobs import MAX_FAILURES, TERMINAL
from triptych.client.steps import backoff_s
from triptych.core.errors import CursorExpired, TriptychError, Unavailable
from triptych.v1.job_pb2 import JobEvent
from triptych.v1.job_service_pb2 import WatchJobRequest


class Watching:
    """The state of one watch over all its streams."""

    def __init__(self, name: str, *, after_cursor: str, include_partials: bool, timeout_s: float | None) -> None:
        self.name = name
        self.done = False
        self._cursor = after_cursor
        self._include_partials = include_partials
        self._failures = 0
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Gives the time until the watch's own end, in seconds; None if it has none."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def request(self) -> WatchJobRequest:
        """Gives the request that goes on after the last event."""
        return WatchJobRequest(name=self.name, after_cursor=self._cursor, include_partials=self._include_partials)

    def saw(self, event: JobEvent) -> None:
        """Takes note of an event."""
        self._cursor = event.cursor or self._cursor
        self._failures = 0
        if event.HasField("job") and event.job.state in TERMINAL and event.job.WhichOneof("outcome"):
            self.done = True

    def pause_s(self, error: TriptychError | None) -> float:
        """Gives the pause before the next stream, in seconds; None means it ended without the outcome.

        Raises:
            TriptychError: The error, if going on makes no sense or was tried too often.
        """
        if isinstance(error, CursorExpired) and self._cursor:
            self._cursor = ""
            return 0.0
        self._failures += 1
        if error is None:
            error = Unavailable(f"the stream of {self.name} ended early", metadata={"job": self.name})
        if not isinstance(error, Unavailable) or self._failures > MAX_FAILURES:
            raise error
        return error.retry_after_s or backoff_s(self._failures)
