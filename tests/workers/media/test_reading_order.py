"""Reading order of lines on a page."""

import random

import numpy as np
import pytest

from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.workers.media.reading_order import reading_order, write_lines
from triptych.workers.media.straightening import level_boxes


def line(left, top, width, height=10):
    return left, top, left + width, top + height


def test_two_columns_are_read_one_after_the_other_between_title_and_footer():
    title, footer = line(60, 0, 480), line(100, 300, 380)
    left = [line(50, 40 + 15 * row, 240 - 7 * (row % 3)) for row in range(12)]
    right = [line(320, 41 + 15 * row, 240 - 5 * (row % 4)) for row in range(12)]
    wanted = [title, *left, *right, footer]
    shuffled = random.Random(1).sample(wanted, len(wanted))
    assert [shuffled[index] for index in reading_order(shuffled)] == wanted


def test_a_forms_value_stays_beside_its_label():
    rows = [(line(10, 20 * row, width), line(200, 20 * row + 2, 90)) for row, width in enumerate((60, 70, 65, 50, 80))]
    wanted = [box for row in rows for box in row]
    shuffled = random.Random(2).sample(wanted, len(wanted))
    assert [shuffled[index] for index in reading_order(shuffled)] == wanted


def test_a_table_is_read_row_by_row_though_it_was_scanned_askew():
    wanted = [line(30 + 110 * column, 20 * row + 4 * column, 60) for row in range(6) for column in range(5)]
    shuffled = random.Random(3).sample(wanted, len(wanted))
    assert [shuffled[index] for index in reading_order(shuffled)] == wanted


def test_three_columns_under_a_heading_each_are_read_one_after_the_other():
    wanted = []
    for column in range(3):
        wanted.append(line(20 + 250 * column, 0, 120, 14))
        wanted += [line(20 + 250 * column, 30 + 14 * row, 220 - 9 * (row % 3)) for row in range(9)]
    shuffled = random.Random(5).sample(wanted, len(wanted))
    assert [shuffled[index] for index in reading_order(shuffled)] == wanted


def test_a_heading_across_the_columns_parts_them():
    parts = []
    for top in (0, 200):
        parts.append(line(50, top, 500, 16))
        for left in (50, 320):
            parts += [line(left, top + 30 + 14 * row, 240) for row in range(8)]
    shuffled = random.Random(6).sample(parts, len(parts))
    assert [shuffled[index] for index in reading_order(shuffled)] == parts


def test_a_sidebar_is_a_text_of_its_own_and_labels_are_not():
    body = [line(200, 14 * row, 400) for row in range(20)]
    sidebar = [line(20, 5 + 17 * row, (90, 130, 70)[row % 3]) for row in range(9)]
    shuffled = random.Random(7).sample(body + sidebar, 29)
    assert [shuffled[index] for index in reading_order(shuffled)] == [*sidebar, *body]
    labels = [line(20, 28 * row, 90) for row in range(10)]
    read = [(*labels, *body)[index] for index in reading_order([*labels, *body])]
    assert [read.index(label) for label in labels] == [3 * row for row in range(10)]


def quad(box, degrees):
    left, top, right, bottom = box
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) @ turn


@pytest.mark.parametrize("degrees", [-6, -1.5, 3, 6])
def test_a_page_that_was_scanned_askew_is_read_as_if_it_were_straight(degrees):
    wanted = [line(30 + 150 * column, 18 * row, 100) for row in range(8) for column in range(5)]
    polygons = [quad(box, degrees) for box in wanted]
    assert level_boxes(polygons) == pytest.approx(np.array(wanted), abs=1e-6)
    shuffled = random.Random(8).sample(range(40), 40)
    found = reading_order(level_boxes([polygons[index] for index in shuffled]))
    assert [shuffled[index] for index in found] == list(range(40))
    assert level_boxes([]).shape == (0, 4)


def test_every_box_comes_once_however_they_lie():
    dice = random.Random(4)
    boxes = [
        line(dice.uniform(0, 900), dice.uniform(0, 900), dice.uniform(0, 300), dice.uniform(0, 40)) for _ in range(400)
    ]
    assert sorted(reading_order(boxes)) == list(range(400))
    assert reading_order([]) == []


def test_offsets_are_slices_of_the_pages_text():
    page = OcrPage()
    write_lines(page, [TextLine(text="Größe 😀"), TextLine(text="42"), TextLine(text="")])
    assert page.text == "Größe 😀\n42\n"
    assert [page.text[item.text_start : item.text_end] for item in page.lines] == ["Größe 😀", "42", ""]
