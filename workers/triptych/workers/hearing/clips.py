"""The parts of a recording that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triptych.core.errors import FieldInvalid, RangeOutsideSource
from triptych.v1.common_pb2 import TimeRange
from triptych.workers.media.resampling import SAMPLE_RATE_HZ


def duration_ms(length: int) -> int:
    """Gives a length in milliseconds, rounded up so that no sample lies behind the end."""
    return -(-length * 1000 // SAMPLE_RATE_HZ)


class Clips:
    """Yields (start, end) of every part in order, in samples; an end of None is that of the audio.

    Args:
        ranges: As the specification has them; none: everything.

    Raises:
        FieldInvalid: A clip is empty, or begins before the one before it ends.
        RangeOutsideSource: A clip begins before the audio.
    """

    def __init__(self, ranges: Sequence[TimeRange]) -> None:
        self._ranges = [(clip.start_ms, clip.end_ms or None) for clip in ranges] or [(0, None)]
        before_ms: int | None = 0
        for index, (start_ms, end_ms) in enumerate(self._ranges):
            if start_ms < 0:
                raise RangeOutsideSource(f"clip {index} begins at {start_ms} ms")
            if before_ms is None or start_ms < before_ms or (end_ms is not None and end_ms <= start_ms):
                raise FieldInvalid(f"config.clips[{index}]", "clips must be in order, not empty and not overlapping")
            before_ms = end_ms

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        for start_ms, end_ms in self._ranges:
            yield _samples(start_ms), None if end_ms is None else _samples(end_ms)

    def check(self, length: int, slack_ms: int = 0) -> None:
        """Compares them with the audio.

        Args:
            length: Of the audio, in samples.
            slack_ms: By which that may be wrong.

        Raises:
            RangeOutsideSource: A clip is not within the audio.
        """
        whole_ms = duration_ms(length)
        for index, (start_ms, end_ms) in enumerate(self._ranges):
            if start_ms >= whole_ms + slack_ms or (end_ms or 0) > whole_ms + slack_ms:
                end = "its end" if end_ms is None else f"{end_ms} ms"
                raise RangeOutsideSource(f"clip {index} is {start_ms} ms to {end} of an audio of {whole_ms} ms")

    def before(self, place: int) -> int:
        """Gives how many samples before a place are asked for."""
        return sum(max(0, (place if end is None else min(end, place)) - start) for start, end in self)


def _samples(time_ms: int) -> int:
    return time_ms * SAMPLE_RATE_HZ // 1000
