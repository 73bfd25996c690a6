"""Turns and straightens the lines of a page, so that they run from left to right and rows are level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from triptych.core.page_turns import turned

Boxes: TypeAlias = npt.NDArray[np.float64]
"""Shape (lines, 4): left, top, right and bottom in pixels."""
LEFT, TOP, RIGHT, BOTTOM = range(4)

# Lines of this many heights say how a page is skewed; a larger angle, in radians, is perspective or no text.
MIN_SKEW_ASPECT = 3
MAX_SKEW = 0.35


def direction(corners: npt.NDArray[np.float64]) -> int:
    """Gives the degrees by which a line is turned clockwise: 0, 90 (it runs down), 180 or 270.

    Args:
        corners: Shape (4, 2), pixels: top left, top right, bottom right, bottom left of the text.
    """
    x, y = corners[1] - corners[0] + corners[2] - corners[3]
    return round(math.degrees(math.atan2(y, x)) / 90) % 4 * 90


def turned_back(polygons: Iterable[Sequence[float]], turn: int, *, width_px: int, height_px: int) -> Boxes:
    """Gives the boxes of lines on the page turned back so that they run from left to right, and straightened.

    Args:
        polygons: Of each line, normalised to the page as shown.
        turn: Degrees by which most of the lines are turned clockwise.
        width_px: Of the page as shown.
        height_px: Of the page as shown.
    """
    size = np.array([width_px, height_px] if turn % 180 == 0 else [height_px, width_px])
    return level_boxes([np.reshape(turned(polygon, -turn), (4, 2)) * size for polygon in polygons])


def level_boxes(polygons: Sequence[npt.NDArray[np.float64]]) -> Boxes:
    """Gives the boxes of lines on a page that was scanned askew, as if it had been straight.

    Args:
        polygons: Of each line, shape (4, 2), pixels: top left, top right, bottom right, bottom left.

    Returns:
        Shape (lines, 4): left, top, right, bottom.
    """
    if not polygons:
        return np.zeros((0, 4))
    corners = np.stack(polygons)
    along = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]) / 2
    lengths = np.hypot(along[:, 0], along[:, 1])
    heights = np.hypot(*(corners[:, 3] - corners[:, 0]).T)
    angles = np.arctan2(along[:, 1], along[:, 0])
    tell = (lengths > MIN_SKEW_ASPECT * heights) & (np.abs(angles) < MAX_SKEW)
    skew = float(np.median(np.repeat(angles[tell], lengths[tell].astype(int) + 1))) if tell.any() else 0.0
    cosine, sine = np.cos(skew), np.sin(skew)
    straight = corners @ np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([straight.min(axis=1), straight.max(axis=1)], axis=1)
