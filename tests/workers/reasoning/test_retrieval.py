"""What the model is shown: rows kept whole, the passages that matter, never more than the budget."""

from __future__ import annotations

import pytest
from workers.reasoning.paper import page, paragraph, recording

from triptych.workers.reasoning.asking import Asking
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


def test_everything_goes_in_when_it_fits() -> None:
    found = passages(book(2))
    assert select(found, "unrelated", 10_000) == found


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
