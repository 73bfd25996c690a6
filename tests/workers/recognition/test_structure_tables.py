"""Grids without a network, and the text in them."""

import numpy as np
import pytest
from workers.sheets import Sheet, matrix

from triptych.v1.ocr_pb2 import BlockKind, OcrPage, TextLine
from triptych.workers.engines.layout import Region
from triptych.workers.engines.table import Grid, GridCell
from triptych.workers.recognition.structure_cells import doubtful, filled, straightened, text_of
from triptych.workers.recognition.structure_frame import Frame
from triptych.workers.recognition.structure_grids import aligned_grid, ruled_grid
from triptych.workers.recognition.structure_regions import distinct, inside
from triptych.workers.recognition.structure_tables import aligned_tables, found_table

SIZE = 1000
NOTHING = Grid(cells=(), row_count=0, column_count=0, confidence=0)


def frame():
    return Frame(np.full((SIZE, SIZE, 3), 255, np.uint8), 0)


def line(text, left, top, right, bottom, words=()):
    def polygon(left, top, right, bottom):
        return [value / SIZE for value in (left, top, right, top, right, bottom, left, bottom)]

    made = TextLine(text=text, polygon=polygon(left, top, right, bottom))
    for word, start, end in words:
        made.words.add(text=word, polygon=polygon(start, top, end, bottom))
    return made


def lines_of(*lines):
    return frame().lines(OcrPage(lines=lines))


def grid_of(rows, columns, *, width=200, height=50):
    cells = (
        GridCell(row=row, column=column, box=(column * width, row * height, (column + 1) * width, (row + 1) * height))
        for row in range(rows)
        for column in range(columns)
    )
    return Grid(cells=tuple(cells), row_count=rows, column_count=columns, confidence=1)


def texts(grid, lines):
    return [text_of(placed) for placed in filled(grid, lines)]


def test_a_line_over_two_cells_is_divided_at_its_words_and_keeps_its_blanks_within_a_cell():
    words = [("net", 20, 60), ("amount", 70, 150), ("5.00", 300, 350)]
    lines = lines_of(line("net  amount 5.00", 20, 10, 350, 40, words))
    assert texts(grid_of(1, 2), lines) == ["net  amount", "5.00"]


def test_ideographs_are_not_set_apart_by_being_words():
    lines = lines_of(
        line("全文検索", 20, 10, 120, 40, [(c, 20 + 25 * i, 45 + 25 * i) for i, c in enumerate("全文検索")])
    )
    assert texts(grid_of(1, 2), lines) == ["全文検索", ""]


def test_text_beside_a_cells_box_goes_where_the_text_next_to_it_is():
    grid = Grid(
        cells=(GridCell(row=0, column=0, box=(0, 0, 100, 40)), GridCell(row=1, column=0, box=(0, 70, 100, 100))),
        row_count=2,
        column_count=1,
        confidence=1,
    )
    lines = lines_of(line("head", 0, 5, 90, 25), line("first", 0, 52, 90, 68), line("second", 0, 72, 90, 90))
    assert texts(grid, lines) == ["head", "first\nsecond"]


def test_a_box_that_strays_is_put_right_by_its_row_and_column():
    grid = grid_of(3, 3)
    stray = tuple(
        GridCell(row=0, column=1, box=(150, 0, 520, 50)) if (cell.row, cell.column) == (0, 1) else cell
        for cell in grid.cells
    )
    assert straightened(Grid(cells=stray, row_count=3, column_count=3, confidence=1)) == grid


def test_a_grid_is_doubted_when_its_cells_hold_columns_or_rows():
    rows = [line(str(row), 20, 10 + 50 * row, 60, 40 + 50 * row) for row in range(4)]
    beside = [
        line("x", 300 + 120 * at, 10 + 50 * row, 330 + 120 * at, 40 + 50 * row) for row in range(4) for at in (0, 1)
    ]
    lines = lines_of(*rows, *beside)
    columns = grid_of(4, 2, width=270)
    assert doubtful(columns, filled(columns, lines))
    merged = grid_of(2, 3, width=150, height=100)
    assert doubtful(merged, filled(merged, lines))
    right = grid_of(4, 3, width=200)
    assert not doubtful(right, filled(right, lines_of(*rows)))


def test_ruled_lines_give_cells_with_their_spans():
    sheet = Sheet(width=700, height=260)
    rows = [["", "", None], [None, "", ""], ["", "", ""]]
    sheet.table(40, 30, rows, widths=(200, 200, 200), height=60, spans=((0, 0, 2, 1), (0, 1, 1, 2)))
    grid = ruled_grid(np.asarray(sheet.image))
    assert [(cell.row, cell.column, cell.row_span, cell.column_span) for cell in grid.cells] == [
        (0, 0, 2, 1),
        (0, 1, 1, 2),
        (1, 1, 1, 1),
        (1, 2, 1, 1),
        (2, 0, 1, 1),
        (2, 1, 1, 1),
        (2, 2, 1, 1),
    ]
    assert np.abs(np.array(grid.cells[1].box) - (240, 30, 640, 90)).max() <= 3


