"""What is read off a page without a model: labels, tables, forms of values, sums; and when nothing is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.reasoning.paper import Placed, page, paragraph
from workers.reasoning.test_extraction import tabled

from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.readable import Candidate, candidates
from triptych.workers.reasoning.readings import Reading, read_page
from triptych.workers.reasoning.retrieval import passages
from triptych.workers.reasoning.shapes import Shape, shape_asked, trimmed
from triptych.workers.reasoning.tables import tables


def read_off(question: str, *sheets: OcrPage) -> list[Candidate]:
    readings = [read_page(f"d{number}", sheet) for number, sheet in enumerate(sheets, start=1)]
    return candidates(readings, passages(readings), Asking(question))


def best(question: str, *sheets: OcrPage) -> str:
    found = read_off(question, *sheets)
    return found[0].value if found else ""


def grid(*rows: str, top: float = 0.1, step: float = 0.03) -> list[Placed]:
    """Sets rows of cells, "a | b | c", a column every 18 hundredths of the width; an empty cell is left out."""
    placed = []
    for number, row in enumerate(rows):
        for column, text in enumerate(row.split("|")):
            if text.strip():
                placed.append((0.05 + 0.18 * column, top + step * number, text.strip()))
    return placed


STATEMENT = page(
    *grid(
        "Date | Description | Cheque | Debits | Balance",
        "01 Aug 2018 | Cheque paid | 4987 | 36.07 | 963.93",
        "02 Aug 2018 | Cheque paid | 4986 | 60.93 | 903.00",
        "03 Aug 2018 | Bank fee | | 3.00 | 900.00",
        "04 Aug 2018 | Cheque paid | 4982 | 100.00 | 800.00",
    )
)
BALLOTS = page(
    *grid(
        "Category | Voters | Ballots | Time to",
        "| | Completed | finish",
        top=0.1, step=0.021,
    ),
    *grid(
        "Blind | 5 | 1 | 1199 sec",
        "Low vision | 6 | 2 | 1716 sec",
        "Mobility | 3 | 4 | 1416 sec",
        top=0.18,
    ),
)  # fmt: skip
CARD = page(
    (0.1, 0.10, "4dLIC#WDL456DG 9CLASS B"),
    (0.1, 0.20, "3 DOB 01/06/1958"), (0.5, 0.20, "4aISS 01/06/2015"),
    (0.1, 0.30, "16 HGT 5'-08\""), (0.5, 0.30, "17 WGT 165 lb"),
    (0.5, 0.40, "4b EXP 08/12/2020"),
)  # fmt: skip
RECHNUNG = page(
    (0.1, 0.10, "Rechnungsnummer:"), (0.5, 0.10, "R-2020-17"),
    (0.1, 0.15, "Rechnungsdatum: 3.4.2020"),
    (0.1, 0.20, "Nettobetrag"), (0.5, 0.20, "€ 100,00"),
    (0.1, 0.23, "MwSt: 19%"), (0.5, 0.23, "€ 19,00"),
    (0.1, 0.26, "Gesamtbetrag"), (0.5, 0.26, "€ 119,00"),
    (0.1, 0.40, "Tel. 030 1234567"), (0.5, 0.40, "info@example.org"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is the licence number?", "WDL456DG"),
        ("What is the date of birth?", "01/06/1958"),
        ("What is the holder's weight?", "165 lb"),
        ("When does the licence expire?", "08/12/2020"),
    ],
)
def test_cards_abbreviate_their_labels(question: str, value: str) -> None:
    assert best(question, CARD) == value


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is the invoice number?", "R-2020-17"),
        ("What is the invoice date?", "3.4.2020"),
        ("What is the total amount of the invoice (including tax)?", "€ 119,00"),
        ("What is the amount without tax?", "€ 100,00"),
        ("What is the phone number?", "030 1234567"),
        ("What is the e-mail address?", "info@example.org"),
        ("What is the fax number?", ""),
        ("What is the IBAN?", ""),
        ("What is the VAT ID?", ""),
    ],
)
def test_labels_are_understood_in_other_languages(question: str, value: str) -> None:
    assert best(question, RECHNUNG) == value


@pytest.mark.parametrize(
    ("label", "share"),
    [("Phone", 1), ("Tel.", 1), ("Telefon", 1), ("Phone no.", 1), ("Fax", 0), ("Customer phone", 0.5)],
)
def test_how_much_of_a_label_was_asked_for(label: str, share: float) -> None:
    assert Asking("What is the phone number?").label_share(label) == share


@pytest.mark.parametrize(
    ("label", "share"),
    [("Factuurdatum", 1), ("Vervaldatum", 0), ("Invoice date", 1), ("Due date", 0), ("Date", 1), ("4b Inv. date", 1)],
)
def test_a_compound_label_says_all_of_its_parts(label: str, share: float) -> None:
    assert Asking("What is the invoice date?").label_share(label) == share


@pytest.mark.parametrize(
    ("question", "value", "by"),
    [
        ("What is the balance after the bank fee?", "900.00", "table"),
        ("How many cheques paid are listed?", "3", "table"),
        ("What is the total of the three cheques paid?", "197.00", "table"),
    ],
)
def test_rows_of_a_table_are_looked_up_counted_and_added(question: str, value: str, by: str) -> None:
    found = read_off(question, STATEMENT)[0]
    assert (found.value, found.by, found.strong) == (value, by, True)


def test_a_sum_of_another_number_of_rows_than_was_said_is_not_given() -> None:
    assert not any(one.computed for one in read_off("What is the total of the two cheques paid?", STATEMENT))


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("How many ballots were completed in the Mobility category?", "4"),
        ("What is the time to finish for Blind?", "1199 sec"),
        ("Which category has the fewest voters?", "Mobility"),
        ("Which category has the most voters?", "Low vision"),
        ("How many voters are there in total?", "14"),
    ],
)
def test_headings_may_have_several_lines(question: str, value: str) -> None:
    assert best(question, BALLOTS) == value


def test_a_sum_has_the_currency_of_what_was_added() -> None:
    sheet = page(*grid("Day | Reason | Charges", "One | Repair | $5.00", "Two | Cleaning | $7.50"))
    found = read_off("What is the total of all charges?", sheet)[0]
    assert (found.value, found.computed) == ("$12.50", True)


def test_what_was_worked_out_rests_on_the_cells() -> None:
    found = read_off("What is the total of the three cheques paid?", STATEMENT)[0]
    assert [one.quote for one in found.evidence([read_page("d1", STATEMENT)])] == ["36.07", "60.93", "100.00"]


def test_the_two_that_share_the_most_leave_it_open() -> None:
    sheet = page(*grid("Name | Points | City", "Ann | 5 | Rome", "Bob | 5 | Bonn"))
    assert read_off("Who has the most points?", sheet) == []


def test_days_between_two_labels_are_counted() -> None:
    sheet = page(*grid("Invoice Date | Due Date | Charges", "6/18/2017 | 6/24/2017 | $5.00"))
    question = "How many days are between the invoice date and the due date?"
    found = read_off(question, sheet)[0]
    assert (found.value, found.computed, len(found.places)) == ("6", True, 2)
    either = page(*grid("Invoice Date | Due Date | Charges", "6/7/2017 | 8/9/2017 | $5.00"))
    assert read_off(question, either)[:1] != ["6"]
    assert not any(one.computed for one in read_off(question, either))


def test_one_date_is_not_the_two_between_which_days_are_counted() -> None:
    found = read_off(
        "How many days are between the invoice date and the due date?", page((0.1, 0.1, "Date: 18 June 2017"))
    )
    assert not any(one.computed for one in found)


def test_tables_that_layout_found_are_read_off() -> None:
    # Two columns are no table by where they stand.
    sheet = tabled((0.1, 0.1, "Part"), (0.5, 0.1, "Charge"), (0.1, 0.13, "Bolt"), (0.5, 0.13, "12.50"))
    found = read_off("What is the charge for the bolt?", sheet)[0]
    assert (found.value, found.by) == ("12.50", "table")
    assert [one.quote for one in found.evidence([read_page("d1", sheet)])] == ["12.50"]


def test_a_cell_goes_on_in_the_next_line() -> None:
    sheet = page(
        *grid("Step | Place | Action", "One | Bonn | Close the lid"),
        (0.23, 0.151, "(Rhein)"), (0.41, 0.151, "and wait"),
        *grid("Two | Rome | Open it", top=0.2),
    )  # fmt: skip
    assert best("What is the action for One?", sheet) == "Close the lid and wait"


def test_two_values_that_fit_as_well_are_not_beyond_doubt() -> None:
    first, second = page((0.1, 0.1, "Total: $5.00")), page((0.1, 0.1, "Total: $7.00"))
    assert [one.strong for one in read_off("What is the total?", first, second)] == [False, False]
    assert [one.strong for one in read_off("What is the total?", first)] == [True]


def test_the_total_of_a_paper_is_read_and_not_added_up() -> None:
    sheet = page(
        *grid("Invoice | Total | Paid", "1001 | 5.00 | 5.00", "1002 | 7.00 | 7.00"), (0.05, 0.4, "Total: 12.00")
    )
    assert not any(one.computed for one in read_off("What is the total of the invoice?", sheet))
    assert not any(one.computed for one in read_off("What is the highest total?", sheet))


def test_of_several_sums_on_a_page_the_largest_comes_first() -> None:
    sheet = paragraph("Subtotal: $112.00", "Subtotal: $150.90", "Subtotal: $262.90", "Tax: $16.94", "Total: $279.84")
    assert best("What is the amount without tax?", sheet) == "$262.90"
    assert best("What is the total?", sheet) == "$279.84"


def test_a_value_under_the_label_of_another_box_is_not_taken() -> None:
    sheet = page(
        (0.1, 0.13, "b. Employer number (EIN)"), (0.5, 0.105, "1 Wages"), (0.62, 0.13, "37160.56"),
        (0.1, 0.16, "98-7654321"),
    )  # fmt: skip
    assert best("What is the employer identification number (EIN)?", sheet) == "98-7654321"


@pytest.mark.parametrize(
    ("question", "shape"),
    [
        ("When is payment due?", Shape.DATE),
        ("What is the total amount due?", Shape.AMOUNT),
        ("How much was the tax?", Shape.AMOUNT),
        ("Which tax year is this form for?", Shape.YEAR),
        ("What is the VAT number of the issuer?", Shape.VAT_NUMBER),
        ("What is the fax number?", Shape.PHONE),
        ("How many laptops were delivered?", Shape.NUMBER),
        ("Who is the sales associate?", None),
        ("What is the title of the recipe?", None),
        ("What is the required action for Route?", None),
    ],
)
def test_a_question_says_what_its_answer_looks_like(question: str, shape: Shape | None) -> None:
    assert shape_asked(question) is shape


@pytest.mark.parametrize(
    ("text", "shape", "value"),
    [
        ("Total: $610.00", Shape.AMOUNT, "$610.00"),
        ("on 12/15/2019", Shape.DATE, "12/15/2019"),
        ("3 April 2020", Shape.DATE, "3 April 2020"),
        ("$1.00 or $2.00", Shape.AMOUNT, "$1.00 or $2.00"),
        ("nothing", Shape.AMOUNT, "nothing"),
        ("1939 INR for 2 nights/room, 10 %", Shape.AMOUNT, "1939 INR for 2 nights/room, 10 %"),
        ("1939 INR of 10 %, room A7", Shape.AMOUNT, "1939 INR"),
        ("am 3. März 2020 um 12", Shape.DATE, "3. März 2020"),
        ("tel: +44 (0) 20 9876 5432", Shape.PHONE, "+44 (0) 20 9876 5432"),
    ],
)
def test_a_value_is_cut_out_of_what_stands_around_it(text: str, shape: Shape, value: str) -> None:
    assert trimmed(text, shape) == value


cells_of_rows = st.lists(st.lists(st.sampled_from(["", "Name", "Due", "7", "12.50", "word"]), min_size=3, max_size=5))


@given(cells_of_rows)
def test_a_word_is_in_one_cell_of_one_table_at_most(rows: list[list[str]]) -> None:
    reading: Reading = read_page("d1", page(*grid(*(" | ".join(row) for row in rows))))
    found = [cell for table in tables(reading) for row in (table.header, *table.rows) for cell in row]
    signs = [sign for cell in found for span in cell.spans for sign in range(*span)]
    assert len(signs) == len(set(signs))


@given(st.text(max_size=60), st.sampled_from(Shape))
def test_values_lie_in_their_text(text: str, shape: Shape) -> None:
    for start, end in shape.spans(text):
        assert 0 <= start < end <= len(text)
        assert text[start:end].strip() == text[start:end]


@given(st.text(max_size=80))
def test_any_question_can_be_taken_apart(question: str) -> None:
    text = read_page("d1", STATEMENT).text
    for found in read_off(question, STATEMENT):
        assert found.value
        assert all(0 <= start < end <= len(text) for _, start, end in found.places)
