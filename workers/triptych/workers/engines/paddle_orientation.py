"""Finds out which way up pages and lines are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.paddle_crops import LineCrop
from triptych.workers.engines.paddle_lines import FoundLine
from triptych.workers.engines.paddle_words import is_without_blanks

Pixels = npt.NDArray[np.uint8]

# Of 39 public pages, each turned four ways, PP-LCNet was wrong about one, at 0.50; where it was right it had 0.52 up,
# 0.92 nearly always (it was trained with smoothed labels).
MIN_PAGE_PROBABILITY = 0.6
# The classifier looks at 224 px amid a shorter side of 256 px; it scales without smoothing, so that is done before.
SHORT_SIDE_PX = 256
# A line that stands on its head is read with a confidence of 0.55 to 0.8, an upright one rarely below 0.85.
DOUBTFUL_CONFIDENCE = 0.85
MIN_GAIN = 0.1
# What lines say counts against the classifier only if it is this many times what supports it.
MAJORITY = 2


class PageOrientation:
    """PP-LCNet, as PaddleX runs it: tells which way up a page is.

    Args:
        folder: Has `inference.onnx` and `inference.yml`.
        model_name: By which PaddleX knows the model.
        options: Runtime, device and threads, for PaddleX.
    """

    def __init__(self, folder: Path, model_name: str, options: dict[str, Any]) -> None:
        from paddleocr import DocImgOrientationClassification

        self._model = DocImgOrientationClassification(model_name=model_name, model_dir=str(folder), topk=1, **options)

    def turn(self, image: Pixels) -> int | None:
        """Gives the degrees by which a page, shape (height, width, 3), BGR, stands turned clockwise; None if unsure."""
        import cv2

        height, width, _ = image.shape
        scale = SHORT_SIDE_PX / min(height, width)
        if scale < 1:
            size = max(SHORT_SIDE_PX, round(width * scale)), max(SHORT_SIDE_PX, round(height * scale))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        [result] = self._model.predict([image], batch_size=1)
        return int(result["label_names"][0]) if result["scores"][0] >= MIN_PAGE_PROBABILITY else None


def turned_over(lines: Iterable[FoundLine]) -> list[LineCrop]:
    """Gives the crops of the lines that may stand on their head, turned by half a circle."""
    return [_over(line.crop) for line in lines if line.text.strip() and line.confidence < DOUBTFUL_CONFIDENCE]


def better_readings(first: Iterable[FoundLine], second: Iterable[FoundLine]) -> list[FoundLine]:
    """Gives each line as it was read first, or, if that was clearly better, turned over.

    Args:
        first: The lines of a page.
        second: Some of them, read turned over.
    """
    # Half a circle moves the corners by two places and changes no number.
    over = {np.roll(line.crop.polygon, 2, axis=0).tobytes(): line for line in second}

    def better(line: FoundLine) -> FoundLine:
        other = over.get(line.crop.polygon.tobytes())
        if other and other.confidence >= max(DOUBTFUL_CONFIDENCE, line.confidence + MIN_GAIN):
            return other
        return line

    return [better(line) for line in first]


def directions(found: Iterable[FoundLine], turn: int | None, *, width_px: int, height_px: int) -> tuple[int, int]:
    """Gives how a page is turned, and where its lines run: both clockwise, 0, 90, 180 or 270 degrees.

    The classifier proposes and the lines decide: what was read with confidence says which way it runs. Both differ on
    an upright page in vertical writing, whose lines run down.

    Args:
        found: Lines of the page, polygons as shown.
        turn: What the classifier says; None: it is unsure.
        width_px: Of the page as shown.
        height_px: Of the page as shown.
    """
    lengths: Counter[int] = Counter()
    vertical = 0.0
    for line in found:
        if line.confidence < DOUBTFUL_CONFIDENCE:
            continue
        corners = line.crop.polygon * [width_px, height_px]
        x, y = corners[1] - corners[0] + corners[2] - corners[3]
        direction = round(math.degrees(math.atan2(y, x)) / 90) % 4 * 90
        length = round(math.hypot(x, y))
        lengths[direction] += length
        vertical += length * (turn is not None and direction == (turn + 90) % 360 and is_without_blanks(line.text))
    supported = lengths[turn or 0]
    [(main, length)] = lengths.most_common(1) or [(turn or 0, 0)]
    if length < MAJORITY * supported or not length:
        return turn or 0, turn or 0
    if turn is not None and vertical > length / 2:
        return turn, main
    return main, main


def _over(crop: LineCrop) -> LineCrop:
    pixels = crop.pixels.copy()
    pixels[:, : crop.text_width_px] = pixels[::-1, : crop.text_width_px][:, ::-1]
    return replace(crop, polygon=np.roll(crop.polygon, 2, axis=0), pixels=pixels)
