"""Turns the bytes of an audio or video file into 16 kHz mono samples."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported

if TYPE_CHECKING:
    from av.container import InputContainer

SAMPLE_RATE_HZ = 16_000
# ffmpeg's names of the containers that we read. Anything else, above all play lists and other demuxers that open
# further files or addresses, is refused before it is parsed.
_CONTAINERS = "wav,mp3,flac,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,aiff,amr,caf,avi,mpeg"
_OPEN_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
# Frames are resampled in lots: one call a frame of 20 ms would cost more than the decoder.
_LOT_SAMPLES = 500_000
_FIRST_BUFFER_SAMPLES = 60 * SAMPLE_RATE_HZ
# Full scale is 1; a float file may exceed it a little, and only nonsense exceeds it by this.
_LOUDEST = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Decoded audio: mono, 16 kHz, kept in 16 bits (115 MB an hour) because long files are many."""

    samples: npt.NDArray[np.int16]
    """Shape (samples,)."""

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds, rounded up so that no sample lies behind the end."""
        return -(-len(self.samples) * 1000 // SAMPLE_RATE_HZ)

    def between(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Gives the samples from `start` up to `end` as float32 in [-1, 1), shape (end - start,)."""
        return self.samples[start:end].astype(np.float32) / np.float32(32768)


def decode_audio(data: bytes, *, max_audio_s: float, heed: Callable[[], None] = lambda: None) -> Audio:
    """Decodes the first audio stream; damaged stretches are left out, as players do.

    Args:
        data: A whole file: WAV, MP3, FLAC, Ogg, MP4, WebM, ...
        max_audio_s: Longest audio accepted, in seconds; decoding stops there.
        heed: Called now and then; what it raises ends the decoding.

    Raises:
        MediaCorrupt: Nothing, or more damage than audio.
        MediaTypeUnsupported: Another kind of file, an unknown codec, or no audio in it.
        InputTooLarge: Longer than `max_audio_s`.
    """
    # Imported here: ffmpeg's libraries are 60 MB, and not every worker reads audio.
    import av

    if not data:
        raise MediaCorrupt("the audio is empty")
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore", options=_OPEN_OPTIONS) as container:
            audio = Audio(samples=_collect(_decode(container), max_audio_s, heed))
    except (av.error.ArgumentError, av.error.DemuxerNotFoundError, av.error.DecoderNotFoundError) as error:
        raise MediaTypeUnsupported("this is no audio or video file that can be read") from error
    except av.error.FFmpegError as error:
        raise MediaCorrupt(f"the audio cannot be decoded: {error.strerror}") from error
    if not len(audio.samples):
        raise MediaCorrupt("the audio holds no samples")
    return audio


def _collect(
    lots: Iterator[npt.NDArray[np.int16]], max_audio_s: float, heed: Callable[[], None]
) -> npt.NDArray[np.int16]:
    """Joins lots of samples in one buffer that grows in place."""
    buffer, used = np.empty(_FIRST_BUFFER_SAMPLES, np.int16), 0
    for lot in lots:
        heed()
        if used + len(lot) > max_audio_s * SAMPLE_RATE_HZ:
            raise InputTooLarge(
                f"the audio is longer than {max_audio_s:g} s, the most that is read",
                limit=max_audio_s,
                value=(used + len(lot)) / SAMPLE_RATE_HZ,
            )
        if used + len(lot) > len(buffer):
            # refcheck counts a debugger's references too; nobody else has seen this buffer.
            buffer.resize(max(used + len(lot), len(buffer) * 3 // 2), refcheck=False)
        buffer[used : used + len(lot)] = lot
        used += len(lot)
    buffer.resize(used, refcheck=False)
    return buffer


def _decode(container: InputContainer) -> Iterator[npt.NDArray[np.int16]]:
    """Yields 16 kHz mono lots, shape (samples,)."""
    import av

    if not container.streams.audio:
        raise MediaTypeUnsupported("the file holds no audio")
    stream = container.streams.audio[0]
    # The stubs promise a codec; a stream of an unknown one has none.
    codec: Any = stream.codec_context
    if codec is None:
        raise MediaTypeUnsupported("the audio's codec is unknown")
    if not codec.channels or not codec.sample_rate:
        raise MediaCorrupt("the audio has no channels or no sample rate")
    to_speech = _Resampling()
    good = bad = noise_only = 0
    for packet in _packets(container):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            continue
        for frame in frames:
            good += 1
            frame.pts = None  # gaps in the clock must not become silence
            frame, sound = _finite(frame)  # noqa: PLW2901 - the same frame, cleaned
            noise_only += not sound
            yield from to_speech.add(frame)
    yield from to_speech.rest()
    if bad > good:
        raise MediaCorrupt(f"{bad} of {bad + good} pieces of the audio cannot be decoded")
    if good and noise_only == good:
        raise MediaCorrupt("the audio holds no finite samples")


def _packets(container: InputContainer) -> Iterator[Any]:
    """Yields the packets of the first audio stream up to the end, or to where a truncated file breaks off."""
    import av

    try:
        yield from container.demux(audio=0)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _finite(frame: Any) -> tuple[Any, bool]:
    """Cleans a frame of float samples; also says whether any sample was finite."""
    import av

    if not frame.format.name.startswith(("flt", "dbl")):
        return frame, True
    samples = frame.to_ndarray()
    with np.errstate(all="ignore"):
        if np.abs(samples).max(initial=0) <= _LOUDEST:  # false for NaN
            return frame, True
        finite = bool(np.isfinite(samples).any())
        samples = np.clip(np.nan_to_num(samples, nan=0, posinf=0, neginf=0), -1, 1)
    cleaned = av.AudioFrame.from_ndarray(samples, format=frame.format.name, layout=frame.layout.name)
    cleaned.sample_rate = frame.sample_rate
    return cleaned, finite


class _Resampling:
    """Brings frames to 16 kHz mono, in lots, even if their shape changes within the stream."""

    def __init__(self) -> None:
        self._shape: tuple[str, str, int] | None = None
        self._fifo: Any = None
        self._resampler: Any = None

    def add(self, frame: Any) -> Iterator[npt.NDArray[np.int16]]:
        """Takes one frame; yields what is ready, shape (samples,)."""
        import av

        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self.rest()
            self._shape, self._fifo = shape, av.AudioFifo()
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        self._fifo.write(frame)
        if self._fifo.samples >= _LOT_SAMPLES:
            yield from self._resampled(self._fifo.read())

    def rest(self) -> Iterator[npt.NDArray[np.int16]]:
        """Yields what is still inside."""
        if self._fifo is None:
            return
        if self._fifo.samples:
            yield from self._resampled(self._fifo.read())
        yield from self._resampled(None)

    def _resampled(self, frame: Any) -> Iterator[npt.NDArray[np.int16]]:
        for resampled in self._resampler.resample(frame):
            yield resampled.to_ndarray().reshape(-1)
