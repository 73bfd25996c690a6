"""A copy of a recording that browsers play: the file itself, or its sound as Opus."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer

# What is longer is too large to be carried along whole; a report is to be sent to somebody.
MAX_COPY_BYTES = 32 * 1024 * 1024
MAX_CONVERTED_S = 4 * 3600
BIT_RATE = 48_000
_RATE_HZ = 48_000
# Container (as FFmpeg calls it), codec and ending of what Chromium, Firefox and Safari play (MDN, "Web media").
_PLAYED = {
    ("mp3", "mp3"): ".mp3",
    ("mp3", "mp3float"): ".mp3",
    ("wav", "pcm_s16le"): ".wav",
    ("ogg", "opus"): ".ogg",
    ("ogg", "vorbis"): ".ogg",
    ("flac", "flac"): ".flac",
    ("mov,mp4,m4a,3gp,3g2,mj2", "aac"): ".m4a",
    ("matroska,webm", "opus"): ".webm",
    ("matroska,webm", "vorbis"): ".webm",
}


def write_playable(file: Path, folder: Path, stem: str) -> Path:
    """Writes the sound of a file into a folder and gives its path, `<folder>/<stem>.<ending>`.

    Other sounds than those that all browsers play, films and large files become Opus in Ogg (RFC 7845), mono, the first
    four hours.
    """
    import av

    with av.open(str(file)) as container:
        ending = _PLAYED.get((container.format.name, container.streams.audio[0].codec_context.name), "")
        # A cover is a video stream, too; it is small.
        film = any(not stream.disposition & stream.disposition.attached_pic for stream in container.streams.video)
        if ending and not film and file.stat().st_size <= MAX_COPY_BYTES:
            path = folder / f"{stem}{ending}"
            shutil.copyfile(file, path)
        else:
            path = folder / f"{stem}.ogg"
            _convert(container, path)
    return path


def _convert(container: InputContainer, path: Path) -> None:
    import av

    with av.open(str(path), "w", format="ogg") as written:
        stream = written.add_stream("libopus", rate=_RATE_HZ, layout="mono", bit_rate=BIT_RATE)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
        count = 0
        for frame in chain(container.decode(audio=0), (None,)):
            for resampled in resampler.resample(frame):
                # Counted anew: a sound that begins late, or has gaps, is cited by what was decoded.
                resampled.pts = count
                count += resampled.samples
                written.mux(stream.encode(resampled))
            if count >= MAX_CONVERTED_S * _RATE_HZ:
                break
        written.mux(stream.encode(None))
