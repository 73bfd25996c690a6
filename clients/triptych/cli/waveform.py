"""The picture of a sound: its wave over time, with one span marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH_PX, HEIGHT_PX, AXIS_PX = 1200, 220, 30
SAMPLE_RATE_HZ = 8000
WAVE = (70, 90, 120)
SPAN = (255, 225, 200)
MARK = (214, 40, 40)


def draw_wave(file: Path, start_ms: int, end_ms: int) -> Image:
    """Draws a sound as peaks per pixel column, the span between two positions (ms) marked."""
    from PIL import Image, ImageDraw, ImageFont

    from triptych.cli.printing import clock

    samples = _samples(file)
    duration_ms = max(1, 1000 * len(samples) // SAMPLE_RATE_HZ, end_ms)
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX + AXIS_PX), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    left, right = (position * (WIDTH_PX - 1) // duration_ms for position in (start_ms, end_ms))
    draw.rectangle((left, 0, right, HEIGHT_PX), fill=SPAN)
    loudest = max(float(abs(samples).max()), 1.0) if len(samples) else 1.0
    middle = HEIGHT_PX // 2
    for column in range(WIDTH_PX):
        first = column * len(samples) // WIDTH_PX
        part = samples[first : max(first + 1, (column + 1) * len(samples) // WIDTH_PX)]
        peak = float(abs(part).max()) / loudest * (middle - 10) if len(part) else 0.0
        draw.line((column, middle - peak, column, middle + peak), fill=WAVE)
    draw.line((left, 0, left, HEIGHT_PX), fill=MARK, width=3)
    draw.line((right, 0, right, HEIGHT_PX), fill=MARK, width=3)
    font = ImageFont.load_default(size=16)
    for position, anchor in ((0, "la"), (duration_ms, "ra")):
        draw.text(
            (position * (WIDTH_PX - 1) // duration_ms, HEIGHT_PX + 6), clock(position), (30, 30, 30), font, anchor
        )
    return image


def _samples(file: Path) -> Any:
    """Gives the first audio stream, mono, 8 kHz, float array of samples in the range of int16."""
    import av
    import numpy as np

    with av.open(str(file)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        decoded = [
            resampled.to_ndarray().reshape(-1)
            for frame in container.decode(audio=0)
            for resampled in resampler.resample(frame)
        ]
        decoded += [resampled.to_ndarray().reshape(-1) for resampled in resampler.resample(None)]
    return np.concatenate(decoded).astype(np.float32) if decoded else np.zeros(0, np.float32)
