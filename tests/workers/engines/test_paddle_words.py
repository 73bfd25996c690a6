"""Words are placed by their ink."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from triptych.workers.engines.paddle_words import COLUMN_PX, is_without_blanks, missing_blanks, words


def drawn(text, *, ink="black", paper="white", underlined=False):
    """A line of print, each character's column as the model would tell it, and where the ink of each word is."""
    font = ImageFont.load_default(36)
    crop = Image.new("RGB", (round(font.getlength(text)) + 20, 48), paper)
    draw = ImageDraw.Draw(crop)
    draw.text((10, 2), text, fill=ink, font=font)
    if underlined:
        draw.line((0, 44, crop.width, 44), fill=ink, width=2)
    edges = [10 + font.getlength(text[:index]) for index in range(len(text) + 1)]
    columns = [(left + right) / 2 / COLUMN_PX - 0.5 for left, right in pairwise(edges)]
    places, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        left, _, right, _ = font.getbbox(word)
        places.append((edges[at] + left, edges[at] + right))
        at += len(word)
    return np.asarray(crop)[:, :, ::-1].copy(), columns, places


@pytest.mark.parametrize(
    "look",
    [{}, {"ink": "white", "paper": "navy"}, {"ink": "#888", "paper": "#ddd"}, {"underlined": True}],
    ids=["black", "reversed", "pale", "underlined"],
)
def test_a_words_place_is_where_its_ink_is(look):
    crop, columns, places = drawn("Total: 1.234,50 EUR", **look)
    found = words("Total: 1.234,50 EUR", columns, crop)
    assert [word.text for word in found] == ["Total:", "1.234,50", "EUR"]
    for word, (left, right) in list(zip(found, places, strict=True))[1 if look.get("underlined") else 0 :]:
        overlap = min(word.end, right) - max(word.start, left)
        union = max(word.end, right) - min(word.start, left)
        # The line below the words has ink beyond the last one too.
        assert overlap / union >= (0.75 if look.get("underlined") else 0.9)


def test_without_any_gap_a_word_ends_between_the_characters():
    crop = np.full((48, 320, 3), 9, np.uint8)
    found = words("ab cd", [2.0, 6.0, 10.0, 14.0, 18.0], crop)
    assert [(word.text, word.at) for word in found] == [("ab", 0), ("cd", 3)]
    assert found[0].start < found[0].end <= found[1].start < found[1].end <= 320


def test_blank_lines_have_no_words():
    assert words("  ", [1.0, 2.0], np.full((48, 100, 3), 255, np.uint8)) == []


@pytest.mark.parametrize(
    ("text", "blank_px", "missing"),
    [("Total:45", 40, [6]), ("Total:45", 6, []), ("Total 45", 40, []), ("日本語:45", 40, [])],
    ids=["wide gap", "narrow gap", "blank was read", "written without blanks"],
)
def test_a_blank_is_missing_where_a_wide_gap_has_no_ink(text, blank_px, missing):
    crop = np.full((48, 20 * len(text) + blank_px, 3), 255, np.uint8)
    split = 6
    columns = []
    for index in range(len(text)):
        left = 20 * index + (blank_px if index >= split else 0)
        if not text[index].isspace():
            crop[8:40, left + 2 : left + 18] = 0
        columns.append((left + 10) / COLUMN_PX - 0.5)
    assert missing_blanks(text, columns, crop) == missing


def test_scripts_without_blanks_are_told_from_others():
    assert is_without_blanks("日本語のA")
    assert not is_without_blanks("Straße 7 日")
    assert not is_without_blanks("")
