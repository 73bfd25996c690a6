"""Evidence is found in the recognized words, or said to be not found."""

from __future__ import annotations

import re
import time

import pytest
from workers.reasoning.paper import CHAR_WIDTH, LINE_HEIGHT, boxes, page, paragraph, recording

from triptych.core.errors import JobCancelled
from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.reasoning_pb2 import Evidence, QuoteMatch
from triptych.workers.converters.contents import Contents
from triptych.workers.reasoning.evidence import Grounding, Locator, ground
from triptych.workers.reasoning.layout import rows
from triptych.workers.reasoning.readings import Reading, read_page, read_recording, read_text
from triptych.workers.reasoning.retrieval import passages

EXACT, FUZZY, NONE = QuoteMatch.QUOTE_MATCH_EXACT, QuoteMatch.QUOTE_MATCH_FUZZY, QuoteMatch.QUOTE_MATCH_NONE


def grounding(answer: str, readings: list[Reading], question: str = "What is it?", limit: int = 10) -> Grounding:
    return ground(answer, Locator(readings, passages(readings), question), max_evidence_count=limit)


def only(answer: str, *pages: OcrPage, question: str = "What is it?") -> Evidence:
    (evidence,) = grounding(answer, [read_page("d1", one) for one in pages], question).evidence
    return evidence


def test_an_exact_quote_gets_the_box_of_its_words() -> None:
    sheet = page((0.1, 0.1, "Invoice"), (0.1, 0.2, "Invoice number: INV-100 of May"))
    found = only("INV-100", sheet)
    assert (found.quote, found.quote_match, found.page.page_number) == ("INV-100", EXACT, 1)
    assert sheet.text[found.page.text_start : found.page.text_end] == "INV-100"
    left = 0.1 + 16 * CHAR_WIDTH
    assert boxes(found.page.polygon) == pytest.approx((left, 0.2, left + 7 * CHAR_WIDTH, 0.2 + LINE_HEIGHT))
    assert found.confidence == pytest.approx(0.9 - 0.02)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_evidence_on_a_turned_page_is_found_upright_and_placed_as_the_page_is_shown(degrees: int) -> None:
    upright = page(
        (0.1, 0.1, "Invoice 7"), (0.1, 0.3, "Paid"), (0.5, 0.3, "610"), (0.1, 0.5, "Open"), (0.5, 0.5, "611")
    )
    upright.width_px, upright.height_px = 1000, 800
    shown = OcrPage()
    shown.CopyFrom(upright)
    shown.applied_rotation_degrees = 360 - degrees
    if degrees != 180:
        shown.width_px, shown.height_px = 800, 1000
    for line in shown.lines:
        for part in (line, *line.words):
            part.polygon[:] = turned(part.polygon, degrees)
    found, expected = (only("611", one, question="What is open?").page for one in (shown, upright))
    assert (found.text_start, found.text_end) == (expected.text_start, expected.text_end)
    assert list(found.polygon) == pytest.approx(turned(expected.polygon, degrees))
    assert [row.text for row in rows(read_page("d1", shown))] == ["Invoice 7", "Paid | 610", "Open | 611"]


def test_a_part_of_a_word_gets_a_part_of_its_box() -> None:
    found = only("$610.00", page((0.1, 0.2, "Due:$610.00")))
    assert boxes(found.page.polygon) == pytest.approx((0.14, 0.2, 0.21, 0.22))


def test_a_line_without_words_gives_an_interpolated_box() -> None:
    found = only("INV-100", page((0.1, 0.2, "Number INV-100"), words=False))
    assert boxes(found.page.polygon) == pytest.approx((0.17, 0.2, 0.24, 0.22))


def test_a_tilted_line_keeps_its_tilt() -> None:
    sheet = page((0.1, 0.2, "total 42.17 dollars"))
    for polygon in (sheet.lines[0].polygon, *(word.polygon for word in sheet.lines[0].words)):
        # A slope of one line height in ten characters.
        tilted = [(y + 0.2 * (x - 0.1)) for x, y in zip(polygon[0::2], polygon[1::2], strict=True)]
        for corner, y in enumerate(tilted):
            polygon[2 * corner + 1] = y
    found = only("42.17 dollars", sheet)
    x0, y0, x1, y1 = found.page.polygon[:4]
    assert (y1 - y0) / (x1 - x0) == pytest.approx(0.2)


def test_a_quote_across_lines_gets_a_box_around_both() -> None:
    sheet = paragraph("They began to print in the monastery", "of Subiaco in 1465")
    found = only("monastery of Subiaco", sheet)
    assert (found.quote, found.quote_match) == ("monastery\nof Subiaco", EXACT)
    assert boxes(found.page.polygon) == pytest.approx((0.1, 0.05, 0.1 + 36 * CHAR_WIDTH, 0.1))


