"""Finds the text lines of a page: what goes into PP-OCR's detection network, and what comes out of it.

As PaddleX does it (DetResizeForTest, NormalizeImage and DBPostProcess of paddlex 3.7), boxes equal to the pixel. Their
own code is not used because importing PaddleX takes 310 MB and 2.7 CPU seconds in every worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.network import Array

Pixels = npt.NDArray[np.uint8]

# As in PaddleOCR's own pipeline: full resolution up to the bounds below, at least so many pixels on the shorter side.
MIN_SIDE_PX = 64
THRESHOLD = 0.3
BOX_THRESHOLD = 0.6
UNCLIP_RATIO = 1.5
MAX_CANDIDATES = 1000
MIN_CONTOUR_SIDE_PX, MIN_BOX_SIDE_PX = 3, 5
# PaddleOCR's own limit is a side of 4000 px, which takes 4 GB and misses large print. Of 20 larger public pages words
# are found as well at 2000 px as at 2560 (F1 .936 and .935), for a seventh less of all time.
MAX_SIDE_PX = 2000
# A4 at that size; the network takes 190 bytes for each pixel.
MAX_PIXELS = 2016 * 1440
# The network halves its input five times.
STRIDE_PX = 32


def detection_size(width: int, height: int) -> tuple[int, int]:
    """Gives width and height at which a page is looked at."""
    scale = max(1.0, MIN_SIDE_PX / min(width, height))
    width, height = int(width * scale), int(height * scale)
    scale = min(1.0, MAX_SIDE_PX / max(width, height), math.sqrt(MAX_PIXELS / (width * height)))
    return _in_strides(int(width * scale)), _in_strides(int(height * scale))


def detection_input(image: Pixels, normalization: Array) -> Array:
    """Makes the network's input.

    Args:
        image: Shape (height, width, 3), BGR.
        normalization: Shape (3, 256): what each value of each channel becomes.

    Returns:
        Shape (1, 3, height, width) of `detection_size`.
    """
    import cv2

    height, width, _ = image.shape
    if height + width < MIN_SIDE_PX:  # PaddleX puts specks on black before it enlarges them
        padded = np.zeros((max(STRIDE_PX, height), max(STRIDE_PX, width), 3), np.uint8)
        padded[:height, :width] = image
        image = padded
    size = detection_size(image.shape[1], image.shape[0])
    if size != (image.shape[1], image.shape[0]):
        image = np.asarray(cv2.resize(image, size), np.uint8)
    values = np.empty((1, 3, size[1], size[0]), np.float32)
    for channel, table in enumerate(normalization):
        cv2.LUT(cv2.extractChannel(image, channel), table, dst=values[0, channel])
    return values


def text_boxes(probabilities: Array, width: int, height: int) -> npt.NDArray[np.int16]:
    """Finds boxes around what the network takes for text: differentiable binarization (arXiv:1911.08947).

    Args:
        probabilities: Shape (1, 1, rows, columns), of being text.
        width: Of the page, pixels.
        height: Of the page, pixels.

    Returns:
        Shape (boxes, 4, 2): corners on the page, clockwise from the top left as seen.
    """
    import cv2

    found = probabilities[0, 0]
    contours, _ = cv2.findContours((found > THRESHOLD).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([width / found.shape[1], height / found.shape[0]])
    boxes = [np.rint(np.clip(box * scale, 0, [width, height])) for box in _boxes(contours[:MAX_CANDIDATES], found)]
    return np.array(boxes, np.int16).reshape(-1, 4, 2)


def ordered_corners(points: Any) -> tuple[npt.NDArray[np.float32], float]:
    """Gives the smallest turned rectangle around points: corners clockwise from the top left, and its short side."""
    import cv2

    rectangle = cv2.minAreaRect(points)
    by_x = sorted(cv2.boxPoints(rectangle), key=lambda corner: float(corner[0]))
    left, right = (sorted(pair, key=lambda corner: float(corner[1])) for pair in (by_x[:2], by_x[2:]))
    return np.array([left[0], right[0], right[1], left[1]]), min(rectangle[1])


def _boxes(contours: Any, found: Array) -> Iterator[npt.NDArray[np.float32]]:
    for contour in contours:
        corners, side = ordered_corners(contour)
        if side < MIN_CONTOUR_SIDE_PX or _score(found, corners) < BOX_THRESHOLD:
            continue
        grown = _unclipped(corners)
        if grown is None:
            continue
        box, side = ordered_corners(grown)
        if side >= MIN_BOX_SIDE_PX:
            yield box


def _score(found: Array, corners: npt.NDArray[np.float32]) -> float:
    """Gives the mean probability inside a box."""
    import cv2

    last = np.array(found.shape[::-1]) - 1
    low = np.clip(np.floor(corners.min(axis=0)), 0, last).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, last).astype(int)
    mask = np.zeros(high[::-1] - low[::-1] + 1, np.uint8)
    cv2.fillPoly(mask, [(corners - low.astype(np.float32)).astype(np.int32)], (1,))
    return float(cv2.mean(found[low[1] : high[1] + 1, low[0] : high[0] + 1], mask)[0])


def _unclipped(corners: npt.NDArray[np.float32]) -> npt.NDArray[np.int32] | None:
    """Grows a box: the network was trained on shrunken ones."""
    import cv2
    import pyclipper

    distance = cv2.contourArea(corners) * UNCLIP_RATIO / cv2.arcLength(corners, True)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    paths = offset.Execute(distance)
    return np.array(paths[0], np.int32) if paths else None


def _in_strides(side: int) -> int:
    return max(round(side / STRIDE_PX) * STRIDE_PX, STRIDE_PX)
