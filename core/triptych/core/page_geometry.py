"""The corners and boxes of what was read, in pixels of its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from triptych.v1.ocr_pb2 import OcrPage

Point: TypeAlias = tuple[float, float]
Corners: TypeAlias = tuple[Point, Point, Point, Point]
"""Top left, top right, bottom right, bottom left, as the text is read."""
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels."""
_HAIR = 0.01


def corners(polygon: Sequence[float]) -> Corners:
    """Gives four corners, each number from 0 to 1; of more than four the box around them."""
    numbers = [min(1.0, max(0.0, value)) for value in polygon]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(points) == 4:
        return points[0], points[1], points[2], points[3]
    left, top, right, bottom = min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    return (left, top), (right, top), (right, bottom), (left, bottom)


def pixels(polygon: Sequence[float], page: OcrPage) -> Corners:
    """Gives four corners in pixels of the page that was read."""
    one, two, three, four = ((x * page.width_px, y * page.height_px) for x, y in corners(polygon))
    return one, two, three, four


def box(points: Corners) -> Box:
    """Gives the upright box around corners in pixels, nothing of them cut off."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    # Corners are 32-bit floats of shares: what should be whole is so but for a hair.
    left, top, right, bottom = min(xs) + _HAIR, min(ys) + _HAIR, max(xs) - _HAIR, max(ys) - _HAIR
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def turn_degrees(points: Corners) -> float:
    """Gives how far text is turned clockwise from upright, above -180 and up to 180, by its lower edge."""
    (right, right_y), (left, left_y) = points[2], points[3]
    return math.degrees(math.atan2(right_y - left_y, right - left))


def part(points: Corners, start: float, end: float) -> Corners:
    """Gives a part of a line, from start to end along it, both from 0 to 1."""
    top_left, top_right, bottom_right, bottom_left = points
    return (
        _between(top_left, top_right, start),
        _between(top_left, top_right, end),
        _between(bottom_left, bottom_right, end),
        _between(bottom_left, bottom_right, start),
    )


def _between(one: Point, other: Point, share: float) -> Point:
    return one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])
