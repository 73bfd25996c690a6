"""Turns recognized crops into text lines of the contract, in reading order, with their words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import TextLine, TextWord
from triptych.workers.engines.paddle_crops import LineCrop
from triptych.workers.media.reading_order import reading_order

# Pixels of a crop that one column of the recognition model's output stands for.
COLUMN_PX = 8
# Chinese and Japanese are written without blanks: there each character is a word.
_WITHOUT_BLANKS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_WITHOUT_BLANKS}]|[^\s{_WITHOUT_BLANKS}]+")
_CHARACTER_WITHOUT_BLANKS = re.compile(f"[{_WITHOUT_BLANKS}]")


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
    columns: list[int]
    confidence: float


def text_lines(found: Sequence[FoundLine], *, width_px: int, height_px: int, turn: int, words: bool) -> list[TextLine]:
    """Gives the lines of one page in reading order.

    Args:
        found: Lines in any order.
        width_px: Of the page as shown; the order is found in pixels.
        height_px: Of the page as shown.
        turn: Degrees clockwise by which lines are turned: the order is that of the page turned back.
        words: Whether lines get their words.
    """
    size = np.array([width_px, height_px] if turn % 180 == 0 else [height_px, width_px])
    polygons = [turned(line.crop.polygon.ravel().tolist(), -turn) for line in found]
    corners = [np.array(polygon).reshape(4, 2) * size for polygon in polygons]
    boxes = [[*polygon.min(axis=0), *polygon.max(axis=0)] for polygon in corners]
    return [_text_line(found[index], words) for index in reading_order(boxes)]


def is_without_blanks(text: str) -> bool:
    """Whether a text is mostly in a script that is written without blanks, and perhaps from top to bottom."""
    return 2 * len(_CHARACTER_WITHOUT_BLANKS.findall(text)) > len(text)


def _text_line(found: FoundLine, words: bool) -> TextLine:
    polygon = found.crop.polygon
    line = TextLine(text=found.text.strip(), polygon=_flat(polygon), confidence=found.confidence)
    if words:
        line.words.extend(
            TextWord(text=text, polygon=_flat(_part(polygon, start, end))) for text, start, end in _words(found)
        )
    return line


def _words(found: FoundLine) -> Iterator[tuple[str, float, float]]:
    """Gives each word with its start and end along the line, 0 to 1.

    The model says about where the middle of a character is; a word ends half a character beyond its last one.
    """
    columns_in_text = max(1.0, found.crop.text_width_px / COLUMN_PX)
    middles = [(column + 0.5) / columns_in_text for column in found.columns]
    # Half the typical distance of two characters.
    half = float(np.median(np.diff(middles))) / 2 if len(middles) > 1 else 0.5
    for match in _WORD.finditer(found.text):
        first, last = match.start(), match.end() - 1
        start = middles[first] - half if first == 0 else max(middles[first] - half, _between(middles, first - 1))
        end = middles[last] + half if last + 1 == len(middles) else min(middles[last] + half, _between(middles, last))
        yield match[0], min(1.0, max(0.0, start)), min(1.0, max(0.0, end))


def _between(middles: list[float], index: int) -> float:
    return (middles[index] + middles[index + 1]) / 2


def _part(polygon: npt.NDArray[np.float64], start: float, end: float) -> npt.NDArray[np.float64]:
    top_left, top_right, bottom_right, bottom_left = polygon
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.array(
        [top_left + start * top, top_left + end * top, bottom_left + end * bottom, bottom_left + start * bottom]
    )


def _flat(polygon: npt.NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.clip(polygon, 0, 1).ravel()]
