"""Cuts text lines to the sizes at which the recognition model reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

# What the recognition model was trained on and what PaddleOCR's own pipeline gives it.
HEIGHT_PX = 48
MIN_WIDTH_PX = 320
MAX_WIDTH_PX = 3200
# Padding is at most this share of a crop; finer steps save pixels but leave fewer crops of a width to run together.
MAX_PADDING = 0.15
# Width of all crops of one run: larger runs are slower on a CPU, and the output is 18,710 classes wide.
MAX_RUN_WIDTH_PX = 16 * 640
# PaddleX pads after scaling to -1..1 with 0: middle grey.
PADDING_GREY = 127


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
    pixels = np.full((HEIGHT_PX, step, 3), PADDING_GREY, np.uint8)
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


def chunks_of_equal_width(crops: list[LineCrop]) -> Iterator[list[LineCrop]]:
    """Gives the crops in runs of equal width, each at most MAX_RUN_WIDTH_PX in all (or one crop)."""
    by_width = sorted(crops, key=lambda crop: crop.pixels.shape[1])
    for width, group in groupby(by_width, key=lambda crop: crop.pixels.shape[1]):
        same = list(group)
        count = max(1, MAX_RUN_WIDTH_PX // width)
        for start in range(0, len(same), count):
            yield same[start : start + count]
