"""What the model is shown: rows kept whole, the passages that matter, never more than the budget."""

from __future__ import annotations

import tracemalloc

import pytest
from workers.reasoning.paper import page, paragraph, recording

from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.evidence import Locator
from triptych.workers.reasoning.fields import asked_fields
from triptych.workers.reasoning.layout import rows
from triptych.workers.reasoning.prompts import document_text
from triptych.workers.reasoning.readings import Reading, read_page, read_recording
from triptych.workers.reasoning.retrieval import count_tokens, passages, rank, select

FILLER = (
    "The committee met again and went through the list of open points without coming to any end",
    "Several members asked for more time while others wanted to close the matter at once",
    "It was agreed that the minutes would be sent round before the next meeting of the group",
)


def book(pages: int, **special: str) -> list[Reading]:
    """Makes pages of filler; `p17="..."` puts a line of its own on page 17."""
    return [
        read_page("d1", paragraph(*FILLER, *([special[f"p{n}"]] if f"p{n}" in special else []), *FILLER, number=n))
        for n in range(1, pages + 1)
    ]


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("The warranty of the pump ends after eighteen months", "When does the pump's warranty end?"),
        ("Invoice total: $4,211.07", "How much is the total of the invoice?"),
        ("Die Rechnung über den Kühlschrank", "Where is the KUHLSCHRANK mentioned?"),
        ("Order 20417 was cancelled", "What happened to order 20,417?"),
    ],
)
def test_the_right_page_of_thirty_is_ranked_first(line: str, question: str) -> None:
    found = passages(book(30, p17=line, p4="The pump was delivered in the spring with the invoice"))
    scores = rank(found, question)
    best = found[scores.index(max(scores))]
    assert best.reading == 16
    assert line in best.text


def test_what_does_not_fit_is_left_out_and_the_rest_stands_in_document_order() -> None:
    found = passages(book(30, p17="The warranty of the pump ends after eighteen months", p5="A pump was bought"))
    chosen = select(found, "When does the warranty of the pump end?", 500)
    assert sum(passage.tokens for passage in chosen) <= 500
    assert {4, 16} <= {passage.reading for passage in chosen}
    assert [passage.reading for passage in chosen] == sorted(passage.reading for passage in chosen)


def test_a_reading_is_cut_once_for_all_questions() -> None:
    (first, *_) = readings = book(2)
    assert passages(readings)[0].terms is passages([first])[0].terms


def test_what_a_reading_holds_is_estimated_well_enough_to_be_bounded() -> None:
    tracemalloc.start()
    readings = book(40)
    found = passages(readings)
    locator = Locator(readings, [], "When did the committee meet?")
    assert locator.find("sent round before the next meeting")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert found
    assert 0.6 < held / sum(reading.nbytes() for reading in readings) < 1.3


def test_pages_without_words_and_tables_count_too() -> None:
    blank, table = page(), page()
    table.tables.add(row_count=1, column_count=1).cells.add(text="x" * 1000)
    assert read_page("d1", blank).nbytes() > 1000
    assert read_page("d1", table).nbytes() > read_page("d1", blank).nbytes() + 1000


def test_everything_goes_in_when_it_fits() -> None:
    found = passages(book(2))
    assert select(found, "unrelated", 10_000) == found


def test_a_part_of_a_table_brings_the_title_and_the_names_of_its_columns() -> None:
    numbers = [
        (x, 0.2 + 0.022 * row, text)
        for row in range(30)
        for x, text in ((0.1, f"Item {chr(65 + row)}"), (0.4, f"{row + 3}"), (0.7, f"{row}7.50"))
    ]
    header = [(0.1, 0.178, "Article"), (0.4, 0.178, "Count"), (0.7, 0.178, "Price each")]
    sheet = page((0.1, 0.05, "Stock list of the northern store"), *header, *numbers)
    # As large as a title is.
    sheet.lines[0].polygon[5] = sheet.lines[0].polygon[7] = 0.08
    found = passages([read_page("d1", sheet), *book(20)])
    (shown, *_) = [passage for passage in select(found, "What is the price of item X?", 150) if passage.reading == 0]
    title, names, *others = shown.text.splitlines()
    assert (title, names) == ("Stock list of the northern store", "Article | Count | Price each")
    assert "Item X | 26 | 237.50" in "\n".join(others)
    assert {0, 1, 2, 3} <= shown.lines
    assert shown.tokens == count_tokens(shown.text)


def test_what_stands_in_the_same_prompt_is_not_put_before_a_passage_again() -> None:
    rows_of_cells = [
        (x, 0.1 + 0.022 * row, f"{text} {row}") for row in range(60) for x, text in ((0.1, "a"), (0.4, "1"))
    ]
    sheet = page((0.1, 0.078, "Name"), (0.4, 0.078, "Number"), *rows_of_cells)
    found = passages([read_page("d1", sheet), *book(20)])
    assert len([passage for passage in found if passage.headings]) > 1
    text = "\n".join(passage.text for passage in select(found, "Which number has the name a?", 700))
    assert text.count("Name | Number") == 1


