"""The picture of a sound: its wave over time, every cited span marked and numbered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.printing import clock
from triptych.cli.report.marks import Mark

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH_PX, HEIGHT_PX, ROW_PX, AXIS_PX = 1200, 200, 30, 30
SAMPLE_RATE_HZ = 8000
# One peak per so many samples is kept, a hundredth of a second: a day of sound is 35 MB.
PEAK_SAMPLES = 80
# A word in a long recording is still seen.
MIN_SPAN_PX = 4
WAVE, INK, PAPER = "#465a78", "#1e1e1e", "#ffffff"
# How much of a mark's colour lies under its span.
_TINT = 0.2


def wave_image(file: Path, marks: Sequence[Mark]) -> tuple[Image, int]:
    """Draws the first audio stream of a file; gives the picture and the length of the sound in milliseconds."""
    from PIL import Image, ImageDraw, ImageFont

    peaks, duration_ms = _peaks(file)
    duration_ms = max(1, duration_ms, *(mark.evidence.audio.end_ms for mark in marks))
    spans = [_span(mark, duration_ms) for mark in marks]
    rows = _rows([left for left, _ in spans])
    top = ROW_PX * (max(rows, default=0) + 1)
    image = Image.new("RGB", (WIDTH_PX, top + HEIGHT_PX + AXIS_PX), PAPER)
    draw = ImageDraw.Draw(image)
    for mark, (left, right) in zip(marks, spans, strict=True):
        draw.rectangle((left, top, right, top + HEIGHT_PX), fill=_tint(mark.colour))
    _draw_wave(draw, peaks, top)
    font = ImageFont.load_default(size=20)
    for mark, (left, right), row in zip(marks, spans, rows, strict=True):
        draw.line((left, row * ROW_PX, left, top + HEIGHT_PX), mark.colour, 2)
        draw.line((right, top, right, top + HEIGHT_PX), mark.colour, 2)
        width = font.getlength(mark.name) + 12
        start = min(left, WIDTH_PX - width)
        draw.rectangle((start, row * ROW_PX, start + width, (row + 1) * ROW_PX - 4), fill=mark.colour)
        draw.text((start + width / 2, row * ROW_PX + ROW_PX / 2 - 2), mark.name, "white", font, "mm")
    axis = ImageFont.load_default(size=16)
    for part, anchor in ((0, "la"), (0.25, "ma"), (0.5, "ma"), (0.75, "ma"), (1, "ra")):
        place = (part * (WIDTH_PX - 1), top + HEIGHT_PX + 6)
        draw.text(place, clock(round(part * duration_ms)), INK, axis, anchor)
    return image, duration_ms


def _draw_wave(draw: ImageDraw, peaks: Any, top: int) -> None:
    """Draws the loudest of what falls into each column, the loudest of all as high as there is room."""
    loudest = max(float(peaks.max()), 1.0) if len(peaks) else 1.0
    middle = top + HEIGHT_PX // 2
    for column in range(WIDTH_PX):
        first = column * len(peaks) // WIDTH_PX
        part = peaks[first : max(first + 1, (column + 1) * len(peaks) // WIDTH_PX)]
        height = float(part.max()) / loudest * (HEIGHT_PX // 2 - 8) if len(part) else 0.0
        draw.line((column, middle - height, column, middle + height), fill=WAVE)


def _span(mark: Mark, duration_ms: int) -> tuple[float, float]:
    """Gives where a mark begins and ends, in pixels."""
    audio = mark.evidence.audio
    left, right = ((WIDTH_PX - 1) * ms / duration_ms for ms in (audio.start_ms, audio.end_ms))
    return left, max(right, left + MIN_SPAN_PX)


def _rows(lefts: Sequence[float]) -> list[int]:
    """Gives every name a row in which it covers no other."""
    room = 50.0
    rows: list[int] = []
    for number, left in enumerate(lefts):
        taken = {rows[other] for other in range(number) if abs(lefts[other] - left) < room}
        rows.append(next(row for row in range(len(lefts)) if row not in taken))
    return rows


def _tint(colour: str) -> tuple[int, ...]:
    return tuple(round(255 - _TINT * (255 - int(colour[at : at + 2], 16))) for at in (1, 3, 5))


def _peaks(file: Path) -> tuple[Any, int]:
    """Gives the largest amplitude of every hundredth of a second, float array from 0 to 32768, and the milliseconds."""
    import av
    import numpy as np

    parts: list[Any] = []
    rest = np.zeros(0, np.float32)
    count = 0
    with av.open(str(file)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        for frame in chain(container.decode(audio=0), (None,)):
            for resampled in resampler.resample(frame):
                samples = np.abs(resampled.to_ndarray().reshape(-1).astype(np.float32))
                count += len(samples)
                rest = np.concatenate([rest, samples])
                whole = len(rest) // PEAK_SAMPLES * PEAK_SAMPLES
                parts.append(rest[:whole].reshape(-1, PEAK_SAMPLES).max(axis=1))
                rest = rest[whole:]
    if len(rest):
        parts.append(rest.max(keepdims=True))
    return np.concatenate(parts) if parts else rest, 1000 * count // SAMPLE_RATE_HZ
