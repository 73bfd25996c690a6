"""Finds the words of a recognized line: which characters they have, and where their ink begins and ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.core.line_words import CHARACTER_WITHOUT_BLANKS, WORD

Pixels = npt.NDArray[np.uint8]

# Pixels of a crop that one column of the recognition model's output stands for.
COLUMN_PX = 8
# From here on signs are as wide as they are high, punctuation of Chinese and Japanese among them.
FIRST_WIDE = 0x2E80
# Columns of pixels with this much more ink than the emptiest one, in pixels, are still empty: an underline and specks
# leave something everywhere.
SPECK_PX = 1
# A gap without ink of this many pixels, half the height of a crop, is a blank that the model did not write; the widest
# gap between signs of one word was 23, in the spaced digits of an old print.
MIN_BLANK_PX = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a line.

    Attributes:
        text: Its characters.
        at: Index of the first one in the line's text.
        start: Where its ink begins, in pixels of the crop.
        end: Where it ends.
    """

    text: str
    at: int
    start: float
    end: float


def words(text: str, columns: Sequence[float], crop: Pixels) -> list[Word]:
    """Gives the words of a line from left to right.

    The model says about where the middle of a character is. Between two words, the widest gap without ink between the
    middles is the blank; without one, a word ends half a character beyond its last.

    Args:
        text: What was read.
        columns: Column of the model's output at which each character was read.
        crop: The line without padding, shape (height, width, 3), BGR.
    """
    matches = list(WORD.finditer(text))
    if not matches:
        return []
    width = crop.shape[1]
    middles = [min(width, max(0.0, (column + 0.5) * COLUMN_PX)) for column in columns]
    empty = _empty(crop)
    inked = np.flatnonzero(~empty)
    half = float(np.median(np.diff(middles))) / 2 if len(middles) > 1 else width / 2
    starts, ends = [], []
    for before, after in itertools.pairwise(matches):
        left, right = middles[before.end() - 1], middles[after.start()]
        gap = widest_gap(empty, left, right)
        if gap is None:
            middle = (left + right) / 2
            gap = min(left + half, middle), max(right - half, middle)
        ends.append(gap[0])
        starts.append(gap[1])
    first, last = middles[matches[0].start()], middles[matches[-1].end() - 1]
    begin = float(inked[0]) if len(inked) and inked[0] < first else max(0.0, first - half)
    end = float(inked[-1] + 1) if len(inked) and inked[-1] >= last else min(float(width), last + half)
    return [
        Word(text=match[0], at=match.start(), start=start, end=end)
        for match, start, end in zip(matches, [begin, *starts], [*ends, end], strict=True)
    ]


def missing_blanks(text: str, columns: Sequence[float], crop: Pixels) -> list[int]:
    """Gives the places in a text before which a blank is missing: the model reads none in some wide gaps.

    Args:
        text: What was read.
        columns: Column of the model's output at which each character was read.
        crop: The line without padding, shape (height, width, 3), BGR.
    """
    far = [
        index
        for index in range(1, len(columns))
        if (columns[index] - columns[index - 1]) * COLUMN_PX > MIN_BLANK_PX
        and not (text[index - 1].isspace() or text[index].isspace())
        and not CHARACTER_WITHOUT_BLANKS.search(text[index - 1 : index + 1])
        and ord(text[index - 1]) < FIRST_WIDE
        and ord(text[index]) < FIRST_WIDE
    ]
    if not far:
        return []
    empty = _empty(crop)
    gaps = {
        index: widest_gap(empty, *((column + 0.5) * COLUMN_PX for column in columns[index - 1 : index + 1]))
        for index in far
    }
    return [index for index, gap in gaps.items() if gap is not None and gap[1] - gap[0] >= MIN_BLANK_PX]


def widest_gap(empty: npt.NDArray[np.bool_], left: float, right: float) -> tuple[float, float] | None:
    """Gives start and end of the widest run of empty columns between two places, in pixels; None if there is none."""
    part = empty[round(left) : max(round(left), round(right)) + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], part, [False]]).astype(np.int8)))
    if not len(edges):
        return None
    runs = edges.reshape(-1, 2)
    start, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return float(round(left) + start), float(round(left) + end)


def is_without_blanks(text: str) -> bool:
    """Whether a text is mostly in a script that is written without blanks, and perhaps from top to bottom."""
    return 2 * len(CHARACTER_WITHOUT_BLANKS.findall(text)) > len(text)


def _empty(crop: Pixels) -> npt.NDArray[np.bool_]:
    """Says of each column of pixels whether it has no ink, be it dark on light or light on dark."""
    import cv2

    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    # Letters cover less than the paper does.
    ink = (light if 2 * int(light.sum()) < light.size else 1 - light).sum(axis=0)
    return np.asarray(ink <= ink.min() + SPECK_PX, dtype=np.bool_)
