"""The text of a page with places in pixels of the upright page, and the way back to the page as shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.core.page_turns import turned
from triptych.core.pages_paragraphs import box_of
from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.workers.engines.layout import Box

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part of a line that belongs to one cell of a table: a word, or the whole line.

    Attributes:
        start, end: Place in the line's text.
        box: In pixels of the upright page.
    """

    start: int
    end: int
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line.

    Attributes:
        index: Of the page's lines.
        words: In reading order; the whole line if it has no words.
        box: In pixels of the upright page.
    """

    index: int
    text: str
    box: Box
    words: tuple[Piece, ...]


class Frame:
    """Maps between the page as shown (0 to 1) and the upright page (pixels).

    Args:
        pixels: The page as shown, of shape (height, width, 3).
        rotation_degrees: Clockwise turn that makes it upright: 0, 90, 180 or 270.
    """

    def __init__(self, pixels: Pixels, rotation_degrees: int) -> None:
        self._degrees = rotation_degrees
        self.pixels: Pixels = np.ascontiguousarray(np.rot90(pixels, -rotation_degrees // 90))
        self.height, self.width = self.pixels.shape[:2]
        self.page: Box = (0.0, 0.0, float(self.width), float(self.height))

    def lines(self, page: OcrPage) -> list[Line]:
        """Gives the lines that have text and a place."""
        return [
            Line(
                index=index,
                text=line.text,
                box=self.box(line.polygon),
                words=tuple(self._words(line)) or (Piece(start=0, end=len(line.text), box=self.box(line.polygon)),),
            )
            for index, line in enumerate(page.lines)
            if line.text.strip() and line.polygon
        ]

    def box(self, polygon: Sequence[float]) -> Box:
        """Gives the upright box around a polygon of the page as shown."""
        left, top, right, bottom = box_of(turned(polygon, self._degrees))
        return left * self.width, top * self.height, right * self.width, bottom * self.height

    def polygon(self, box: Box) -> list[float]:
        """Gives a box as a polygon of the page as shown, from its own top left on."""
        left, top, right, bottom = (
            min(1.0, max(0.0, value / side)) for value, side in zip(box, self.page[2:] * 2, strict=True)
        )
        return turned([left, top, right, top, right, bottom, left, bottom], -self._degrees)

    def crop(self, box: Box) -> Pixels:
        """Gives the pixels in a box."""
        left, top, right, bottom = (max(0, round(value)) for value in box)
        return np.ascontiguousarray(self.pixels[top : max(bottom, top + 1), left : max(right, left + 1)])

    def _words(self, line: TextLine) -> Iterator[Piece]:
        start = 0
        for word in line.words:
            at = line.text.find(word.text, start)
            if at < 0:
                # Its place in the text is unknown, so the line stays whole.
                return
            start = at + len(word.text)
            yield Piece(start=at, end=start, box=self.box(word.polygon))


# Words of a line that are further apart than this, in its heights, belong to two cells or columns.
_MAX_GAP_HEIGHTS = 1.5


def segments(line: Line) -> list[list[Piece]]:
    """Gives the words of a line in groups that wide gaps set apart."""
    height = line.box[3] - line.box[1]
    groups: list[list[Piece]] = []
    for word in line.words:
        if groups and word.box[0] - groups[-1][-1].box[2] <= _MAX_GAP_HEIGHTS * height:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def union(boxes: Sequence[Box]) -> Box:
    """Gives the box around boxes."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def area(box: Box) -> float:
    """Gives a box's area; 0 if it has none."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def shared(one: Box, other: Box) -> float:
    """Gives the area that two boxes share."""
    return area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def middle(box: Box) -> tuple[float, float]:
    """Gives x and y of the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def text_rows(boxes: Sequence[Box]) -> list[list[int]]:
    """Groups boxes into the rows that they stand on, from the top down, each from left to right."""
    rows: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda at: middle(boxes[at])[1]):
        last = boxes[rows[-1][-1]] if rows else None
        box = boxes[index]
        if last and min(box[3], last[3]) - max(box[1], last[1]) > min(box[3] - box[1], last[3] - last[1]) / 2:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda at: boxes[at][0]) for row in rows]
