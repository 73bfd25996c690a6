"""Finds out which way up pages and lines are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.network import Array
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_crops import LineCrop
from triptych.workers.engines.paddle_lines import FoundLine
from triptych.workers.engines.paddle_model import PaddleModel
from triptych.workers.engines.paddle_words import is_without_blanks
from triptych.workers.media.straightening import direction

Pixels = npt.NDArray[np.uint8]

# Of 39 public pages, each turned four ways, PP-LCNet was wrong about one, at 0.50; where it was right it had 0.52 up,
# 0.92 nearly always (it was trained with smoothed labels).
MIN_PAGE_PROBABILITY = 0.6
# The classifier looks at the middle of a page that is scaled to a shorter side of 256 px. PaddleX scales without
# smoothing, of which large pages are hardly legible.
SHORT_SIDE_PX, CROP_PX = 256, 224
# A line that stands on its head is read with a confidence of 0.55 to 0.8, an upright one rarely below 0.85.
DOUBTFUL_CONFIDENCE = 0.85
MIN_GAIN = 0.1
# What lines say counts against the classifier only if it is this many times what supports it.
MAJORITY = 2


class PageOrientation:
    """PP-LCNet: tells which way up a page is.

    Args:
        folder: Has the network and `inference.yml`.
        runtime: Runs it.
    """

    def __init__(self, folder: Path, runtime: OcrRuntime) -> None:
        self._normalization = PaddleModel.read(folder).normalization
        self._network = runtime.load(folder)

    def turn(self, image: Pixels) -> int | None:
        """Gives the degrees by which a page, shape (height, width, 3), BGR, stands turned clockwise; None if unsure."""
        [(_, probabilities)] = self._network.run(
            [image], values=self._input, result=lambda output: np.copy(output[0]), unwanted=lambda _: False
        )
        best = int(probabilities.argmax())
        return best * 90 if probabilities[best] >= MIN_PAGE_PROBABILITY else None

    def _input(self, image: Pixels) -> Array:
        import cv2

        height, width, _ = image.shape
        scale = SHORT_SIDE_PX / min(height, width)
        size = max(SHORT_SIDE_PX, round(width * scale)), max(SHORT_SIDE_PX, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
        top, left = (scaled.shape[0] - CROP_PX) // 2, (scaled.shape[1] - CROP_PX) // 2
        crop = scaled[top : top + CROP_PX, left : left + CROP_PX]
        # This network was trained with red first.
        return np.stack([[table[crop[..., 2 - channel]] for channel, table in enumerate(self._normalization)]])


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
        runs, length = direction(corners), round(float(np.linalg.norm(corners[1] - corners[0])))
        lengths[runs] += length
        vertical += length * (turn is not None and runs == (turn + 90) % 360 and is_without_blanks(line.text))
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
