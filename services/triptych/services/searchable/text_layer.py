"""Writes the text of a page as instructions that draw nothing: each word as wide and as high as it was found."""

from __future__ import annotations

import math
from collections.abc import Iterable

from triptych.core.line_words import LineWord, is_right_to_left, words_of
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
    """Gives the instructions that stretch a word over its corners, with a blank behind it: words that touch are two."""
    letters = [letter[:MAX_CLUSTER] for letter in visual(word.text)] or [BLANK]
    top_left, _, right, left = frame.points(word.corners)
    along_x, along_y = right[0] - left[0], right[1] - left[1]
    length = math.hypot(along_x, along_y)
    cos, sin = (along_x / length, along_y / length) if length > 0 else (1.0, 0.0)
    # Across the text, from its lower edge up.
    height = max(MIN_POINTS, abs((top_left[1] - left[1]) * cos - (top_left[0] - left[0]) * sin))
    letter = max(MIN_POINTS, length) / len(letters)
    start_x, start_y = left
    if spaced and is_right_to_left(word.text):
        letters = [BLANK, *letters]
        blank = letter * BLANK_WIDTH / WIDTH
        start_x, start_y = start_x - blank * cos, start_y - blank * sin
    elif spaced:
        letters = [*letters, BLANK]
    scale = 100 * letter * EM / (WIDTH * height)
    matrix = f"{cos:.5f} {sin:.5f} {-sin:.5f} {cos:.5f} {start_x:.3f} {start_y:.3f}"
    return f"{font_name} {height:.3f} Tf {scale:.3f} Tz {matrix} Tm <{font.encoded(letters).hex()}> Tj"
