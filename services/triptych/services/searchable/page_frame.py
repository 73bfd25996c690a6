"""Where a page's corners are: from shares of the page as a viewer shows it to points of its own space, and back."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self, TypeAlias

from pikepdf import Array, Object, Page

from triptych.core.page_geometry import Corners, Point

Rectangle: TypeAlias = tuple[float, float, float, float]
# What viewers take for a page without a size: US letter.
_LETTER: Rectangle = (0, 0, 612, 792)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFrame:
    """The part of a page that is shown, and how it is turned.

    Attributes:
        box: Left, bottom, right, top in user space.
        rotation: Clockwise, in degrees: 0, 90, 180 or 270.
    """

    box: Rectangle
    rotation: int

    @classmethod
    def of(cls, page: Page) -> Self:
        """Reads a page as PDFium does, whose pictures of pages are what is recognized.

        What is shown is the crop box within the media box; nonsense counts as not said.
        """
        media = _rectangle(page, "/MediaBox") or _LETTER
        crop = _rectangle(page, "/CropBox") or media
        shown = max(media[0], crop[0]), max(media[1], crop[1]), min(media[2], crop[2]), min(media[3], crop[3])
        rotation = page._get_inherited("/Rotate")
        turned = int(str(rotation)) if re.fullmatch(r"-?\d+", str(rotation)) else 0
        return cls(box=shown if _is_whole(shown) else media, rotation=turned % 360 if turned % 90 == 0 else 0)

    def points(self, corners: Corners) -> Corners:
        """Gives corners in user space.

        Args:
            corners: Each number from 0 to 1 over the page as shown, from its top left.
        """
        one, two, three, four = (self._point(corner) for corner in corners)
        return one, two, three, four

    def _point(self, corner: Point) -> Point:
        across, down = corner
        left, bottom, right, top = self.box
        width, height = right - left, top - bottom
        if self.rotation == 90:
            return left + down * width, bottom + across * height
        if self.rotation == 180:
            return right - across * width, bottom + down * height
        if self.rotation == 270:
            return right - down * width, top - across * height
        return left + across * width, top - down * height


def _rectangle(page: Page, key: str) -> Rectangle | None:
    found = page._get_inherited(key)
    if not isinstance(found, Array) or len(found) < 4:
        return None
    numbers = [_number(found[at]) for at in range(4)]
    left, right = sorted(numbers[::2])
    bottom, top = sorted(numbers[1::2])
    box = (left, bottom, right, top)
    return box if _is_whole(box) else None


def _is_whole(box: Rectangle) -> bool:
    return all(map(math.isfinite, box)) and box[0] < box[2] and box[1] < box[3]


def _number(value: Object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