def test_a_word_divided_at_a_line_end_is_found() -> None:
    assert only("documentation set", paragraph("see the documen-", "tation set")).quote_match == EXACT


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("sunny-side-up", "Sunny - side-up"),
        ("l’été", "L'ÉTÉ"),
        ("l’e\u0301te\u0301", "L'ÉTÉ"),
        ("avery.smith@contoso.com", "Avery.Smith@Contoso.com"),
        ("+44 (0) 20 6789 2345", "Fax: +44(0)2067892345"),
        ("上海市", "在上 海市长宁区"),
        ("8 GB", "with 8GB of memory"),
    ],
)
def test_white_space_case_and_typographic_variants_do_not_matter(answer: str, text: str) -> None:
    assert only(answer, paragraph(text), question="How much memory?").quote_match == EXACT


@pytest.mark.parametrize(
    ("answer", "text", "quote"),
    [
        ("Yuyuan Road", "West Yuyuen Road 12", "Yuyuen Road"),
        ("INV-100455", "No. INV-1OO455 of May", "INV-1OO455"),
        ("modern printing", "of modem printing", "modem printing"),
        ("1234.50", "Sum 1,234.50 EUR", "1,234.50 EUR"),
        ("€ 1.234,50", "Sum 1,234.50 due", "1,234.50"),
        ("10000", "and 10,000 blankets", "10,000"),
        ("2023-03-20", "on March 20, 2023 in", "March 20, 2023"),
        ("12/15/2019", "due 15.12.2019", "15.12.2019"),
        ("The blankets were delivered to Paris", "the blankets had been delivered to Paris", None),
    ],
)
def test_differences_of_recognition_and_spelling_are_fuzzy(answer: str, text: str, quote: str | None) -> None:
    found = only(answer, paragraph(text), question="What was sent?")
    assert found.quote_match == FUZZY
    assert quote is None or found.quote == quote


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("$1203.39", "Total $1203.89"),  # another digit is another number
        ("$1203.39", "Total €1203.39"),  # another currency
        ("1203.39", "Total 120339"),  # a point matters
        ("1.234", "Total 1,234"),  # may be one thousand or one
        ("-5.00", "Total 5.00"),
        ("5.00", "Total -5.00"),
        ("203", "Total 1,203"),
        ("123", "12 3"),
        ("100", "1000"),
        ("02/01/2020", "on 01/02/2020"),  # day and month may be swapped: no guess
        ("$100.00", "Order PO-100 of May"),
        ("shipping is permitted everywhere", "shipping is not permitted everywhere"),
        ("there is evidence of fraud", "there is no evidence of fraud"),
        ("Alice paid Bob money", "Bob paid Alice money"),
        ("Contoso Ltd", "Fabrikam Inc"),
        ("yes", "yes, that is it"),
        ("cafe", "café"),
        ("가", "각"),
    ],
)
def test_another_value_is_not_found(answer: str, text: str) -> None:
    found = only(answer, paragraph(text))
    assert (found.quote, found.quote_match) == (answer, NONE)
    assert found.WhichOneof("anchor") is None
    assert not found.document_id


@pytest.mark.parametrize(
    "answer", ["INV-100.", '"INV-100"', "Invoice number: INV-100", "The invoice number is INV-100.", "`INV-100`"]
)
def test_wrappers_around_a_value_are_taken_off(answer: str) -> None:
    found = only(answer, paragraph("Ref INV-100 May"), question="What is the invoice number?")
    assert (found.quote, found.quote_match) == ("INV-100", EXACT)


def test_a_label_that_is_not_the_question_s_stays() -> None:
    found = only("Order number: INV-100", paragraph("Ref INV-100 May"), question="What is the invoice number?")
    assert found.quote_match == NONE


def test_a_repeated_value_is_taken_beside_its_label() -> None:
    sheet = page(
        (0.1, 0.10, "Pen"), (0.6, 0.10, "$99.99"),
        (0.1, 0.14, "Subtotal"), (0.6, 0.14, "$99.99"),
        (0.1, 0.18, "Total due"), (0.6, 0.18, "$99.99"),
    )  # fmt: skip
    assert only("$99.99", sheet, question="What is the subtotal?").page.polygon[1] == pytest.approx(0.14)
    assert only("$99.99", sheet, question="What is the price of the pen?").page.polygon[1] == pytest.approx(0.10)
    assert only("$99.99", sheet, question="What is the total due?").page.polygon[1] == pytest.approx(0.18)


def test_a_repeated_value_is_taken_under_its_heading() -> None:
    sheet = page(
        (0.1, 0.10, "Invoice date"), (0.4, 0.10, "Due date"), (0.7, 0.10, "Ship date"),
        (0.1, 0.13, "12/15/2019"), (0.4, 0.13, "12/15/2019"), (0.7, 0.13, "12/15/2019"),
    )  # fmt: skip
    assert only("12/15/2019", sheet, question="What is the ship date?").page.polygon[0] == pytest.approx(0.7)
    assert only("12/15/2019", sheet, question="What is the due date?").page.polygon[0] == pytest.approx(0.4)


def test_a_small_number_counts_only_near_a_word_of_the_question() -> None:
    near = page((0.1, 0.1, "Trucks used: 3"), (0.1, 0.5, "Page 7 of 9"))
    assert only("3", near, question="How many trucks were used?").quote_match == EXACT
    assert only("7", near, question="How many trucks were used?").quote_match == NONE


