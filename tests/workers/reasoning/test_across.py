"""Questions over several documents: compared by value, asked of the one that is meant, answered by a name."""

from __future__ import annotations

import pytest
from workers.reasoning.paper import page, recording
from workers.reasoning.test_pipeline import PDF, PNG, WAV, Given, ScriptedChildren, ask, pages, request

from triptych.core.errors import MediaCorrupt
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningSpec
from triptych.workers.reasoning.comparisons import comparison


def bill(number: str, total: str, date: str = "12 May 2023") -> OcrPage:
    return page((0.1, 0.1, f"Bill {number}"), (0.1, 0.13, "Total"), (0.5, 0.13, total), (0.1, 0.16, f"Date {date}"))


def reader(prompt: str) -> str:
    """Reads a bill as a good model does; of several it takes the first."""
    text, _, question = prompt.rpartition("Question: ")
    words = text.split()
    if "total" in question.lower():
        return next((word for word in words if word[0] == "$"), "not found")
    if "date" in question:
        return "12 May 2023" if "12 May 2023" in text else "2023-05-12"
    if "Which bill" in question:
        return words[words.index("Bill") + 1]
    return "not found"


def children(first: OcrPage, second: OcrPage | MediaCorrupt) -> ScriptedChildren:
    other: Given = second if isinstance(second, MediaCorrupt) else pages(second)
    return ScriptedChildren({PDF: pages(first), PNG: other}, reader)


def bills(question: str, **config: object) -> ReasoningSpec:
    spec = request(PDF, PNG, question=question, **config)
    for document, name in zip(spec.documents, ("may.pdf", "june.png"), strict=True):
        document.input.display_name = name
    return spec


async def test_a_sum_over_documents_is_computed_and_rests_on_a_value_of_each() -> None:
    result = await ask(
        bills("What is the sum of the totals of both bills?"), children(bill("A", "$14.50"), bill("B", "$1,203.39"))
    )
    assert result.answer.text == "$1217.89 [e1] [e2]"
    assert [(one.document_id, one.quote) for one in result.evidence] == [("d1", "$14.50"), ("d2", "$1,203.39")]
    assert result.answer.groundedness == 1
    assert result.usage.output_token_count == 6


@pytest.mark.parametrize(("second", "verdict"), [("$1203.39", "Yes"), ("$1,203.40", "No")])
async def test_the_same_amount_in_another_spelling_is_the_same(second: str, verdict: str) -> None:
    result = await ask(bills("Do both bills have the same total?"), children(bill("A", "$1,203.39"), bill("B", second)))
    assert result.answer.text == f"{verdict}: $1,203.39 [e1] and {second} [e2]"


async def test_the_same_day_in_another_spelling_is_the_same() -> None:
    documents = children(bill("A", "$1.00", "12 May 2023"), bill("B", "$1.00", "2023-05-12"))
    result = await ask(bills("Are the dates of both bills identical?"), documents)
    assert result.answer.text == "Yes: 12 May 2023 [e1] and 2023-05-12 [e2]"


async def test_the_greatest_is_picked_by_value_and_asked_for_the_rest() -> None:
    documents = children(bill("A", "$999.00"), bill("B", "$1,203.39"))
    result = await ask(bills("Which bill has the highest total?"), documents)
    assert result.answer.text == "june.png [e2]"
    assert {one.evidence_id: one.quote for one in result.evidence}["e2"] == "$1,203.39"


@pytest.mark.parametrize(
    ("first", "second"),
    # Another currency; no value; as large.
    [("$14.50", "€3.00"), ("$14.50", "nothing"), ("$14.50", "$14.50")],
)
async def test_what_cannot_be_compared_is_asked_of_all_documents_at_once(first: str, second: str) -> None:
    documents = children(bill("A", first), bill("B", second))
    result = await ask(bills("Which bill has the highest total?"), documents)
    prompt = documents.specs[-1].vision.messages[-1].parts[0].text
    assert "Bill A" in prompt
    assert "Bill B" in prompt
    assert result.answer.text == "$14.50 [e1]"
    # What was asked in vain was paid for too: each answer writes three tokens.
    assert result.usage.output_token_count == 9


async def test_nothing_is_summed_up_without_a_document_that_failed() -> None:
    documents = children(bill("A", "$14.50"), MediaCorrupt("torn"))
    result = await ask(bills("What is the sum of the totals of both bills?", allow_partial_documents=True), documents)
    assert [spec.HasField("vision") for spec in documents.specs].count(True) == 1
    assert result.answer.text == "$14.50 [e1]"


async def test_a_document_that_is_meant_by_its_name_is_asked_alone() -> None:
    documents = children(bill("A", "$14.50"), bill("B", "$3.00"))
    result = await ask(bills("What is the total in the June bill?"), documents)
    assert result.answer.text == "$3.00 [e1]"
    assert result.evidence[0].document_id == "d2"


async def test_an_answer_that_names_a_document_rests_on_its_line_with_the_question_s_words() -> None:
    talk = recording("It was a fine day.", "Then came the Guttenberg Bible.")
    documents = ScriptedChildren({PDF: pages(bill("A", "$1.00")), WAV: talk}, "talk.wav")
    spec = request(PDF, WAV, question="Which recording mentions the Gutenberg Bible?")
    spec.documents[1].input.display_name = "talk.wav"
    result = await ask(spec, documents)
    assert result.answer.text == "talk.wav [e1]"
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    (evidence,) = result.evidence
    assert (evidence.document_id, evidence.quote) == ("d2", "Then came the Guttenberg Bible.")
    assert evidence.audio.start_ms > 0


@pytest.mark.parametrize(
    "question",
    [
        "What is the total due?",
        "What is the total of all items on the receipt?",
        "Which product has the highest price?",
        "Is the address the same as before?",
        "Was ist die Summe der beiden Rechnungen?",
    ],
)
def test_questions_about_what_is_in_one_document_are_no_comparisons(question: str) -> None:
    assert comparison(question) is None


@pytest.mark.parametrize(
    ("question", "kind", "each", "rest"),
    [
        ("What is the total amount due across all invoices?", "sum", "What is the total amount due?", ""),
        ("What is the combined weight of these two certificates?", "sum", "What is the weight?", ""),
        ("Is the customer of both letters the same?", "same", "What is the customer?", ""),
        ("Who signed the contract with the latest date?", "most", "What is the date?", "Who signed the contract?"),
        ("Which receipt shows the lowest total?", "least", "What is the total?", ""),
    ],
)
def test_comparisons_are_taken_apart(question: str, kind: str, each: str, rest: str) -> None:
    found = comparison(question)
    assert found is not None
    assert (found.kind, found.each, found.rest) == (kind, each, rest)


async def test_a_document_that_shares_a_word_with_the_question_supports_nothing() -> None:
    documents = children(bill("A", "$14.50"), bill("B", "$3.00"))
    documents.says = "may.pdf"
    result = await ask(bills("Which scan shows a bill signed by hand in green ink?", min_confidence=0), documents)
    assert result.answer.text == "may.pdf"
    assert result.answer.groundedness == 0
    assert [one.document_id for one in result.evidence] == [""]
