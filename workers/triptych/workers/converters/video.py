"""Takes the frames out of a video on which something new is shown, as the pages of one image file."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported
from triptych.workers.converters.contents import FRAMES, Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.media.sound_stream import OPEN_OPTIONS

# A frame is looked at so often, and taken so long after the last one that was.
_LOOK_EVERY_MS, _TAKE_EVERY_MS = 500, 2000
# Of a longer one only those frames are decoded that need no others: encoders put one where the scene changes.
_ALL_FRAMES_UP_TO_MS = 180_000
# And at most so many of them, evenly. What is not looked at before most of the time is over is not looked at: the sound
# of a long film is still heard.
_MOST_DECODED, _CPU_SHARE = 600, 0.7
# Something new is where so large a share of a small grey picture differs by so much: two or three letters of a slide
# do, a pointer does not.
_GREY_SIZE, _DIFFERS_BY, _NEW_SHARE = (320, 180), 24, 0.0007
_BLANK_DEVIATION = 3
# Print that is smaller than this leaves legible is not read off a film.
_LONGEST_SIDE_PX = 1600
_QUALITY = 92

Grey = npt.NDArray[np.int16]


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:
    """Looks for frames and sound.

    Raises:
        MediaCorrupt: It cannot be decoded.
        MediaTypeUnsupported: Neither is in it.
        InputTooLarge: Its frames are too large.
    """
    try:
        with path.open("rb") as file, av.open(file, metadata_errors="ignore", options=OPEN_OPTIONS) as container:
            heard = any(stream.codec_context is not None for stream in container.streams.audio)
            stream = next(filter(_moves, container.streams.video), None)
            frames = _Frames(limits.max_video_frames)
            if stream is not None and limits.max_video_frames:
                _check_size(stream, limits)
                for at_ms, frame in _decoded(container, stream, _CPU_SHARE * limits.max_cpu_s):
                    frames.look(at_ms, frame)
    except av.error.FFmpegError as error:
        raise MediaCorrupt(f"the video cannot be decoded: {error.strerror}") from error
    if not heard and stream is None:
        raise MediaTypeUnsupported("the file holds neither sound nor pictures")
    return Contents(media_type="", frames_ms=frames.write(folder / FRAMES), heard=heard)


class _Frames:
    """The frames taken so far. Where they become too many, they are taken less often, from the beginning on."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._every_ms = _TAKE_EVERY_MS
        self._looked_ms = -_LOOK_EVERY_MS
        self._taken: list[tuple[int, Grey, bytes]] = []

    def look(self, at_ms: int, frame: Any) -> None:
        """Takes a frame if something new is shown on it."""
        if at_ms - self._looked_ms < _LOOK_EVERY_MS:
            return
        self._looked_ms = at_ms
        if self._taken and at_ms - self._taken[-1][0] < self._every_ms:
            return
        width, height = _GREY_SIZE
        grey = (
            frame.reformat(width=width, height=height, format="gray", interpolation="AREA")
            .to_ndarray()
            .astype(np.int16)
        )
        if grey.std() < _BLANK_DEVIATION or not all(_new(grey, other) for _, other, _ in self._taken):
            return
        self._taken.append((at_ms, grey, _encoded(frame)))
        while len(self._taken) > self._most:
            self._thin_out()

    def write(self, path: Path) -> list[int]:
        """Writes the frames as pages; gives when they are shown, in milliseconds."""
        if self._taken:
            first, *others = (Image.open(io.BytesIO(png)) for _, _, png in self._taken)
            first.save(path, "TIFF", save_all=True, append_images=others, compression="jpeg", quality=_QUALITY)
        return [at_ms for at_ms, _, _ in self._taken]

    def _thin_out(self) -> None:
        self._every_ms *= 2
        kept = self._taken[:1]
        for each in self._taken[1:]:
            if each[0] - kept[-1][0] >= self._every_ms:
                kept.append(each)
        self._taken = kept


def _new(grey: Grey, other: Grey) -> bool:
    return float(np.mean(np.abs(grey - other) > _DIFFERS_BY)) >= _NEW_SHARE


def _encoded(frame: Any) -> bytes:
    longest = max(frame.width, frame.height)
    scale = min(1.0, _LONGEST_SIDE_PX / longest)
    image = frame.to_image(width=max(1, round(frame.width * scale)), height=max(1, round(frame.height * scale)))
    if frame.rotation % 360:
        image = image.rotate(frame.rotation, expand=True)
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _moves(stream: Any) -> bool:
    """Whether a stream is a film: not the cover of a song, and of a known codec."""
    return stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic


def _check_size(stream: Any, limits: ConversionLimits) -> None:
    pixels = stream.codec_context.width * stream.codec_context.height
    if pixels > limits.max_page_pixels:
        raise InputTooLarge(f"a video of {pixels} pixels", limit=limits.max_page_pixels, value=pixels)


def _decoded(container: Any, stream: Any, max_cpu_s: float) -> Iterator[tuple[int, Any]]:
    """Yields frames with when they are shown; damaged ones are left out, as players do."""
    duration_ms = None if container.duration is None else container.duration // 1000
    every_ms = 0
    if duration_ms is None or duration_ms > _ALL_FRAMES_UP_TO_MS:
        every_ms = max(_TAKE_EVERY_MS, (duration_ms or 0) // _MOST_DECODED)
    stream.codec_context.thread_count = 1
    start = stream.start_time or 0
    last_ms = -every_ms
    for packet in _packets(container, stream):
        if every_ms and packet.size:
            at_ms = _ms(packet, start)
            if not packet.is_keyframe or at_ms is None or at_ms - last_ms < every_ms:
                continue
            last_ms = at_ms
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if (shown_ms := _ms(frame, start)) is not None:
                yield shown_ms, frame
        if time.process_time() > max_cpu_s:
            return


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yields packets up to the end, or to where a truncated file breaks off; the last one is empty."""
    try:
        yield from container.demux(stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _ms(timed: Any, start: int) -> int | None:
    return None if timed.pts is None else max(0, int((timed.pts - start) * timed.time_base * 1000))
