"""Gives the sound of an audio or video file piece by piece, as 16 kHz samples; never all of it is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InputTooLarge, MediaCorrupt
from triptych.workers.media.guarded_file import GuardedFile, SeekableFile
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.sound_stream import SoundStream

# A clip so far ahead is sought, not read up to; and sought a little early, as decoders need a run-up.
_WORTH_SEEKING_SAMPLES = 30 * SAMPLE_RATE_HZ
_RUN_UP_SAMPLES = SAMPLE_RATE_HZ


class AudioFile:
    """An open file, read from its beginning to its end. A context manager.

    Places and lengths are numbers of samples from the beginning of the audio.

    Attributes:
        channel_count: Channels of its stream.
        separate: Whether it gives each of them a row of samples, or mixes them into one.
        claimed: Length as the container tells it, or its packets; None: unknown.
        exact: Whether that can be relied on.
        length: Length that was found when it was read to its end; None: it has not been.

    Args:
        file: Seekable, of a whole file: WAV, MP3, FLAC, Ogg, MP4, WebM, ...
        stream: Which audio stream, from 0.
        separate: Whether channels stay apart.
        max_audio_s: Longest audio accepted, in seconds.
        heed: Called now and then; what it raises ends the reading.

    Raises:
        InputTooLarge: It is longer, or has more than eight channels.
        TriptychError: See `SoundStream`.
    """

    def __init__(
        self,
        file: SeekableFile,
        *,
        stream: int = 0,
        separate: bool = False,
        max_audio_s: float,
        heed: Callable[[], None] = lambda: None,
    ) -> None:
        self.separate = separate
        self.length: int | None = None
        self._file = GuardedFile(file, heed)
        self._stream_index = stream
        self._most = round(max_audio_s * SAMPLE_RATE_HZ)
        self._heed = heed
        self._held: npt.NDArray[np.int16] | None = None
        self._open()
        self.channel_count = self._stream.channel_count
        self.exact = self._stream.exact
        self.claimed = self._stream.claimed()
        if self.claimed is None or self.claimed > self._most:
            # Claims lie, and live recordings have none: counting packets is quick.
            self.claimed = self._stream.counted(self._most, heed)
            self._reopen()
            self._check_length(self.claimed or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def between(self, start: int = 0, end: int | None = None) -> Iterator[npt.NDArray[np.int16]]:
        """Yields the samples from `start` up to `end`, or to the end of the audio, in lots.

        Only forwards: `start` must not be before the end of what was read last.

        Yields:
            Shape (channels, samples), or (1, samples) if they are mixed; at least one sample.

        Raises:
            TriptychError: See `SoundStream`; also what `heed` or the file raised.
        """
        if start - self._at > _WORTH_SEEKING_SAMPLES and self.exact:
            self._seek(start - _RUN_UP_SAMPLES)
        while end is None or self._at < end:
            lot = self._next_lot()
            if lot is None:
                self.length = self._at
                return
            count = lot.shape[1]
            first, last = max(0, start - self._at), count if end is None else min(count, end - self._at)
            self._held = lot[:, last:] if last < count else None
            self._at += last
            self._check_length(self._at)
            if first < last:
                yield lot[:, first:last]

    def _open(self) -> None:
        self._file.seek(0)
        self._stream = SoundStream(self._file, index=self._stream_index, separate=self.separate)
        self._begin()

    def _reopen(self) -> None:
        self._stream.close()
        self._open()

    def _begin(self) -> None:
        self._at = 0
        self._held = None
        self._lots = self._stream.lots()

    def _seek(self, place: int) -> None:
        """Goes to a little before a place; if that cannot be found, to the beginning."""
        try:
            self._stream.seek(place)
            self._begin()
            self._held = self._next_lot()
        except MediaCorrupt:
            self._held = None
        first = self._stream.first
        if self._held is None or first is None or not 0 <= first <= place + _RUN_UP_SAMPLES:
            self._reopen()
        else:
            self._at = first

    def _next_lot(self) -> npt.NDArray[np.int16] | None:
        """Gives the samples from `_at` on; None: there are no more."""
        if self._held is not None:
            lot, self._held = self._held, None
            return lot
        self._heed()
        return next(self._lots, None)

    def _check_length(self, length: int) -> None:
        if length > self._most:
            most_s = self._most / SAMPLE_RATE_HZ
            raise InputTooLarge(
                f"the audio is longer than {most_s:g} s, the most that is read",
                limit=most_s,
                value=length / SAMPLE_RATE_HZ,
            )
