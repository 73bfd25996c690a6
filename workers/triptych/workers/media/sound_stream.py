"""One audio stream of an open container: decoded from its beginning, or from a place that is sought."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported, RangeOutsideSource
from triptych.workers.media.guarded_file import GuardedFile
from triptych.workers.media.resampling import SAMPLE_RATE_HZ, Resampling

MAX_CHANNELS = 8
# ffmpeg's names of the containers that we read. Anything else, above all play lists and other demuxers that open
# further files or addresses, is refused before it is parsed.
_CONTAINERS = (
    "wav,mp3,flac,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,aiff,amr,caf,avi,mpeg,au,w64,mpegts,asf,flv,wv,ac3,eac3"
)
OPEN_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
# Those that were seen to find a time to the sample, or to the millisecond in which their clock counts.
_EXACT = frozenset({
    "wav", "w64", "mp3", "flac", "ogg", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "aac", "aiff", "au", "caf",
})  # fmt: skip
_BUFFER_BYTES = 1 << 18
# Other rates are nobody's speech: at 1 Hz a small file would be years of it.
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 384_000
# Pieces that cannot be decoded before a file is given up early, if there are more of them than good ones.
_MANY_BAD = 500
_HEED_EVERY_PACKETS = 10_000


class SoundStream:
    """Damaged stretches are left out, as players do; so are gaps in the clock.

    Attributes:
        channel_count: Channels that it has.
        exact: Whether its container tells its length, and finds a time, as good as exactly.
        first: Place of the first sample that `lots` gave, in samples; None: it gave none yet, or its clock is silent.

    Args:
        file: At its beginning; read as long as this is open.
        index: Which audio stream of the file, from 0.
        separate: Whether channels stay apart.

    Raises:
        MediaCorrupt: Nothing that can be opened.
        MediaTypeUnsupported: Another kind of file, an unknown codec, or no audio in it.
        RangeOutsideSource: There is no such stream.
        InputTooLarge: More than eight channels.
    """

    def __init__(self, file: GuardedFile, *, index: int, separate: bool) -> None:
        # Imported here: ffmpeg's libraries are 60 MB, and not every worker reads audio.
        import av

        self._file = file
        self._separate = separate
        self.first: int | None = 0
        with self._errors():
            self._container: Any = av.open(
                file, mode="r", metadata_errors="ignore", options=OPEN_OPTIONS, buffer_size=_BUFFER_BYTES
            )
            self._stream = _chosen(self._container.streams.audio, index)
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = av.stream.Discard.all
        self.channel_count: int = self._stream.codec_context.channels
        self.exact: bool = self._container.format.name in _EXACT

    def close(self) -> None:
        """Frees what ffmpeg holds; the file stays open."""
        self._container.close()

    def claimed(self) -> int | None:
        """Gives the length that the file tells, in samples; None: it tells none."""
        if self._stream.duration is not None:
            return _samples(self._stream.duration * self._stream.time_base)
        duration_us = self._container.duration
        return None if duration_us is None else _samples(Fraction(duration_us, 1_000_000))

    def counted(self, most: int, heed: Callable[[], None]) -> int | None:
        """Gives the length of all packets to come, as far as it is not over `most`; None: they tell none."""
        ticks, most_ticks = 0, most / SAMPLE_RATE_HZ / self._stream.time_base
        with self._errors():
            for number, packet in enumerate(self._packets()):
                ticks += packet.duration or 0
                if number % _HEED_EVERY_PACKETS == 0:
                    heed()
                if ticks > most_ticks:
                    break
        return _samples(ticks * self._stream.time_base) or None

    def seek(self, place: int) -> None:
        """Goes to a place or somewhat before it; `first` tells with the first lot.

        Raises:
            MediaCorrupt: It cannot be found.
        """
        self.first = None
        with self._errors():
            ticks = int(place / SAMPLE_RATE_HZ / self._stream.time_base) + self._start
            self._container.seek(ticks, stream=self._stream)

    def lots(self) -> Iterator[npt.NDArray[np.int16]]:
        """Decodes up to the end.

        Yields:
            Shape (channels, samples), or (1, samples) if they are mixed; 16 kHz, at least one sample.

        Raises:
            MediaCorrupt: More damage than audio, or none.
            TriptychError: What the file raised.
        """
        import av

        resampling = Resampling(separate=self._separate)
        good = bad = 0
        with self._errors():
            for packet in self._packets():
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    bad += 1
                    if bad > max(good, _MANY_BAD):
                        break
                    continue
                for frame in frames:
                    good += 1
                    self._look(frame)
                    yield from resampling.add(frame)
            yield from resampling.rest()
        if bad > good:
            raise MediaCorrupt(f"{bad} of {bad + good} pieces of the audio cannot be decoded")
        if not good:
            raise MediaCorrupt("the audio holds no samples")
        if not resampling.finite:
            raise MediaCorrupt("the audio holds no finite samples")

    @property
    def _start(self) -> int:
        """What its clock says at its first sample."""
        return self._stream.start_time or 0

    def _look(self, frame: Any) -> None:
        if self.first is None and frame.pts is not None:
            self.first = _samples(frame.pts * frame.time_base - self._start * self._stream.time_base)
        if self._separate and frame.layout.nb_channels != self.channel_count:
            raise MediaCorrupt("the number of channels changes within the audio: they cannot be told apart")

    def _packets(self) -> Iterator[Any]:
        """Yields packets up to the end, or to where a truncated file breaks off."""
        import av

        try:
            yield from self._container.demux(self._stream)
        except (av.error.InvalidDataError, av.error.EOFError):
            return

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns ffmpeg's errors into ours; what the file raised comes first."""
        import av

        try:
            yield
        except av.error.FFmpegError as error:
            self._file.check()
            unknown = av.error.ArgumentError | av.error.DemuxerNotFoundError | av.error.DecoderNotFoundError
            if isinstance(error, unknown):
                raise MediaTypeUnsupported("this is no audio or video file that can be read") from error
            raise MediaCorrupt(f"the audio cannot be decoded: {error.strerror}") from error
        self._file.check()


def _chosen(streams: Any, index: int) -> Any:
    """Gives the stream that is asked for."""
    if not streams:
        raise MediaTypeUnsupported("the file holds no audio")
    if index >= len(streams):
        raise RangeOutsideSource(f"audio stream {index} is asked for, but the file holds {len(streams)} (from 0)")
    # The stubs promise a codec; a stream of an unknown one has none.
    codec: Any = streams[index].codec_context
    if codec is None:
        raise MediaTypeUnsupported("the audio's codec is unknown")
    if not codec.channels or not codec.sample_rate:
        raise MediaCorrupt("the audio has no channels or no sample rate")
    if not _MIN_RATE_HZ <= codec.sample_rate <= _MAX_RATE_HZ:
        raise MediaTypeUnsupported(f"the audio has {codec.sample_rate} samples a second")
    if codec.channels > MAX_CHANNELS:
        raise InputTooLarge(
            f"the audio has {codec.channels} channels; at most {MAX_CHANNELS} are read",
            limit=MAX_CHANNELS,
            value=codec.channels,
        )
    return streams[index]


def _samples(seconds: Fraction) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
