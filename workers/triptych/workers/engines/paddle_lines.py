"""Turns recognized crops into text lines of the contract, in reading order, with their words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from triptych.v1.ocr_pb2 import TextLine, TextWord
from triptych.workers.engines.paddle_crops import LineCrop
from triptych.workers.engines.paddle_words import COLUMN_PX, Pixels, Word, missing_blanks, words
from triptych.workers.media.gutters import cuts
from triptych.workers.media.reading_order import reading_order
from triptych.workers.media.straightening import LEFT, RIGHT, Boxes, turned_back


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLine:
    """What the model read in one crop.

    Attributes:
        crop: Where.
        text: What.
        columns: Column of the model's output at which each character was read.
        confidence: 0 to 1.
    """

    crop: LineCrop
    text: str
    columns: Sequence[float]
    confidence: float

    def words(self) -> list[Word]:
        """Gives its words; places are in pixels of the crop."""
        return words(self.text, self.columns, self._ink)

    def with_blanks(self) -> FoundLine:
        """Gives the line with the blanks that the model has not written."""
        text, columns = self.text, list(self.columns)
        for index in missing_blanks(text, columns, self._ink)[::-1]:
            text = f"{text[:index]} {text[index:]}"
            columns.insert(index, (columns[index - 1] + columns[index]) / 2)
        return replace(self, text=text, columns=columns)

    @property
    def _ink(self) -> Pixels:
        return self.crop.pixels[:, : self.crop.text_width_px]


def text_lines(found: Sequence[FoundLine], *, width_px: int, height_px: int, turn: int, words: bool) -> list[TextLine]:
    """Gives the lines of one page in reading order.

    Args:
        found: Lines in any order.
        width_px: Of the page as shown; the order is found in pixels.
        height_px: Of the page as shown.
        turn: Degrees clockwise by which lines are turned: the order is that of the page turned back.
        words: Whether lines get their words.
    """

    def boxes(lines: Iterable[FoundLine]) -> Boxes:
        polygons = (line.crop.polygon.ravel().tolist() for line in lines)
        return turned_back(polygons, turn, width_px=width_px, height_px=height_px)

    pieces = list(_cut(found, boxes(found)))
    return [_text_line(pieces[index], words) for index in reading_order(boxes(pieces))]


def _cut(found: Sequence[FoundLine], boxes: Boxes) -> Iterator[FoundLine]:
    """Gives the lines, those that run across a gutter in pieces."""
    words = [line.words() for line in found]
    spans = [
        box[LEFT]
        + (box[RIGHT] - box[LEFT]) / line.crop.text_width_px * np.array([(word.start, word.end) for word in its])
        for line, its, box in zip(found, words, boxes, strict=True)
    ]
    for line, its, its_cuts in zip(found, words, cuts(boxes, spans), strict=True):
        for first, last in pairwise([0, *its_cuts, len(its)]):
            yield _piece(line, its[first:last]) if its_cuts else line


def _piece(line: FoundLine, words: Sequence[Word]) -> FoundLine:
    """Gives the part of a line that has these words."""
    crop, start, end = line.crop, math.floor(words[0].start), math.ceil(words[-1].end)
    characters = slice(words[0].at, words[-1].at + len(words[-1].text))
    polygon = _part(crop.polygon, start / crop.text_width_px, end / crop.text_width_px)
    return replace(
        line,
        crop=replace(crop, polygon=polygon, pixels=crop.pixels[:, start:end], text_width_px=end - start),
        text=line.text[characters],
        columns=[column - start / COLUMN_PX for column in line.columns[characters]],
    )


def _text_line(found: FoundLine, words: bool) -> TextLine:
    polygon = found.crop.polygon
    line = TextLine(text=found.text.strip(), polygon=_flat(polygon), confidence=found.confidence)
    if words:
        width = found.crop.text_width_px
        line.words.extend(
            TextWord(text=word.text, polygon=_flat(_part(polygon, word.start / width, word.end / width)))
            for word in found.words()
        )
    return line


def _part(polygon: npt.NDArray[np.float64], start: float, end: float) -> npt.NDArray[np.float64]:
    top_left, top_right, bottom_right, bottom_left = polygon
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.array(
        [top_left + start * top, top_left + end * top, bottom_left + end * bottom, bottom_left + start * bottom]
    )


def _flat(polygon: npt.NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.clip(polygon, 0, 1).ravel()]
