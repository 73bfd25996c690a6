"""Whose answer is taken, the model's or what was read off, how sure it is, and what it rests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.reasoning.paper import page, paragraph
from workers.reasoning.test_pipeline import PNG, ScriptedChildren, ask, pages, request

from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningResult
from triptych.workers.reasoning.confidence import NAMES, Signals, probability

INVOICE = page(
    (0.1, 0.10, "Invoice number:"), (0.5, 0.10, "INV-100"),
    (0.1, 0.13, "Order number:"), (0.5, 0.13, "PO-33"),
    (0.1, 0.16, "Address:"), (0.5, 0.16, "1 Main Street"),
    (0.5, 0.19, "Springfield"),
    (0.1, 0.30, "Total"), (0.5, 0.30, "$610.00"),
    (0.1, 0.40, "We deliver within three days"),
)  # fmt: skip


async def answered(question: str, says: str, sheet: OcrPage = INVOICE, **config: object) -> ReasoningResult:
    return await ask(request(PNG, question=question, **config), ScriptedChildren({PNG: pages(sheet)}, says))


def said(result: ReasoningResult) -> str:
    return result.answer.text


async def test_the_value_of_the_very_label_outweighs_the_model() -> None:
    result = await answered("What is the invoice number?", "PO-33")
    assert said(result) == "INV-100 [e1]"
    assert result.evidence[0].quote == "INV-100"
    assert list(result.evidence[0].page.word_indices) == [2]


async def test_a_model_that_finds_nothing_is_helped() -> None:
    assert said(await answered("What is the total?", "not found")) == "$610.00 [e1]"


async def test_a_longer_answer_that_holds_the_labelled_line_is_kept() -> None:
    text = said(await answered("What is the address?", "1 Main Street\nSpringfield"))
    assert text == "1 Main Street [e1]\nSpringfield [e2]"


async def test_an_amount_is_given_without_the_words_around_it() -> None:
    assert said(await answered("What is the total?", "Total amount: $610.00")) == "$610.00 [e1]"


async def test_what_was_worked_out_is_not_asked_of_the_model() -> None:
    sheet = page(
        (0.1, 0.1, "Item"), (0.3, 0.1, "Price"), (0.5, 0.1, "Stock"),
        (0.1, 0.13, "Pens"), (0.3, 0.13, "2.00"), (0.5, 0.13, "4"),
        (0.1, 0.16, "Inks"), (0.3, 0.16, "3.00"), (0.5, 0.16, "9"),
    )  # fmt: skip
    children = ScriptedChildren({PNG: pages(sheet)}, "Pens")
    result = await ask(request(PNG, question="Which item has the highest price?"), children)
    assert said(result) == "Inks [e1] [e2]"
    assert [evidence.quote for evidence in result.evidence] == ["Inks", "3.00"]
    assert not any(spec.HasField("vision") for spec in children.specs)


async def test_a_yes_rests_on_the_line_that_has_the_question() -> None:
    result = await answered("Do you deliver within three days?", "Yes", min_confidence=0)
    assert said(result) == "Yes [e1]"
    assert result.evidence[0].quote == "We deliver within three days"


async def test_a_yes_without_such_a_line_rests_on_nothing() -> None:
    result = await answered("Is smoking allowed on the terrace?", "Yes", min_confidence=0)
    assert not any(evidence.HasField("page") for evidence in result.evidence)


async def test_model_and_label_together_are_surer_than_either() -> None:
    both = await answered("What is the total?", "$610.00")
    label = await answered("What is the total?", "not found")
    model = await answered("What is the total?", "$610.00", paragraph("Total", "and so on", "pay $610.00"))
    assert both.answer.confidence > max(label.answer.confidence, model.answer.confidence)


async def test_an_answer_that_nothing_speaks_for_is_not_given() -> None:
    question = "Who painted the chapel?"
    result = await answered(question, "Michelangelo")
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND
    assert not result.evidence
    assert not result.answer.HasField("confidence")
    anyway = await answered(question, "Michelangelo", min_confidence=0)
    assert said(anyway) == "Michelangelo"
    assert anyway.answer.confidence < 0.3


async def test_a_question_about_the_whole_needs_none_of_its_words_on_the_page() -> None:
    result = await answered("What is this document about?", "We deliver within three days")
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED


async def test_the_caller_may_ask_for_more_confidence() -> None:
    result = await answered("What is the total?", "$610.00", min_confidence=1)
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        ("How many notes can it hold?", "110,000 notes", "110,000"),
        ("Which time code is optional?", "SMPTE time code.", "SMPTE"),
        ("Which company signed?", "Acme Company", "Acme Company"),
        ("How many notes?", "notes", "notes"),
    ],
)
async def test_the_questions_own_noun_is_taken_off(question: str, text: str, answer: str) -> None:
    result = await answered(question, text, paragraph(text), min_confidence=0)
    assert said(result).removesuffix(" [e1]") == answer


@given(st.lists(st.floats(0, 1), min_size=len(NAMES), max_size=len(NAMES)))
def test_confidence_is_a_probability(values: list[float]) -> None:
    assert 0 < probability(Signals(**dict(zip(NAMES, values, strict=True)))) < 1
