"""Reading order of lines on a page."""

import random

from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.workers.media.reading_order import reading_order, write_lines


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