def test_a_page_of_prose_has_no_ruled_and_no_aligned_cells():
    sheet = Sheet(width=900, height=500)
    sheet.prose(40, 40, 7, size=28)
    assert ruled_grid(np.asarray(sheet.image)) is None
    prose = lines_of(*(line("word " * 8, 50, 30 * row, 650, 30 * row + 20) for row in range(8)))
    assert aligned_grid(prose, (0, 0)) is None


def test_text_in_columns_is_a_table_and_a_heading_over_columns_spans_them():
    heading = line("Sales in all towns", 200, 0, 560, 20)
    rows = [
        line(f"r{row}c{at}", 20 + 200 * at, 40 * row, 120 + 200 * at, 40 * row + 20)
        for row in range(1, 12)
        for at in range(3)
    ]
    grid = aligned_grid(lines_of(heading, *rows), (0, 0))
    assert (grid.row_count, grid.column_count) == (12, 3)
    assert [(cell.column, cell.column_span) for cell in grid.cells if cell.row == 0] == [(0, 1), (1, 2)]


def test_numbers_in_columns_are_a_table_even_where_no_model_saw_one():
    head = [line(text, 20 + 200 * at, 0, 120 + 200 * at, 20) for at, text in enumerate(("City", "2019", "2020"))]
    rows = [[f"town {row}", f"{row}.5", f"{row}.7"] for row in range(1, 5)]
    cells = [
        line(text, 20 + 200 * at, 40 * row, 120 + 200 * at, 40 * row + 20)
        for row, texts in enumerate(rows, 1)
        for at, text in enumerate(texts)
    ]
    [found] = aligned_tables(frame(), lines_of(*head, *cells))
    assert matrix(found.table) == [["City", "2019", "2020"], *rows]
    assert {cell.row_index for cell in found.table.cells if cell.header} == {0}
    words = [line(text.text.replace("1", "a").replace(".", "b"), 20, 40, 80, 60) for text in cells[:3]]
    assert aligned_tables(frame(), lines_of(*words)) == []


def test_nothing_and_a_single_column_are_no_table():
    box = (0.0, 0.0, 1000.0, 1000.0)
    column = lines_of(*(line(f"name {row}", 20, 40 * row, 120, 40 * row + 20) for row in range(6)))
    assert found_table(NOTHING, frame(), box, []) is None
    assert found_table(grid_of(6, 1), frame(), box, column) is None


@pytest.mark.parametrize(
    ("rows", "header_rows"),
    [
        ([["City", "People"], ["Ulm", "5"], ["Bonn", "7"]], 1),
        ([["1", "100"], ["2", "101"], ["3", "102"]], 0),
        ([["", "1996"], ["Ulm", "54"], ["Bonn", "60"]], 1),
        ([["Name", "Task"], ["Ulm", "reads"], ["Bonn", "writes"]], 1),
    ],
)
def test_the_first_row_is_a_heading_unless_it_is_numbers_as_all_below(rows, header_rows):
    lines = lines_of(
        *(
            line(text, 20 + 200 * column, 10 + 50 * row, 120 + 200 * column, 40 + 50 * row)
            for row, texts in enumerate(rows)
            for column, text in enumerate(texts)
            if text
        )
    )
    found = found_table(grid_of(3, 2), frame(), (0.0, 0.0, 400.0, 150.0), lines)
    assert matrix(found.table) == rows
    assert {cell.row_index for cell in found.table.cells if cell.header} == set(range(header_rows))


def test_of_regions_at_one_place_the_surest_holds_but_a_table_is_tried_first():
    page = (0.0, 0.0, 1000.0, 1000.0)

    def region(kind, confidence, box=(100.0, 100.0, 500.0, 300.0)):
        return Region(kind=getattr(BlockKind, f"BLOCK_KIND_{kind}"), box=box, confidence=confidence)

    text, table, figure = region("PARAGRAPH", 0.6), region("TABLE", 0.45), region("FIGURE", 0.8)
    assert distinct([text, figure, table], page) == [table]
    assert distinct([text, figure], page) == [figure]
    photograph = region("FIGURE", 0.9, (0.0, 0.0, 1000.0, 990.0))
    assert distinct([photograph, text], page) == [text]
    header = region("PAGE_HEADER", 0.9)
    assert distinct([header, text], page) == [text]


def test_a_line_whose_box_is_wider_than_its_region_belongs_to_it():
    lines = lines_of(line("63", 480, 930, 520, 960))
    assert inside((488.0, 938.0, 512.0, 954.0), lines) == lines
    assert inside((0.0, 0.0, 400.0, 954.0), lines) == []
