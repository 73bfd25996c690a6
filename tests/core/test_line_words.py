"""Words of lines with their places: those of the engine, and those that are shared out."""

import pytest
from read_papers import line

from triptych.core.line_words import is_right_to_left, words_of
from triptych.v1.ocr_pb2 import TextWord


def spans(found):
    return [
        (word.text, round(word.corners[3][0], 2), round(word.corners[2][0], 2), word.spaced) for word in words_of(found)
    ]


def test_a_line_is_shared_out_by_the_width_of_its_characters():
    assert spans(line("ab cde", 0.0, 0.5, 0.6)) == [("ab", 0.0, 0.2, True), ("cde", 0.3, 0.6, False)]
    assert spans(line("中文a", 0.0, 0.5, 0.5)) == [
        ("中", 0.0, 0.2, False),
        ("文", 0.2, 0.4, False),
        ("a", 0.4, 0.5, False),
    ]
    assert spans(line(" ", 0.0, 0.5, 0.5)) == []


def test_what_is_read_from_right_to_left_begins_at_the_right():
    assert spans(line("אב גדה", 0.0, 0.5, 0.6)) == [("אב", 0.4, 0.6, True), ("גדה", 0.0, 0.3, False)]


def test_words_of_the_engine_stay_where_they_are():
    found = line("ab c d", 0.0, 0.5, 0.6, confidence=0.5)
    for text, left in (("ab", 0.1), ("c", 0.3), ("d", 0.4)):
        found.words.add(text=text, polygon=[left, 0.5, left + 0.1, 0.5, left + 0.1, 0.6, left, 0.6])
    found.words[1].confidence = 0.75
    assert spans(found) == [("ab", 0.1, 0.2, True), ("c", 0.3, 0.4, True), ("d", 0.4, 0.5, False)]
    assert [word.confidence for word in words_of(found)] == [0.5, 0.75, 0.5]


def test_words_that_the_line_does_not_have_are_parted():
    found = line("ab", 0.0, 0.5, 0.6, words=[TextWord(text=text, polygon=[0.1] * 8) for text in ("x", "y", "b")])
    assert [(word.text, word.spaced) for word in words_of(found)] == [("x", True), ("y", True), ("b", False)]


@pytest.mark.parametrize(
    ("text", "answer"), [("abc", False), ("«שלום» abc", True), ("12 مرحبا", True), ("12-34", False), ("", False)]
)
def test_the_first_letter_says_from_where_a_text_is_read(text, answer):
    assert is_right_to_left(text) == answer
