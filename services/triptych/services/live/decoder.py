"""Turns the audio of a live stream into 16 kHz mono samples, without a seam between its messages."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any

import av

from triptych.core.errors import MediaCorrupt
from triptych.services.fields import need
from triptych.services.live.sound import SAMPLE_RATE_HZ
from triptych.services.live.terms import LiveTerms
from triptych.v1.transcription_service_pb2 import LIVE_ENCODING_OPUS, LIVE_ENCODING_PCM_F32LE

MAX_MESSAGE_BYTES = 256 * 1024
# Layouts in which every channel is heard: those with a subwoofer lose it when they are mixed.
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "6.0", "7.0", "octagonal")


class LiveDecoder:
    """Decodes the messages of one call in order. What comes out is signed 16 bits, little endian.

    Args:
        terms: Of the call.
    """

    def __init__(self, terms: LiveTerms) -> None:
        self._layout = _LAYOUTS[terms.channel_count - 1]
        self._rate_hz = terms.sample_rate_hz
        self._format, sample_bytes = ("flt", 4) if terms.encoding == LIVE_ENCODING_PCM_F32LE else ("s16", 2)
        self._frame_bytes = sample_bytes * terms.channel_count
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        self._opus = _opus_decoder(self._layout, self._rate_hz) if terms.encoding == LIVE_ENCODING_OPUS else None

    def decode(self, data: bytes) -> bytes:
        """Gives the samples of the next message; a few milliseconds stay inside until more comes.

        Raises:
            FieldInvalid: It is too long, or ends within a frame.
            MediaCorrupt: It is no Opus packet, or holds what is no number.
        """
        need(len(data) <= MAX_MESSAGE_BYTES, "audio", f"has {len(data)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
        if not data:
            return b""
        return b"".join(self._resampled(frame) for frame in self._frames(data))

    def rest(self) -> bytes:
        """Gives what is still inside; nothing can be decoded after that."""
        return self._resampled(None)

    def _frames(self, data: bytes) -> Iterable[Any]:
        if self._opus is None:
            return (self._pcm_frame(data),)
        try:
            frames: list[Any] = self._opus.decode(av.Packet(data))
        except av.error.FFmpegError as error:
            raise MediaCorrupt(f"audio: a message of {len(data)} bytes is no Opus packet: {error.strerror}") from error
        if not frames:
            raise MediaCorrupt(f"audio: a message of {len(data)} bytes is an Opus packet without sound")
        return frames

    def _pcm_frame(self, data: bytes) -> Any:
        torn = len(data) % self._frame_bytes
        need(not torn, "audio", f"has {len(data)} bytes, which is no multiple of the {self._frame_bytes} of a frame")
        # One that is infinite or no number makes the sum so.
        if self._format == "flt" and not math.isfinite(sum(array("f", data))):
            raise MediaCorrupt("audio: holds samples that are infinite or no numbers")
        # Without alignment the plane is exactly as long as the data.
        frame = av.AudioFrame(self._format, self._layout, len(data) // self._frame_bytes, align=1)
        frame.planes[0].update(data)
        frame.sample_rate = self._rate_hz
        return frame

    def _resampled(self, frame: Any) -> bytes:
        if frame is not None:
            frame.pts = None  # the samples alone are the clock
        return b"".join(bytes(found.planes[0])[: 2 * found.samples] for found in self._resampler.resample(frame))


def _opus_decoder(layout: str, rate_hz: int) -> Any:
    # The stubs do not tell a decoder of audio from others.
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.layout, decoder.sample_rate = layout, rate_hz
    return decoder
