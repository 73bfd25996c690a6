"""Turns places on a page with the page, by quarters of a circle."""

from __future__ import annotations

from collections.abc import Sequence


def turned(polygon: Sequence[float], degrees: int) -> list[float]:
    """Gives a polygon's place after the page was turned clockwise. Its corners keep their order.

    Args:
        polygon: x0, y0, x1, y1, ... from 0 to 1 over the page, origin at the top left, as in OcrPage.
        degrees: A multiple of 90. To see a page upright, turn it by its `applied_rotation_degrees`.
    """
    xs, ys = list(polygon[0::2]), list(polygon[1::2])
    for _ in range(degrees // 90 % 4):
        xs, ys = [1 - y for y in ys], xs
    return [value for corner in zip(xs, ys, strict=True) for value in corner]
