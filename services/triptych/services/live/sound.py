"""The part of a live stream that is not done with yet."""

from __future__ import annotations

import os
import struct

SAMPLE_RATE_HZ = 16_000
_BYTES_PER_MS = 2 * SAMPLE_RATE_HZ // 1000


class Sound:
    """Samples of 16 kHz mono, signed 16 bits; times are milliseconds from the beginning of the call."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.start_ms = 0
        """What came before is dropped."""

    @property
    def end_ms(self) -> int:
        """Up to here, in whole milliseconds, there are samples."""
        return self.start_ms + len(self._data) // _BYTES_PER_MS

    def add(self, samples: bytes) -> None:
        """Appends what came."""
        self._data += samples

    def drop(self, until_ms: int) -> None:
        """Forgets what came before."""
        until_ms = min(max(until_ms, self.start_ms), self.end_ms)
        del self._data[: (until_ms - self.start_ms) * _BYTES_PER_MS]
        self.start_ms = until_ms

    def wav(self, start_ms: int, end_ms: int, *, own: bool = False) -> bytes:
        """Gives a stretch as a file.

        Args:
            start_ms: Not before `start_ms` of the sound.
            end_ms: Exclusive, not behind its end.
            own: Whether the file shall differ from every other, so that its blob can be deleted: silence in two calls
                would otherwise be one blob.
        """
        first, last = ((each - self.start_ms) * _BYTES_PER_MS for each in (start_ms, end_ms))
        samples = bytes(memoryview(self._data)[first:last])
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ, 2, 16)
        # Readers pass over a chunk of this name.
        mark = struct.pack("<4sI16s", b"JUNK", 16, os.urandom(16)) if own else b""
        body = form + mark + struct.pack("<4sI", b"data", len(samples)) + samples
        return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body
