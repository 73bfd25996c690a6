"""Joins the lines of a page into running text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from triptych.core.pieces import clean, unspaced
from triptych.v1.ocr_pb2 import TextLine

# A line belongs to the paragraph above it if the gap between them is at most this share of the lower height ...
MAX_GAP = 0.8
# ... neither is so many times as high as the other (a heading over text) ...
MAX_HEIGHT_RATIO = 1.5
# ... and they lie above one another for this share of the narrower one.
MIN_SHARED_WIDTH = 0.5
# Lines stand side by side if they share this share of the lower height.
MIN_SHARED_HEIGHT = 0.5

_SPLIT_WORD = re.compile(r"[^\W\d_]{2,}-$")


def box_of(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    """Gives left, top, right and bottom of a polygon; zeros if it has no corners."""
    if not polygon:
        return 0.0, 0.0, 0.0, 0.0
    return min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])


def paragraphs(lines: Sequence[TextLine], indices: Iterable[int]) -> list[list[int]]:
    """Groups lines into paragraphs by their places: close, about as high, one above the other.

    Lines side by side, such as a form's label and its value, stay together too.

    Args:
        lines: Of the page.
        indices: Those to group, in reading order.
    """
    groups: list[list[int]] = []
    row: list[int] = []
    for index in indices:
        is_beside = bool(row) and beside(lines[row[-1]], lines[index])
        if is_beside or any(_below(lines[above], lines[index]) for above in row):
            groups[-1].append(index)
        else:
            groups.append([index])
        row = [*row, index] if is_beside else [index]
    return groups


def beside(one: TextLine, other: TextLine) -> bool:
    """Whether both stand in one row of the page."""
    if not one.polygon or not other.polygon:
        return False
    (_, top, _, bottom), (_, other_top, _, other_bottom) = box_of(one.polygon), box_of(other.polygon)
    shared = min(bottom, other_bottom) - max(top, other_top)
    return shared > MIN_SHARED_HEIGHT * min(bottom - top, other_bottom - other_top)


def rows(lines: Sequence[TextLine], indices: Iterable[int]) -> list[str]:
    """Gives the text of the lines, those side by side on one row with two spaces between."""
    texts: list[str] = []
    before: TextLine | None = None
    for index in indices:
        line = lines[index]
        if before is not None and beside(before, line):
            texts[-1] += f"  {clean(line.text)}"
        else:
            texts.append(clean(line.text))
        before = line
    return texts


def running(lines: Sequence[TextLine], indices: Iterable[int]) -> list[str]:
    """Gives a paragraph as one text; as a text per row if lines stand side by side in it, as forms and receipts do."""
    wanted = list(indices)
    texts = [text for text in rows(lines, wanted) if text]
    return texts if len(texts) < len(wanted) and len(texts) > 1 else [flowing(texts)]


def flowing(texts: Sequence[str]) -> str:
    """Joins lines to one: without a space between ideographs, and a word split at the end of a line made whole.

    A hyphen is dropped where letters stand before it and a small letter after it: "well-" and "known" lose theirs.
    """
    texts = [text.strip() for text in texts if text.strip()]
    joined = texts[0] if texts else ""
    for before, text in pairwise(texts):
        if _SPLIT_WORD.search(before) and text[0].islower():
            joined = joined[:-1] + text
        else:
            joined += ("" if unspaced(before[-1]) and unspaced(text[0]) else " ") + text
    return joined


def _below(before: TextLine, line: TextLine) -> bool:
    """Whether a line goes on with the text of the one above it."""
    if not before.polygon or not line.polygon:
        return False
    left, top, right, bottom = box_of(before.polygon)
    next_left, next_top, next_right, next_bottom = box_of(line.polygon)
    heights = sorted((bottom - top, next_bottom - next_top))
    shared = min(right, next_right) - max(left, next_left)
    return (
        -heights[0] <= next_top - bottom <= MAX_GAP * heights[0]
        and heights[1] <= MAX_HEIGHT_RATIO * heights[0]
        and shared >= MIN_SHARED_WIDTH * min(right - left, next_right - next_left)
    )
