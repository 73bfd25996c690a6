"""From pages and a schema to values, each with its evidence, status and confidence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from workers.reasoning.paper import Placed, boxes, page, paragraph, quad, recording
from workers.reasoning.test_pipeline import PDF, PNG, SHIPPED_ONLY, WAV, Given, Log, ScriptedChildren, pages, request

from triptych.core.errors import FieldInvalid
from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import OcrMode, OcrPage, OcrTable, OcrTableCell
from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue, ReasoningResult
from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.kinds.document_check import check_document
from triptych.workers.reasoning.pipeline import answer

ANSWERED, PARTIAL, NOT_FOUND, CONFLICTING = (
    AnswerStatus.ANSWER_STATUS_ANSWERED,
    AnswerStatus.ANSWER_STATUS_PARTIAL,
    AnswerStatus.ANSWER_STATUS_NOT_FOUND,
    AnswerStatus.ANSWER_STATUS_CONFLICTING,
)
STRING, NUMBER, DATE = {"type": "string"}, {"type": "number"}, {"type": "string", "format": "date"}
HEAD: tuple[Placed, ...] = (
    (0.1, 0.1, "Invoice number"),
    (0.5, 0.1, "INV-100"),
    (0.1, 0.14, "Total due"),
    (0.5, 0.14, "$1,610.00"),
    (0.1, 0.18, "Invoice date: 11/15/2019"),
    (0.1, 0.22, "Redmond, WA 98052"),
)
ROWS: tuple[Placed, ...] = (
    (0.1, 0.3, "Description"),
    (0.5, 0.3, "Qty"),
    (0.7, 0.3, "Amount"),
    (0.1, 0.33, "Blue widget"),
    (0.5, 0.33, "2"),
    (0.7, 0.33, "10.00"),
    (0.1, 0.36, "with a handle"),
    (0.1, 0.39, "Red widget"),
    (0.5, 0.39, "3"),
    (0.7, 0.39, "1,600.00"),
    (0.1, 0.42, "Total"),
    (0.7, 0.42, "1,610.00"),
)
ITEM = {
    "type": "object",
    "properties": {"description": STRING, "quantity": {"type": "integer"}, "amount": NUMBER},
    "required": ["description", "amount"],
}


class Script(ScriptedChildren):
    """Answers the questions that the test has an answer for, and counts those that run at once."""

    def __init__(self, results: dict[bytes, Given], answers: dict[str, str] | None = None) -> None:
        super().__init__(results, self._answer)
        self.answers = answers or {}
        self.asked: list[str] = []
        self.running = self.most = 0

    def _answer(self, prompt: str) -> str:
        question = prompt.rpartition("Question: ")[2]
        self.asked.append(question)
        return next((said for words, said in self.answers.items() if words in question), "not found")

    async def run(self, spec, *, stage, on_progress=None):
        self.running += spec.HasField("vision")
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        try:
            return await super().run(spec, stage=stage, on_progress=on_progress)
        finally:
            self.running -= spec.HasField("vision")


def of(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


async def extracted(
    schema: dict[str, Any], children: Script, *contents: bytes, question: str = "", **config: Any
) -> ReasoningResult:
    """Extracts, and asks of every result what must hold of all."""
    spec = request(*(contents or (PNG,)), question=question, **config)
    spec.output_json_schema = json.dumps(schema)
    result = await answer(spec, children, Log(), SHIPPED_ONLY)
    if result.answer.output_json:
        check_document(spec.output_json_schema, result.answer.output_json)
    ids = [evidence.evidence_id for evidence in result.evidence]
    assert ids == [f"e{number + 1}" for number in range(len(ids))]
    assert [one for value in result.values for one in value.evidence_ids] == ids
    assert all(value.HasField("confidence") == (value.status in (ANSWERED, CONFLICTING)) for value in result.values)
    at = {value.json_pointer: list(value.evidence_ids) for value in result.values}
    assert all(evidence.evidence_id in at[evidence.json_pointer] for evidence in result.evidence)
    for value in result.values if result.answer.output_json else ():
        given = resolved(json.loads(result.answer.output_json), value.json_pointer)
        assert (given not in (None, [])) == (value.status in (ANSWERED, CONFLICTING)), value
    return result


def resolved(document: Any, pointer: str) -> Any:
    """What stands at a place of a document; None if the place is not there."""
    for part in pointer.split("/")[1:]:
        if document is not None:
            document = document[int(part)] if isinstance(document, list) else document.get(part)
    return document


def of_value(result: ReasoningResult, pointer: str) -> AnswerValue:
    (value,) = (value for value in result.values if value.json_pointer == pointer)
    return value


def output(result: ReasoningResult) -> Any:
    return json.loads(result.answer.output_json)


def tabled(*placed: Placed, header: bool = True, number: int = 1) -> OcrPage:
    """A page whose lines are all cells of one table of three columns."""
    made = page(*placed, number=number)
    tops = sorted({y for _, y, _ in placed})
    table = OcrTable(row_count=len(tops), column_count=3, polygon=[0.05, 0, 0.95, 0, 0.95, 1, 0.05, 1])
    for row, top in enumerate(tops):
        for column, left in enumerate((0.1, 0.5, 0.7)):
            text = next((text for x, y, text in placed if (x, y) == (left, top)), "")
            cell = OcrTableCell(row_index=row, column_index=column, row_span=1, column_span=1, text=text)
            cell.header = header and row == 0
            cell.polygon.extend(quad(left, top, 18))
            table.cells.append(cell)
    made.tables.append(table)
    return made


async def test_values_beside_their_labels_need_no_model():
    children = Script({PNG: pages(page(*HEAD))})
    schema = of("invoiceNumber", invoiceNumber=STRING, total_due=NUMBER, invoice_date=DATE, currency=STRING)
    result = await extracted(schema, children)
    assert not children.asked
    assert result.answer.status == ANSWERED
    assert output(result) == {
        "invoiceNumber": "INV-100",
        "total_due": 1610,
        "invoice_date": "2019-11-15",
        "currency": "USD",
    }
    total = of_value(result, "/total_due")
    assert (total.raw, list(total.found_by)) == ("$1,610.00", ["label"])
    evidence = next(one for one in result.evidence if one.json_pointer == "/total_due")
    assert boxes(evidence.page.polygon) == pytest.approx((0.5, 0.14, 0.59, 0.16))
    # Of a line with its label only the value is evidence.
    date = next(one for one in result.evidence if one.json_pointer == "/invoice_date")
    assert (date.quote, boxes(date.page.polygon)[0]) == ("11/15/2019", pytest.approx(0.1 + 14 * 0.01))
    assert "total due: 1610 [e2]" in result.answer.text.splitlines()
    assert result.answer.groundedness == 1


async def test_the_model_is_asked_by_description_and_by_path_and_agreement_makes_it_surer():
    sheet = paragraph("The seller is Contoso, Redmond", "Customer ID MS-7")
    schema = of(
        vendor=of(name={"type": "string", "description": "Who sells?"}, billing_city=STRING),
        customer={"type": "string", "title": "customer ID code"},
    )
    answers = {"Who sells?": "Contoso", "vendor billing city": "Redmond", "customer ID code": "MS-7"}
    children = Script({PNG: pages(sheet)}, answers)
    result = await extracted(schema, children)
    assert sorted(children.asked) == ["What is the customer ID code?", "What is the vendor billing city?", "Who sells?"]
    assert output(result) == {"vendor": {"name": "Contoso", "billing_city": "Redmond"}, "customer": "MS-7"}
    name, customer = of_value(result, "/vendor/name"), of_value(result, "/customer")
    assert list(name.found_by) == ["model"]
    assert list(customer.found_by) == ["label", "model"]
    assert customer.confidence > name.confidence


async def test_where_a_label_and_the_model_disagree_the_likelier_holds_and_is_less_sure():
    sheet = page((0.1, 0.1, "Order"), (0.4, 0.1, "55-1"), (0.1, 0.13, "77-2"), (0.1, 0.3, "Contoso 99-345"))
    agreed = await extracted(of(order=STRING), Script({PNG: pages(sheet)}, {"order": "55-1"}))
    differing = await extracted(of(order=STRING), Script({PNG: pages(sheet)}, {"order": "99-345"}))
    one, other = of_value(agreed, "/order"), of_value(differing, "/order")
    assert (one.raw, other.status) == ("55-1", CONFLICTING)
    assert other.confidence < one.confidence
    assert len(other.evidence_ids) == 3


async def test_documents_that_contradict_each_other_show_both_sides():
    other = page((0.1, 0.1, "Total due"), (0.5, 0.1, "$1,710.00"))
    results = {PNG: pages(page(*HEAD)), PDF: pages(other)}
    result = await extracted(of(total_due=NUMBER), Script(results), PNG, PDF)
    assert result.answer.status == CONFLICTING
    assert output(result) == {"total_due": 1610}
    value = of_value(result, "/total_due")
    assert (value.status, value.raw) == (CONFLICTING, "$1,610.00")
    assert [(one.document_id, one.quote) for one in result.evidence] == [("d1", "$1,610.00"), ("d2", "$1,710.00")]
    assert value.confidence < 0.6
    assert "the documents differ" in result.answer.text


async def test_a_conflict_shows_the_other_side_however_many_say_the_same():
    contents = [PDF + str(number).encode() for number in range(12)]
    results = {one: pages(page((0.1, 0.1, "Total due"), (0.5, 0.1, "$610.00"))) for one in contents}
    results[contents[-1]] = pages(page((0.1, 0.1, "Total due"), (0.5, 0.1, "$710.00")))
    result = await extracted(of(total_due=NUMBER), Script(results), *contents, max_evidence_count=3)
    assert (result.answer.status, output(result)) == (CONFLICTING, {"total_due": 610})
    assert [one.quote for one in result.evidence] == ["$610.00", "$710.00", "$610.00"]


async def test_sentences_of_two_documents_contradict_each_other_too():
    one, other = (paragraph(f"The monthly rent is {rent} euros, in advance") for rent in (500, 600))
    children = Script({PDF: pages(one), PNG: pages(other)}, {"rent": "600 euros"})
    result = await extracted(of(monthly_rent=NUMBER), children, PDF, PNG)
    assert (result.answer.status, output(result)) == (CONFLICTING, {"monthly_rent": 600})
    assert [(one.document_id, one.quote) for one in result.evidence] == [("d2", "600"), ("d1", "500")]


async def test_documents_that_say_the_same_do_not_contradict_each_other():
    other = page((0.1, 0.1, "Total due: 1610.00 USD"))
    result = await extracted(of(total_due=NUMBER), Script({PNG: pages(page(*HEAD)), PDF: pages(other)}), PNG, PDF)
    assert (result.answer.status, output(result)) == (ANSWERED, {"total_due": 1610})


@pytest.mark.parametrize("layout", [True, False])
async def test_rows_of_a_table_are_items_with_their_cells_as_evidence(layout):
    children = Script({PNG: pages(tabled(*ROWS) if layout else page(*HEAD, *ROWS))})
    result = await extracted(of(line_items={"type": "array", "items": ITEM}), children)
    assert not children.asked
    assert children.specs[0].ocr.config.mode == OcrMode.OCR_MODE_LAYOUT
    assert output(result)["line_items"] == [
        {"description": "Blue widget with a handle", "quantity": 2, "amount": 10},
        {"description": "Red widget", "quantity": 3, "amount": 1600},
    ]
    amount = of_value(result, "/line_items/1/amount")
    assert (amount.raw, list(amount.found_by), amount.status) == ("1,600.00", ["table"], ANSWERED)
    evidence = next(one for one in result.evidence if one.json_pointer == "/line_items/1/amount")
    assert boxes(evidence.page.polygon) == pytest.approx((0.7, 0.39, 0.78, 0.41))
    wrapped = [one.quote for one in result.evidence if one.json_pointer == "/line_items/0/description"]
    assert " ".join(" ".join(wrapped).split()) == "Blue widget with a handle"
    assert "line items: Red widget [e" in result.answer.text


async def test_a_table_goes_on_on_the_next_page_without_its_headings():
    more = (
        (0.1, 0.1, "Green widget"),
        (0.5, 0.1, "4"),
        (0.7, 0.1, "5.00"),
        (0.1, 0.2, "Grey widget"),
        (0.7, 0.2, "6.00"),
    )
    children = Script({PDF: pages(tabled(*ROWS[:6]), tabled(*more, header=False, number=2))})
    result = await extracted(of(line_items={"type": "array", "items": ITEM}), children, PDF)
    assert [item["description"] for item in output(result)["line_items"]] == [
        "Blue widget",
        "Green widget",
        "Grey widget",
    ]
    assert [one.page.page_number for one in result.evidence if one.json_pointer.endswith("description")] == [1, 2, 2]


async def test_cells_of_a_page_that_lay_on_its_side_are_boxed_as_it_is_shown():
    sheet = tabled(*ROWS)
    sheet.applied_rotation_degrees = 90
    for line in sheet.lines:
        for placed in (line, *line.words):
            placed.polygon[:] = turned(placed.polygon, -90)
    for cell in sheet.tables[0].cells:
        cell.polygon[:] = turned(cell.polygon, -90)
    sheet.tables[0].polygon[:] = turned(sheet.tables[0].polygon, -90)
    result = await extracted(of(line_items={"type": "array", "items": ITEM}), Script({PNG: pages(sheet)}))
    assert len(output(result)["line_items"]) == 2
    evidence = next(one for one in result.evidence if one.json_pointer == "/line_items/1/amount")
    assert boxes(turned(evidence.page.polygon, 90)) == pytest.approx((0.7, 0.39, 0.78, 0.41))


async def test_the_callers_mode_of_ocr_holds():
    children = Script({PNG: pages(page(*ROWS))})
    spec = request(PNG, question="")
    spec.config.ocr.mode = OcrMode.OCR_MODE_TEXT
    spec.output_json_schema = json.dumps(of(line_items={"type": "array", "items": ITEM}))
    await answer(spec, children, Log(), SHIPPED_ONLY)
    assert children.specs[0].ocr.config.mode == OcrMode.OCR_MODE_TEXT


async def test_items_without_what_is_required_are_left_out():
    rows = (*ROWS[:6], (0.1, 0.36, "Yellow widget"), (0.5, 0.36, "1"))
    result = await extracted(of(line_items={"type": "array", "items": ITEM}), Script({PNG: pages(page(*rows))}))
    assert [item["description"] for item in output(result)["line_items"]] == ["Blue widget"]
    assert result.answer.status == PARTIAL


@pytest.mark.parametrize("said", ["- Ann Smith\n- Bob Jones\n- Dan Brown", "Ann Smith, Dan Brown, and Bob Jones"])
async def test_lists_have_what_the_model_names_and_a_document_has(said):
    sheet = paragraph("Present were Ann Smith, Bob Jones and Cid Meyer")
    children = Script({PNG: pages(sheet)}, {"List every": said})
    result = await extracted(of(names={"type": "array", "items": STRING, "description": "person present"}), children)
    assert children.asked == ["List every person present, one a line."]
    assert output(result) == {"names": ["Ann Smith", "Bob Jones"]}
    assert [one.quote for one in result.evidence] == ["Ann Smith", "Bob Jones"]


@pytest.mark.parametrize(
    ("schema", "expected", "status"),
    [
        (of("a", a=STRING, total_due=NUMBER), None, PARTIAL),
        (of("a", a={"type": ["string", "null"]}, total_due=NUMBER), {"a": None, "total_due": 1610}, PARTIAL),
        (of("total_due", a=STRING, total_due=NUMBER), {"total_due": 1610}, ANSWERED),
        (of(a=STRING, total_due=NUMBER), {"total_due": 1610}, PARTIAL),
        (of("total_due", a=of("b", b=STRING), total_due=NUMBER), {"total_due": 1610}, ANSWERED),
        (of("a", a=of(b=STRING), total_due=NUMBER), {"a": {}, "total_due": 1610}, PARTIAL),
        (of("a", a=STRING), None, NOT_FOUND),
        (of("total_due", total_due={"type": "number", "maximum": 5}), None, PARTIAL),
        (
            of("total_due", total_due=NUMBER, kind={"const": "invoice"}),
            {"total_due": 1610, "kind": "invoice"},
            ANSWERED,
        ),
        (
            of("total_due", "rows", total_due=NUMBER, rows={"type": "array", "items": ITEM}),
            {"total_due": 1610, "rows": []},
            PARTIAL,
        ),
    ],
)
async def test_what_is_not_found_is_never_made_up(schema, expected, status):
    result = await extracted(schema, Script({PNG: pages(page(*HEAD))}))
    assert (json.loads(result.answer.output_json or "null"), result.answer.status) == (expected, status)
    missing = [value for value in result.values if value.status == NOT_FOUND]
    assert all(not value.evidence_ids and not value.HasField("confidence") for value in missing)


async def test_words_that_stand_nowhere_are_no_value():
    result = await extracted(of(vendor=STRING), Script({PNG: pages(page(*HEAD))}, {"vendor": "Fabrikam"}))
    assert (result.answer.status, result.answer.output_json) == (NOT_FOUND, "")
    assert of_value(result, "/vendor").status == NOT_FOUND


async def test_what_the_schema_cannot_have_is_told_with_its_words():
    """A time without a zone is no "time" of JSON Schema; none is made up."""
    sheet = page((0.1, 0.1, "Start time: 14:30"), (0.1, 0.2, "Total due: 5.00"))
    schema = of(start_time={"type": "string", "format": "time"}, total_due=NUMBER)
    result = await extracted(schema, Script({PNG: pages(sheet)}))
    value = of_value(result, "/start_time")
    assert (value.status, value.raw, output(result)) == (PARTIAL, "14:30", {"total_due": 5})
    assert result.answer.status == PARTIAL
    assert len(value.evidence_ids) == 1


async def test_values_that_are_not_sure_enough_are_not_given():
    children = Script({PNG: pages(page(*HEAD))}, {"vendor": "Redmond"})
    result = await extracted(of(vendor=STRING, total_due=NUMBER), children, min_confidence=0.7)
    assert output(result) == {"total_due": 1610}
    assert of_value(result, "/vendor").status == NOT_FOUND


async def test_a_doubtful_date_is_less_sure_until_the_document_tells_its_order():
    doubtful = paragraph("Invoice date: 02/03/2024")
    clear = paragraph("Invoice date: 02/03/2024", "Shipped on 25/02/2024")
    one, other = [await extracted(of(invoice_date=DATE), Script({PNG: pages(sheet)})) for sheet in (doubtful, clear)]
    assert output(other) == {"invoice_date": "2024-03-02"}
    assert of_value(one, "/invoice_date").confidence < of_value(other, "/invoice_date").confidence


async def test_of_the_models_quote_only_the_value_is_evidence():
    sheet = paragraph("The rent, which is due in advance, is EUR 500.00 a month")
    children = Script({PNG: pages(sheet)}, {"cost": "is EUR 500.00 a month"})
    result = await extracted(of(cost=NUMBER), children)
    (evidence,) = result.evidence
    assert (evidence.quote, of_value(result, "/cost").raw, output(result)) == (
        "EUR 500.00",
        "EUR 500.00",
        {"cost": 500},
    )
    assert boxes(evidence.page.polygon)[0] == pytest.approx(0.1 + 38 * 0.01)


async def test_a_verdict_needs_no_words_of_its_own():
    sheet = paragraph("The bill was settled on Monday")
    schema = of(paid={"type": "boolean", "description": "Whether it was paid"})
    result = await extracted(schema, Script({PNG: pages(sheet)}, {"Whether it was paid": "Yes"}))
    assert output(result) == {"paid": True}
    value = of_value(result, "/paid")
    assert (list(value.evidence_ids), result.answer.groundedness) == ([], 0)
    assert value.confidence < 0.5


async def test_recordings_are_extracted_from_too():
    children = Script(
        {WAV: recording("The due date is the", "15th of March 2024.")}, {"due date": "15th of March 2024"}
    )
    result = await extracted(of(due_date=DATE), children, WAV)
    assert output(result) == {"due_date": "2024-03-15"}
    assert result.evidence[0].audio.start_ms > 0


@pytest.mark.parametrize("said", ["7 points\n7 points\n9 points", "7 points\n7 points\n7 points\n9 points"])
async def test_equal_items_are_as_many_as_stand_in_the_document(said):
    sheet = page((0.1, 0.1, "Scores"), (0.1, 0.13, "7 points"), (0.1, 0.16, "7 points"), (0.1, 0.19, "9 points"))
    children = Script({PNG: pages(sheet)}, {"List every": said})
    result = await extracted(of(scores={"type": "array", "items": {"type": "integer"}}), children)
    assert output(result) == {"scores": [7, 7, 9]}
    assert sorted(one.page.text_start for one in result.evidence) == [7, 16, 25]


@pytest.mark.parametrize(("said", "items"), [("10 pens\n20 pens\n3", [10, 20]), ("3", [])])
async def test_of_a_list_that_was_cut_the_last_item_is_left_out(said, items):
    sheet = paragraph("10 pens", "20 pens", "30 pens", "at least 3")
    children = Script({PNG: pages(sheet)}, {"List every": said})
    children.finish = FinishReason.FINISH_REASON_LENGTH
    schema = of(pens={"type": "array", "items": {"type": "integer"}})
    result = await extracted(schema, children)
    assert result.answer.status == PARTIAL
    assert (output(result)["pens"] if items else result.answer.output_json) == (items or "")
    if not items:
        assert of_value(result, "/pens").status == PARTIAL


async def test_a_value_keeps_what_looks_like_a_citation_and_the_text_does_not():
    sheet = page((0.1, 0.1, "Contact person"), (0.5, 0.1, "Smith [e7] Ltd"))
    children = Script({PNG: pages(sheet)}, {"contact person": "Smith [e7] Ltd"})
    result = await extracted(of(contact_person=STRING), children)
    assert output(result) == {"contact_person": "Smith [e7] Ltd"}
    assert result.answer.text == "contact person: Smith (e7) Ltd [e1]"


async def test_a_document_may_be_a_list_itself():
    result = await extracted({"type": "array", "items": ITEM}, Script({PNG: pages(page(*ROWS))}))
    assert [item["amount"] for item in output(result)] == [10, 1600]
    assert result.values[0].json_pointer == "/0/description"


async def test_a_document_may_be_one_value():
    result = await extracted({}, Script({PNG: pages(page(*HEAD))}, {"value": "Redmond"}))
    assert (output(result), result.values[0].json_pointer) == ("Redmond", "")


async def test_questions_begin_with_the_callers_words_and_are_asked_together_but_not_all_at_once():
    children = Script({PNG: pages(page(*HEAD))})
    schema = of(**{f"thing_{number}": STRING for number in "abcdefgh"})
    result = await extracted(schema, children, question="Mind the second half.")
    assert len(children.asked) == 8
    assert children.asked[0].startswith("Mind the second half.\nWhat is the thing")
    assert 1 < children.most <= 4
    assert result.usage.output_token_count == 24
    assert result.stages[-1].stage != "extract"
    assert "extract" in [stage.stage for stage in result.stages]


async def test_evidence_is_limited_by_value():
    names = paragraph(*[f"Total due: {number}.00" for number in range(1, 9)])
    result = await extracted(of(total_due=NUMBER), Script({PNG: pages(names)}), max_evidence_count=2)
    assert of_value(result, "/total_due").status == CONFLICTING
    assert len(result.evidence) == 2


async def test_a_schema_in_which_nothing_can_be_looked_for_is_refused_before_anything_runs():
    children = Script({PNG: pages(page(*HEAD))})
    with pytest.raises(FieldInvalid, match="/properties/x: is an object without properties"):
        await extracted(of(x={"type": "object"}), children)
    assert not children.specs


async def test_the_only_date_of_a_document_is_its_date_and_a_share_is_no_amount():
    sheet = page((0.1, 0.1, "Redmond, 6/10/2019"), (0.1, 0.2, "VAT 21%"), (0.5, 0.2, "8.68"), (0.1, 0.3, "Net: 41.31"))
    schema = of(date=STRING, tax_amount=NUMBER, amount_untaxed=STRING)
    result = await extracted(schema, Script({PNG: pages(sheet)}))
    assert output(result) == {"date": "6/10/2019", "tax_amount": 8.68, "amount_untaxed": "41.31"}
    assert of_value(result, "/date").confidence < of_value(result, "/tax_amount").confidence


async def test_labels_in_other_languages_are_understood():
    sheet = paragraph("Factuurnummer: R-17", "Vervaldatum: 22-9-2022", "Gesamtbetrag: 41,31 EUR", "Lieferant: Contoso")
    schema = of(invoice_number=STRING, due_date=STRING, total=NUMBER, supplier=STRING)
    children = Script({PNG: pages(sheet)})
    assert output(await extracted(schema, children)) == {
        "invoice_number": "R-17",
        "due_date": "22-9-2022",
        "total": 41.31,
        "supplier": "Contoso",
    }
    assert not children.asked


async def test_a_label_with_the_very_words_goes_before_one_that_means_about_the_same():
    about = (0.1, 0.1, "Subtotal: 717.97")
    alone = await extracted(of(amount_untaxed=NUMBER), Script({PNG: pages(page(about))}))
    both = await extracted(
        of(amount_untaxed=NUMBER), Script({PNG: pages(page(about, (0.1, 0.2, "Excl. VAT: 593.36")))})
    )
    assert (output(alone), output(both)) == ({"amount_untaxed": 717.97}, {"amount_untaxed": 593.36})
    assert of_value(both, "/amount_untaxed").status == ANSWERED


async def test_a_date_without_a_day_stays_in_its_words():
    sheet = paragraph("It has to be paid within 30 days")
    result = await extracted(of(due_date=STRING), Script({PNG: pages(sheet)}, {"due date": "within 30 days"}))
    assert output(result) == {"due_date": "within 30 days"}


async def test_the_head_of_a_column_labels_no_single_value():
    rows = tuple((x, y, text) for x, y, text in ROWS if (x, text) != (0.1, "Total"))
    result = await extracted(of(amount=NUMBER), Script({PNG: pages(page(*rows))}))
    assert result.answer.status == NOT_FOUND
    alone = await extracted(of(amount=NUMBER), Script({PNG: pages(page(*rows[:6]))}))
    assert output(alone) == {"amount": 10}


async def test_a_label_of_its_own_goes_before_a_heading():
    row = ((0.1, 0.3, "Order"), (0.3, 0.3, "Due date"), (0.5, 0.3, "Total"))
    row += ((0.1, 0.33, "77-1"), (0.3, 0.33, "6/24/2017"), (0.5, 0.33, "$100.00"))
    headed = await extracted(of(order=STRING, due_date=DATE, total=NUMBER), Script({PNG: pages(page(*row))}))
    assert output(headed) == {"order": "77-1", "due_date": "2017-06-24", "total": 100}
    both = await extracted(
        of(total=NUMBER), Script({PNG: pages(page(*row, (0.1, 0.5, "Total"), (0.5, 0.5, "$110.00")))})
    )
    assert (output(both), of_value(both, "/total").status) == ({"total": 110}, ANSWERED)


async def test_boxes_of_a_form_below_each_other_are_no_column():
    boxes = ((0.1, 0.1, "1 Wages"), (0.4, 0.12, "37160.56"), (0.1, 0.145, "3 Other wages"), (0.4, 0.165, "21.50"))
    sheet = page(*boxes, (0.1, 0.3, "Order number"), (0.1, 0.33, "55-1"), (0.1, 0.36, "Customer"), (0.1, 0.39, "77-2"))
    result = await extracted(of(wages=NUMBER, order_number=STRING, customer=STRING), Script({PNG: pages(sheet)}))
    assert output(result) == {"wages": 37160.56, "order_number": "55-1", "customer": "77-2"}


async def test_a_label_is_made_of_whole_words():
    children = Script({PNG: pages(paragraph("invoice_number_1", "Invoice No. 77"))})
    assert output(await extracted(of(invoice_number=STRING), children)) == {"invoice_number": "77"}


async def test_layout_is_not_asked_for_where_there_is_none():
    children = Script({PNG: pages(page(*ROWS))})
    spec = request(PNG, question="")
    spec.output_json_schema = json.dumps(of(line_items={"type": "array", "items": ITEM}))
    result = await answer(spec, children, Log(), SHIPPED_ONLY, has_layout=False)
    assert children.specs[0].ocr.config.mode == OcrMode.OCR_MODE_UNSPECIFIED
    assert len(output(result)["line_items"]) == 2