def test_the_best_passage_brings_the_next_page_along() -> None:
    best = paragraph(*FILLER, "The warranty of the pump ends")
    readings = [
        *book(12),
        read_page("d1", best),
        read_page("d1", paragraph("after eighteen months", number=2)),
        *book(3),
    ]
    found = passages(readings)
    room = sum(passage.tokens for passage in found if passage.reading in {12, 13})
    texts = [passage.text for passage in select(found, "When does the warranty of the pump end?", room)]
    assert texts[-1] == "after eighteen months"


def test_the_next_document_is_no_neighbour() -> None:
    best = read_page("d1", paragraph(*FILLER, "The warranty of the pump ends"))
    found = passages([*book(12), best, read_page("d2", paragraph(*FILLER))])
    chosen = select(found, "When does the warranty of the pump end?", 2 * max(passage.tokens for passage in found))
    readings = {passage.reading for passage in chosen}
    assert readings >= {11, 12}
    assert 13 not in readings


def test_a_label_and_its_value_share_a_row() -> None:
    sheet = page(
        (0.1, 0.10, "Invoice number"), (0.1, 0.13, "Total due"), (0.6, 0.101, "INV-100"), (0.6, 0.129, "$610.00"),
    )  # fmt: skip
    assert [row.text for row in rows(read_page("d1", sheet))] == ["Invoice number | INV-100", "Total due | $610.00"]


def test_columns_of_running_text_are_not_read_across() -> None:
    left = [(0.05, 0.1 + 0.03 * i, f"left column line {i} goes on and on and on") for i in range(6)]
    right = [(0.55, 0.1 + 0.03 * i, f"right column line {i} goes on and on and") for i in range(6)]
    sheet = page(*left, *right)
    assert [row.text for row in rows(read_page("d1", sheet))] == [text for _, _, text in left + right]


def test_a_tilted_row_is_one_row() -> None:
    cells = [(0.1 + 0.2 * i, 0.1 + 0.006 * i, f"cell {i}") for i in range(4)]
    assert [row.text for row in rows(read_page("d1", page(*cells)))] == ["cell 0 | cell 1 | cell 2 | cell 3"]


def test_a_segment_longer_than_a_passage_is_cut() -> None:
    found = passages([read_recording("d1", recording("and so on " * 200))])
    assert len(found) > 2
    assert " ".join(passage.text for passage in found).split() == ("and so on " * 200).split()


def test_a_text_without_blanks_is_cut_too() -> None:
    found = passages([read_page("d1", paragraph("上海市长宁区" * 100))])
    assert "".join(passage.text for passage in found) == "上海市长宁区" * 100
    assert all(passage.tokens <= 130 for passage in found)


def test_one_page_needs_no_heading_and_several_have_theirs() -> None:
    one = [read_page("d1", paragraph("only line"))]
    assert document_text(one, passages(one)) == "Document:\nonly line"
    several = [
        read_page("d1", paragraph("first"), title="a.pdf"),
        read_page("d1", paragraph("second", number=2), title="a.pdf"),
        read_recording("d2", recording("third"), title="b.wav"),
    ]
    assert document_text(several, passages(several)).splitlines() == [
        "Document a.pdf, page 1:", "first", "Document a.pdf, page 2:", "second", "Document b.wav, recording:", "third",
    ]  # fmt: skip


def test_digits_and_signs_count_as_tokens_of_their_own() -> None:
    assert count_tokens("Total: $610.00") == 2 + 1 + 1 + 3 + 1 + 2
    assert count_tokens("上海") == 2


def test_an_empty_page_has_no_passage() -> None:
    assert passages([read_page("d1", page())]) == []


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("What is the Medicare tax withheld?", ["6 Medicare tax withheld: 538.83"]),
        ("What is the control number?", ["d Control Number: 000086242"]),
        ("What is the booking date?", ["Booking date: 05-Dec-2018"]),
        ("Who is the sales associate?", ["Sales Associate: Paul"]),
        ("What is the terms' shipping number?", []),
        ("What is the reference?", []),
    ],
)
def test_fields_that_the_question_names_are_found(question: str, fields: list[str]) -> None:
    sheet = page(
        (0.1, 0.10, "5 Medicare wages"), (0.5, 0.10, "6 Medicare tax withheld"),
        (0.2, 0.13, "37160.56"), (0.6, 0.13, "538.83"),
        (0.1, 0.20, "d Control Number"),
        (0.1, 0.23, "000086242"),
        (0.1, 0.30, "Booking date:"), (0.3, 0.30, "05-Dec-2018"), (0.5, 0.30, "Contract No:"), (0.7, 0.30, "334566"),
        (0.1, 0.40, "Sales Associate:"), (0.4, 0.40, "Paul"),
        (0.1, 0.50, "Shipping terms"), (0.4, 0.50, "Weight"),
        (0.1, 0.60, "Reference"), (0.4, 0.60, "A-1"),
        (0.1, 0.63, "B-2"),
    )  # fmt: skip
    readings = [read_page("d1", sheet)]
    found = asked_fields(readings, passages(readings), Asking(question))
    assert [f"{field.label}: {field.value}" for field in found] == fields