def test_an_answer_of_several_claims_is_cited_claim_by_claim() -> None:
    sheet = paragraph("The typewriter was patented in 1868", "and made by Remington in New York state")
    answer = "The typewriter was patented in 1868. It was sold for 125 dollars in London."
    found = grounding(answer, [read_page("d1", sheet)], "Tell me about the typewriter")
    assert [evidence.quote_match for evidence in found.evidence] == [EXACT, NONE]
    assert [evidence.evidence_id for evidence in found.evidence] == ["e1", "e2"]
    assert found.text == "The typewriter was patented in 1868. [e1] It was sold for 125 dollars in London."
    assert found.groundedness == pytest.approx(1 / 2)


def test_items_of_a_list_are_claims() -> None:
    sheet = paragraph("Beautiful is better than ugly", "Explicit is better than implicit")
    found = grounding("- Beautiful\n- Explicit\n- Purple", [read_page("d1", sheet)])
    assert [evidence.quote for evidence in found.evidence] == ["Beautiful", "Explicit", "Purple"]
    assert found.text == "- Beautiful [e1]\n- Explicit [e2]\n- Purple"


def test_no_more_evidence_than_asked_for_is_given_or_cited() -> None:
    sheet = paragraph("Beautiful is better than ugly", "Explicit is better than implicit")
    found = grounding("- Beautiful\n- Explicit", [read_page("d1", sheet)], limit=1)
    assert [evidence.quote for evidence in found.evidence] == ["Beautiful"]
    assert found.text == "- Beautiful [e1]\n- Explicit"
    assert found.groundedness == 1


def test_words_of_a_recording_give_milliseconds() -> None:
    heard = recording("In the monastery of", "Subiaco they printed.", "Then in Rome.")
    (found,) = grounding("monastery of Subiaco", [read_recording("talk", heard)]).evidence
    assert (found.document_id, found.quote, found.quote_match) == ("talk", "monastery of Subiaco", EXACT)
    assert (found.audio.start_ms, found.audio.end_ms, found.audio.segment_index) == (1000, 2500, 0)
    assert found.confidence == pytest.approx(0.7)


def test_a_recording_without_words_gives_its_segments_times() -> None:
    heard = recording("In the monastery of", "Subiaco they printed.", words=False)
    (found,) = grounding("Subiaco", [read_recording("talk", heard)]).evidence
    assert (found.audio.start_ms, found.audio.end_ms, found.audio.segment_index) == (2000, 3500, 1)


def test_embedded_text_gives_no_confidence() -> None:
    found = only("INV-100", page((0.1, 0.2, "Number INV-100"), confidence=None))
    assert not found.HasField("confidence")


def test_words_that_are_not_their_line_s_fall_back_to_the_line() -> None:
    sheet = page((0.1, 0.2, "Number INV-100"))
    sheet.lines[0].words[1].text = "INV-1OO"
    assert boxes(only("INV-100", sheet).page.polygon) == pytest.approx((0.17, 0.2, 0.24, 0.22))


def test_other_endings_do_not_keep_a_restated_claim_from_being_found() -> None:
    lines = ("Two companies were founded there, in the cafés of the autumn", "Nothing else happened")
    for text in (lines[0], lines[0].replace("é", "e")):
        found = only("Two company founded there: cafe, autumn", paragraph(text, lines[1]))
        assert (found.quote_match, found.page.page_number) == (FUZZY, 1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("rows_per_page", [0, 1000])
def test_a_value_that_stands_thousands_of_times_is_found_at_once_beside_its_label(rows_per_page: int) -> None:
    # Every place was weighed against every word of the question: minutes for what a service takes.
    count = rows_per_page or 2000
    lines = [f"Item W{number}: 10 is what it costs" for number in range(count)]
    if rows_per_page:
        reading = read_page("d1", page(*((0.1, 0.03 * number, line) for number, line in enumerate(lines))))
    else:
        spans = [(match.start(), match.end()) for match in re.finditer(".+", "\n".join(lines))]
        reading = read_text("d1", Contents(media_type="text/plain", text="\n".join(lines), lines=spans))
    began = time.process_time()
    (found,) = grounding("10", [reading], "What does item W700 cost?").evidence
    place = found.page if rows_per_page else found.text
    assert reading.text[: place.text_start].endswith("Item W700: ")
    assert time.process_time() - began < 5


def test_a_search_ends_when_it_is_to_stop() -> None:
    def stop() -> None:
        raise JobCancelled("the job was cancelled")

    with pytest.raises(JobCancelled):
        Locator([read_page("d1", paragraph("hello"))], [], "", check=stop).find("hello")


def test_very_many_lines_at_one_height_are_put_in_rows_at_once() -> None:
    reading = read_page("d1", page(*((0.02 * number, 0.5, f"{number}") for number in range(4000))))
    began = time.process_time()
    assert sum(len(row.lines) for row in rows(reading)) == 4000
    # All pairs of them took seconds.
    assert time.process_time() - began < 1.5
