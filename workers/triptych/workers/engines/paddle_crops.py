"""Cuts text lines to the sizes at which the recognition model reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.paddle_detection import ordered_corners

Pixels = npt.NDArray[np.uint8]

# What the recognition model was trained on and what PaddleOCR's own pipeline gives it.
HEIGHT_PX = 48
MIN_WIDTH_PX = 320
MAX_WIDTH_PX = 3200
# A line so many times as tall as it is wide is written downwards.
TALL = 1.5
# Padding is at most this share of a crop; finer steps save pixels but leave fewer crops of a width to run together.
MAX_PADDING = 0.15


def _width_steps() -> tuple[int, ...]:
    steps = [MIN_WIDTH_PX]
    while steps[-1] < MAX_WIDTH_PX:
        # Multiples of the model's stride.
        step = int(steps[-1] * (1 + MAX_PADDING)) // 8 * 8
        steps.append(min(MAX_WIDTH_PX, step))
    return tuple(steps)


WIDTH_STEPS_PX = _width_steps()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCrop:
    """One text line, ready to be recognized.

    Attributes:
        page: Index of its page in the batch.
        polygon: Shape (4, 2), 0 to 1 over the page, clockwise in reading direction from the text's top left.
        pixels: Shape (48, one of WIDTH_STEPS_PX, 3), BGR, padded on the right.
        text_width_px: Width of the line within `pixels`.
    """

    page: int
    polygon: npt.NDArray[np.float64]
    pixels: Pixels
    text_width_px: int


def line_crop(page: int, polygon: npt.NDArray[np.float64], crop: Pixels) -> LineCrop:
    """Scales a crop to the model's height and pads it to the next step of width, whatever else is in the batch.

    Args:
        page: Index of its page in the batch.
        polygon: Shape (4, 2), 0 to 1 over the page, in reading direction.
        crop: Shape (height, width, 3), BGR, the line cut out.
    """
    import cv2

    height, width, _ = crop.shape
    text_width = min(MAX_WIDTH_PX, max(1, math.ceil(HEIGHT_PX * width / height)))
    step = next(step for step in WIDTH_STEPS_PX if step >= text_width)
    pixels = np.zeros((HEIGHT_PX, step, 3), np.uint8)
    pixels[:, :text_width] = cv2.resize(crop, (text_width, HEIGHT_PX))
    return LineCrop(page=page, polygon=polygon, pixels=pixels, text_width_px=text_width)


def along_text(polygon: npt.NDArray[np.int16], crop: Pixels) -> npt.NDArray[np.int16]:
    """Orders corners in reading direction: PaddleX turns a tall crop left, so its text runs from top to bottom.

    Args:
        polygon: Shape (4, 2), pixels: top left, top right, bottom right, bottom left as seen.
        crop: What was cut out along it.
    """
    across, down = np.linalg.norm(polygon[1] - polygon[0]), np.linalg.norm(polygon[3] - polygon[0])
    is_turned = down > across and crop.shape[1] > crop.shape[0]
    return np.roll(polygon, -1, axis=0) if is_turned else polygon


def cut_out(image: Pixels, polygon: npt.NDArray[np.int16]) -> Pixels:
    """Cuts a line out of a page and levels it, as PaddleX's CropByPolys does.

    Args:
        image: Shape (height, width, 3), BGR.
        polygon: Shape (4, 2), pixels.

    Returns:
        Shape (height, width, 3), BGR; a tall line is turned left. Empty where the polygon is as thin as that.
    """
    import cv2

    corners, _ = ordered_corners(polygon.astype(np.int32))
    top_left, top_right, bottom_right, bottom_left = corners
    width = int(max(np.linalg.norm(top_left - top_right), np.linalg.norm(bottom_right - bottom_left)))
    height = int(max(np.linalg.norm(top_left - bottom_left), np.linalg.norm(top_right - bottom_right)))
    if not width or not height:
        return np.empty((height, width, 3), np.uint8)
    level = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    crop = cv2.warpPerspective(
        image,
        cv2.getPerspectiveTransform(corners, level),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
        flags=cv2.INTER_CUBIC,
    )
    return np.asarray(np.rot90(crop) if height / width >= TALL else crop, np.uint8)


def chunks_of_equal_width(crops: list[LineCrop], max_run_width_px: int) -> Iterator[list[LineCrop]]:
    """Gives the crops in runs of equal width, each at most `max_run_width_px` in all (or one crop)."""
    by_width = sorted(crops, key=lambda crop: crop.pixels.shape[1])
    for width, group in groupby(by_width, key=lambda crop: crop.pixels.shape[1]):
        same = list(group)
        count = max(1, max_run_width_px // width)
        for start in range(0, len(same), count):
            yield same[start : start + count]
