"""Cuts lines of text that were taken for one although a gutter between two columns runs through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from triptych.workers.media.reading_order import MIN_COLUMN_LINES, is_column
from triptych.workers.media.straightening import BOTTOM, LEFT, RIGHT, TOP, Boxes

# A gap between two words may be the gutter if it is this many times the height of the line; a blank is a quarter.
MIN_GAP = 0.6
# Of the lines that run across the gutter, at most this share has no gap there: a heading, a wide figure's caption.
MAX_CLOSED_SHARE = 0.25
# Words of running text fill at least this share of their line; cells of a table do not.
MIN_WORD_COVER = 0.7

Spans = npt.NDArray[np.float64]
"""Where the words of a line are: shape (words, 2), left and right in pixels."""


def cuts(boxes: Boxes, spans: Sequence[Spans]) -> list[list[int]]:
    """Gives, for each line, the words before which it is to be cut.

    A gutter is where many lines have a wide gap at the same place, with a column of running text on either side. Rivers
    in justified text do not go straight down, and columns of a table hold no running text.

    Args:
        boxes: Of the lines, shape (lines, 4).
        spans: Of each line, its words from left to right.
    """
    found: list[list[int]] = [[] for _ in spans]
    gaps = _gaps(boxes, spans)
    taken = np.zeros(len(gaps), bool)
    while len(gaps) and not taken.all():
        inside = (gaps[:, 2] <= gaps[:, 4, None]) & (gaps[:, 3] >= gaps[:, 4, None]) & ~taken
        best = int(np.argmax(inside.sum(axis=1) * ~taken))
        chosen = gaps[inside[best]]
        taken |= inside[best]
        taken[best] = True
        if len(chosen) < MIN_COLUMN_LINES:
            break
        if _is_gutter(boxes, spans, chosen, float(gaps[best, 4])):
            for line, word in chosen[:, :2].astype(int).tolist():
                found[line].append(word)
    return [sorted(words) for words in found]


def _gaps(boxes: Boxes, spans: Sequence[Spans]) -> npt.NDArray[np.float64]:
    """Gives the wide gaps: line, word after it, left, right, middle."""
    rows = []
    for line, words in enumerate(spans):
        height = boxes[line, BOTTOM] - boxes[line, TOP]
        for word in range(1, len(words)):
            left, right = words[word - 1, 1], words[word, 0]
            if right - left >= MIN_GAP * height:
                rows.append((line, word, left, right, (left + right) / 2))
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _is_gutter(boxes: Boxes, spans: Sequence[Spans], gaps: npt.NDArray[np.float64], at: float) -> bool:
    lines = gaps[:, 0].astype(int)
    pieces = [part for line, word in gaps[:, :2].astype(int).tolist() for part in np.split(spans[line], [word])]
    if np.median([np.diff(piece).sum() / (piece[-1, 1] - piece[0, 0]) for piece in pieces]) < MIN_WORD_COVER:
        return False
    top, bottom = boxes[lines, TOP].min(), boxes[lines, BOTTOM].max()
    near = (boxes[:, BOTTOM] > top) & (boxes[:, TOP] < bottom)
    crossing = near & (boxes[:, LEFT] < at) & (boxes[:, RIGHT] > at)
    if crossing.sum() - len(lines) > MAX_CLOSED_SHARE * crossing.sum():
        return False
    left, right = boxes[lines].copy(), boxes[lines].copy()
    left[:, RIGHT], right[:, LEFT] = gaps[:, 2], gaps[:, 3]
    beside = boxes[near & ~crossing]
    return is_column(np.concatenate([left, beside[beside[:, RIGHT] <= at]])) and is_column(
        np.concatenate([right, beside[beside[:, LEFT] >= at]])
    )
