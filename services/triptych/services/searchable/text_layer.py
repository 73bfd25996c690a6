"""Writes the text of a page as instructions that draw nothing: each word as wide and as high as it was found."""

from __future__ import annotations

import math
from collections.abc import Iterable

from triptych.core.line_words import LineWord, is_right_to_left, words_of
from triptych.core.page_geometry import Corners
from triptych.services.searchable.glyphless_font import BLANK, BLANK_WIDTH, EM, WIDTH, GlyphlessFont
from triptych.services.searchable.page_frame import PageFrame
from triptych.services.searchable.visual_order import visual
from triptych.v1.ocr_pb2 import TextLine

# Words have some extent, wherever they were found.
MIN_POINTS = 0.1
# A cluster is a letter with its marks; nobody needs more of them in one word.
MAX_CLUSTER = 16


def text_layer(lines: Iterable[TextLine], frame: PageFrame, font: GlyphlessFont, font_name: str) -> bytes:
    """Gives a content stream. It leaves the graphics state as it finds it, and wants the initial one.

    Args:
        lines: In reading order, with corners.
        frame: Of the page.
        font: Gives out the codes.
        font_name: Its name in the page's resources, with the slash.
    """
    # Rendering mode 3 neither fills nor strokes: ISO 32000-1, 9.3.6.
    parts = ["q BT 3 Tr"]
    for line in lines:
        words = words_of(line)
        parts += [_shown(word, word.spaced or word is words[-1], frame, font, font_name) for word in words]
    return "\n".join([*parts, "ET Q\n"]).encode("ascii")


def _shown(word: LineWord, spaced: bool, frame: PageFrame, font: GlyphlessFont, font_name: str) -> str:
    """Gives the instructions that stretch a word over its place, with a blank behind it: words that touch are two.

    A word stands level, on its side or on its head: of text in between readers (poppler) make single letters. Its
    middle and its height are true, and along the way it runs it ends where it ends.
    """
    letters = [letter[:MAX_CLUSTER] for letter in visual(word.text)] or [BLANK]
    points = frame.points(word.corners)
    cos, sin = _direction(points)
    start, end, end_below, start_below = (x * cos + y * sin for x, y in points)
    length, height = max(MIN_POINTS, (end + end_below - start - start_below) / 2), max(MIN_POINTS, _height(points))
    middle_x, middle_y = (sum(numbers) / 4 for numbers in zip(*points, strict=True))
    letter = length / len(letters)
    before = 0.0
    if spaced and is_right_to_left(word.text):
        letters, before = [BLANK, *letters], letter * BLANK_WIDTH / WIDTH
    elif spaced:
        letters = [*letters, BLANK]
    back, down = length / 2 + before, height / 2
    start_x, start_y = middle_x - back * cos + down * sin, middle_y - back * sin - down * cos
    scale = 100 * letter * EM / (WIDTH * height)
    matrix = f"{cos} {sin} {-sin} {cos} {start_x:.3f} {start_y:.3f}"
    return f"{font_name} {height:.3f} Tf {scale:.3f} Tz {matrix} Tm <{font.encoded(letters).hex()}> Tj"


def _direction(points: Corners) -> tuple[int, int]:
    """Gives cosine and sine of the quarter turn that is nearest to how text runs."""
    top_left, top_right, bottom_right, bottom_left = points
    x = top_right[0] - top_left[0] + bottom_right[0] - bottom_left[0]
    y = top_right[1] - top_left[1] + bottom_right[1] - bottom_left[1]
    if abs(x) >= abs(y):
        return (1 if x >= 0 else -1), 0
    return 0, (1 if y >= 0 else -1)


def _height(points: Corners) -> float:
    """Gives the height of text across the way it runs, however it is turned."""
    top_left, _, right, left = points
    along_x, along_y = right[0] - left[0], right[1] - left[1]
    length = math.hypot(along_x, along_y)
    up_x, up_y = top_left[0] - left[0], top_left[1] - left[1]
    return abs(up_y * along_x - up_x * along_y) / length if length > 0 else math.hypot(up_x, up_y)
