"""Lines that run across a gutter are cut there."""

import random

import numpy as np

from triptych.workers.media.gutters import cuts

HEIGHT = 20


def page(*lines):
    """Boxes and spans of lines, each its words as (left, right), one below the other."""
    boxes = np.array(
        [[words[0][0], 30 * row, words[-1][1], 30 * row + HEIGHT] for row, words in enumerate(lines)], float
    )
    return boxes, [np.array(words, float) for words in lines]


def justified(left, right, dice):
    """Words that fill a column, with blanks of 4 to 10 pixels."""
    words, at = [], left
    while right - at > 70:
        width = dice.randint(25, 60)
        words.append((at, at + width))
        at += width + dice.randint(4, 10)
    return [*words, (at, right)]


def test_lines_of_two_columns_are_cut_between_them():
    dice = random.Random(1)
    columns = [(justified(0, 480, dice), justified(496, 980, dice)) for _ in range(12)]
    boxes, spans = page([(250, 700)], *([*left, *right] for left, right in columns))
    assert cuts(boxes, spans) == [[], *([len(left)] for left, _ in columns)]


def test_a_line_that_was_found_in_two_parts_stays_so():
    dice = random.Random(2)
    lines = [[*justified(0, 480, dice), *justified(496, 980, dice)] for _ in range(6)]
    lines += [part for _ in range(4) for part in (justified(0, 480, dice), justified(496, 980, dice))]
    assert [bool(found) for found in cuts(*page(*lines))] == [True] * 6 + [False] * 8


def test_rivers_in_running_text_are_no_gutter():
    dice = random.Random(3)
    assert not any(cuts(*page(*(justified(0, 980, dice) for _ in range(30)))))


def test_columns_of_a_table_are_not_cut():
    rows = [[(0, 90), (300, 340), (500, 560), (800, 850)] for _ in range(10)]
    assert not any(cuts(*page(*rows)))


def test_a_page_without_lines_or_words_has_no_gutter():
    assert cuts(np.zeros((0, 4)), []) == []
    assert cuts(np.zeros((1, 4)), [np.zeros((0, 2))]) == [[]]
