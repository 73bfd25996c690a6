"""Where live speech comes from: a file that is spoken as it would be, or samples on standard input."""

from __future__ import annotations

import os
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.v1.transcription_service_pb2 import LiveConfig

PIECE_S = 0.04
_READ_BYTES = 64 * 1024


def file_pieces(path: Path, config: LiveConfig) -> Iterator[bytes]:
    """Gives the samples of a file, 40 ms at a time, and says in the configuration what they are.

    Raises:
        FeatureDisabled: It is no WAV file with 16 bits, and nothing is installed that reads others.
        MediaCorrupt: It cannot be read.
    """
    from triptych.v1.transcription_service_pb2 import LIVE_ENCODING_PCM_S16LE

    config.encoding = LIVE_ENCODING_PCM_S16LE
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 - closed when its samples were read
    except (wave.Error, EOFError):
        return _decoded(path, config)
    if file.getsampwidth() != 2:
        file.close()
        return _decoded(path, config)
    config.sample_rate_hz, config.channel_count = file.getframerate(), file.getnchannels()
    return _wav_pieces(file)


def stdin_pieces(frame_bytes: int) -> Iterator[bytes]:
    """Yields whole frames from standard input, as they come."""
    rest = b""
    while data := os.read(sys.stdin.fileno(), _READ_BYTES):
        data = rest + data
        whole = len(data) - len(data) % frame_bytes
        rest = data[whole:]
        if whole:
            yield data[:whole]


def paced(pieces: Iterator[bytes], stop: Event, *, fast: bool) -> Iterator[bytes]:
    """Yields pieces of 40 ms when they were said, until it is stopped; fast: at once."""
    began_s = time.monotonic()
    for number, piece in enumerate(pieces, 1):
        if stop.wait(0 if fast else max(0.0, began_s + number * PIECE_S - time.monotonic())):
            return
        yield piece


def _wav_pieces(file: wave.Wave_read) -> Iterator[bytes]:
    with file:
        frames = max(1, round(file.getframerate() * PIECE_S))
        while data := file.readframes(frames):
            yield data


def _decoded(path: Path, config: LiveConfig) -> Iterator[bytes]:
    """Reads what a WAV reader does not, as 16 kHz mono."""
    try:
        import av
    except ImportError:
        from triptych.core.errors import FeatureDisabled

        raise FeatureDisabled(
            f"{path.name} is no WAV file with 16 bits, and nothing else can be read here",
            metadata={"hint": f"pip install av, or: ffmpeg -i {path} -f s16le -ac 1 -ar 16000 - | triptych live -"},
        ) from None
    from triptych.core.errors import MediaCorrupt

    config.sample_rate_hz, config.channel_count = 16_000, 1
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except av.error.FFmpegError as error:
        raise MediaCorrupt(f"{path.name} cannot be read: {error.strerror}") from error
    if not container.streams.audio:
        raise MediaCorrupt(f"{path.name} holds no audio")
    return _av_pieces(container, round(16_000 * PIECE_S))


def _av_pieces(container: Any, frames: int) -> Iterator[bytes]:
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000, frame_size=frames)
    with container:
        decoded = container.decode(audio=0)
        while True:
            # A file that breaks off is spoken up to there.
            try:
                frame = next(decoded, None)
            except av.error.FFmpegError:
                frame = None
            if frame is not None:
                frame.pts = None
            for piece in resampler.resample(frame):
                yield bytes(piece.planes[0])[: 2 * piece.samples]
            if frame is None:
                return
