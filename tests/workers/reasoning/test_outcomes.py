"""Summaries, kinds of documents and minutes: what the model says of them, found again or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workers.reasoning.paper import page, paragraph, recording
from workers.reasoning.test_pipeline import INVOICE, PDF, PNG, WAV, Log, ScriptedChildren, ask, pages

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import InputSource
from triptych.v1.reasoning_pb2 import (
    AnswerStatus,
    DocumentReport,
    Evidence,
    QuoteMatch,
    ReasoningConfig,
    ReasoningSpec,
    SourceDocument,
)
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.reasoning.classification import classify
from triptych.workers.reasoning.ingest import Gathered
from triptych.workers.reasoning.minutes import spoken_parts
from triptych.workers.reasoning.pipeline import held
from triptych.workers.reasoning.readings import read_page, read_recording
from triptych.workers.reasoning.retrieval import passages
from triptych.workers.reasoning.run import Outcome, Run
from triptych.workers.reasoning.summary import joined, lines_of, packed
from triptych.workers.reasoning.timeline import Timeline

NONE = QuoteMatch.QUOTE_MATCH_NONE
FOUND, PARTIAL, NOT_FOUND = (
    AnswerStatus.ANSWER_STATUS_ANSWERED,
    AnswerStatus.ANSWER_STATUS_PARTIAL,
    AnswerStatus.ANSWER_STATUS_NOT_FOUND,
)
MEETING = recording(
    "Good morning, let us begin with the budget of next year.",
    "We agreed to spend half of it on the new roof.",
    "Anna will send the offers to everybody.",
    "Then there was coffee and a long talk about the weather.",
)


def wanting(pipeline: str, *contents: bytes, question: str = "", **config: object) -> ReasoningSpec:
    documents = [SourceDocument(input=InputSource(content=content)) for content in contents]
    return ReasoningSpec(documents=documents, question=question, pipeline=pipeline, config=ReasoningConfig(**config))  # type: ignore[arg-type]


def own(folder: Path, text: str) -> Pipelines:
    """Gives pipelines with one more, "own"."""
    (folder / "own.yaml").write_text(f"description: Our own.\n{text}")
    return Pipelines(folder, Catalog.load(Settings(_env_file=None)))


async def test_every_sentence_of_a_summary_is_found_again_or_lowers_its_groundedness() -> None:
    says = "- We agreed to spend half of it on the new roof.\n- The roof is made of solid gold and shines."
    children = ScriptedChildren({WAV: MEETING}, says)
    result = await ask(wanting("summarize", WAV), children)
    assert result.answer.text == (
        "We agreed to spend half of it on the new roof. [e1]\nThe roof is made of solid gold and shines."
    )
    assert result.answer.groundedness == 0.5
    found, made_up = result.evidence
    assert (found.audio.start_ms, found.audio.segment_index) == (5500, 1)
    assert (made_up.quote_match, made_up.document_id) == (NONE, "")
    assert (result.pipeline.name, result.usage.output_token_count) == ("summarize", 3)
    system, _ = (message.parts[0].text for message in children.specs[-1].vision.messages)
    assert "at most 5, one a line" in system


async def test_a_long_document_is_summarized_in_parts_and_these_again() -> None:
    sheets = [
        paragraph(*[f"Point {n}.{i} was put off to the next meeting of the committee" for i in range(20)], number=n)
        for n in range(1, 13)
    ]
    prompts: list[str] = []

    def says(prompt: str) -> str:
        prompts.append(prompt)
        lines = [line for line in prompt.splitlines() if line.startswith("Point")]
        return "\n".join(lines[:7])

    children = ScriptedChildren({PDF: pages(*sheets)}, says)
    result = await ask(wanting("summarize", PDF), children)
    systems = [spec.vision.messages[0].parts[0].text for spec in children.specs if spec.HasField("vision")]
    combined = sum("copied from the parts" in system for system in systems)
    assert len(prompts) - combined >= 3
    assert combined >= 1
    assert all(len(prompt) < 6000 for prompt in prompts)
    assert result.answer.text.count("[e") == 5
    assert result.answer.groundedness == 1
    assert result.usage.output_token_count == 3 * len(prompts)


@pytest.mark.parametrize("telling", [0, 1])
async def test_parts_that_say_nothing_are_not_asked_again(telling: int) -> None:
    sheets = [paragraph(*[f"Point {n}.{i} was put off to June" for i in range(40)], number=n) for n in range(1, 9)]
    prompts: list[str] = []

    def says(prompt: str) -> str:
        prompts.append(prompt)
        return "Point 1.7 was put off to June" if telling and "Point 1.7 " in prompt else "none"

    result = await ask(wanting("summarize", PDF), ScriptedChildren({PDF: pages(*sheets)}, says))
    assert len(prompts) >= 3
    assert all("Point 1.1 " in prompt or "Point 1.7 " not in prompt for prompt in prompts)
    assert all("Point" in prompt for prompt in prompts)
    assert result.answer.status == (FOUND if telling else NOT_FOUND)


async def test_documents_without_words_have_no_summary() -> None:
    children = ScriptedChildren({PNG: pages(page())})
    result = await ask(wanting("summarize", PNG), children)
    assert result.answer.status == NOT_FOUND
    assert not any(spec.HasField("vision") for spec in children.specs)


async def test_a_summary_for_a_question_is_of_what_matters_to_it(tmp_path: Path) -> None:
    plan = "question: required\nstages: [read, retrieve, {summarize: {prompt_tokens: 200}}, verify]\n"
    sheets = [paragraph(*[f"Point {n}.{i} was put off" for i in range(20)], number=n) for n in range(1, 9)]
    sheets[4] = paragraph("The warranty of the pump ends after eighteen months", number=5)
    children = ScriptedChildren({PDF: pages(*sheets)}, "The warranty of the pump ends after eighteen months")
    spec = wanting("own", PDF, question="When does the warranty of the pump end?")
    result = await ask(spec, children, own(tmp_path, plan))
    assert result.evidence[0].page.page_number == 5
    (asked,) = (spec for spec in children.specs if spec.HasField("vision"))
    assert asked.vision.messages[1].parts[0].text.endswith("Question: When does the warranty of the pump end?")


def test_a_line_that_was_cut_is_left_out() -> None:
    cut = FinishReason.FINISH_REASON_LENGTH
    assert lines_of(VisionResult(text="1. One | two.\n1. One | two.\nnone\nThr", finish_reason=cut)) == ["One two."]
    assert lines_of(VisionResult(text="Thr", finish_reason=cut)) == ["Thr"]


def test_parts_fill_prompts_and_become_fewer() -> None:
    found = passages([read_page("d1", paragraph(*["word " * 30] * 40))])
    parts = packed(found, 300)
    assert [passage for part in parts for passage in part] == found
    assert all(sum(passage.tokens for passage in part) <= 300 for part in parts)
    assert joined([["a"], ["b"], ["c"]], 1) == ["a\nb", "c"]
    assert joined([["a"], ["b"], ["c"]], 100) == ["a\nb\nc"]


async def test_each_document_is_of_one_kind_with_the_words_that_say_so() -> None:
    children = ScriptedChildren(
        {PNG: pages(INVOICE), WAV: MEETING}, lambda prompt: "recording" if "recording" in prompt else "invoice"
    )
    result = await ask(wanting("classify", PNG, WAV), children)
    assert json.loads(result.answer.output_json) == {"d1": "invoice", "d2": "recording"}
    assert result.answer.text.splitlines()[0] == "d1: invoice [e1]"
    evidence = result.evidence[0]
    assert (evidence.quote, evidence.json_pointer, evidence.page.page_number) == ("Invoice number", "/d1", 1)
    assert [value.json_pointer for value in result.values] == ["/d1", "/d2"]
    asked = [spec.vision for spec in children.specs if spec.HasField("vision")]
    assert all(set(spec.config.output_choices) >= {"invoice", "receipt", "other"} for spec in asked)
    assert "invoice: an invoice or bill" in asked[0].messages[0].parts[0].text


async def test_a_kind_that_no_words_speak_for_has_no_evidence() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "contract")
    result = await ask(wanting("classify", PNG), children)
    assert result.answer.text == "contract"
    assert (result.answer.status, result.answer.groundedness, list(result.evidence)) == (FOUND, 0, [])


async def test_what_only_holds_other_documents_is_of_no_kind_and_missed_by_nobody() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "invoice")
    run = Run(
        request=wanting("classify", PNG),
        plan=Pipelines.load(Settings(_env_file=None)).get("classify"),
        children=children,
        timeline=Timeline(Log(), total=1),
    )
    archive, member = DocumentReport(document_id="d1"), DocumentReport(document_id="d1/a.png", parent_document_id="d1")
    run.gathered = [
        Gathered(document=SourceDocument(), report=archive),
        Gathered(document=SourceDocument(), report=member, readings=[read_page("d1/a.png", INVOICE)]),
    ]
    outcome = await classify(run)
    assert (outcome.status, outcome.output_json) == (FOUND, '{"d1/a.png": "invoice"}')
    assert [value.json_pointer for value in outcome.values] == ["/d1~1a.png"]


async def test_a_document_without_words_is_of_no_kind() -> None:
    children = ScriptedChildren({PNG: pages(page()), PDF: pages(INVOICE)}, "invoice")
    result = await ask(wanting("classify", PNG, PDF), children)
    assert (result.answer.status, result.answer.output_json) == (PARTIAL, '{"d2": "invoice"}')
    assert (await ask(wanting("classify", PNG), children)).answer.status == NOT_FOUND


async def test_minutes_have_the_second_of_each_line_and_only_lines_of_their_section() -> None:
    asked: list[str] = []

    def says(prompt: str) -> str:
        asked.append(prompt)
        return "\n".join(prompt.splitlines()[:2])

    children = ScriptedChildren({WAV: MEETING}, says)
    result = await ask(wanting("transcript-minutes", WAV), children)
    assert result.answer.text == (
        "Topics\n"
        "- 00:00 Good morning, let us begin with the budget of next year. [e1]\n"
        "- 00:05 We agreed to spend half of it on the new roof. [e2]\n\n"
        "Decisions\n"
        "- 00:05 We agreed to spend half of it on the new roof. [e3]\n\n"
        "Actions\n"
        "- 00:11 Anna will send the offers to everybody. [e4]"
    )
    assert [evidence.evidence_id for evidence in result.evidence] == ["e1", "e2", "e3", "e4"]
    assert result.answer.groundedness == 1
    # What does not speak of a decision is not even shown.
    assert min(asked, key=len) == "Anna will send the offers to everybody."


async def test_minutes_tell_what_stands_nowhere_without_a_second() -> None:
    children = ScriptedChildren({WAV: MEETING}, "We agreed to buy a boat.")
    result = await ask(wanting("transcript-minutes", WAV), children)
    assert "Decisions\n- We agreed to buy a boat.\n\nActions\n- none" in result.answer.text
    assert result.answer.groundedness == 0
    assert {evidence.quote_match for evidence in result.evidence} == {NONE}


async def test_minutes_name_the_speaker() -> None:
    talk = recording("We agreed to paint it green.", "Anna will buy the paint tomorrow.")
    talk.segments[0].speaker, talk.segments[1].speaker = "S1", "S2"
    assert spoken_parts(read_recording("d1", talk), 100) == [
        "S1: We agreed to paint it green.\nS2: Anna will buy the paint tomorrow."
    ]
    children = ScriptedChildren({WAV: talk}, lambda prompt: prompt)
    result = await ask(wanting("transcript-minutes", WAV), children)
    assert "- 00:03 S2: Anna will buy the paint tomorrow. [" in result.answer.text
    assert result.answer.groundedness == 1


async def test_minutes_of_a_page_are_refused() -> None:
    with pytest.raises(FieldInvalid, match="'transcript-minutes' needs a recording"):
        await ask(wanting("transcript-minutes", PNG), ScriptedChildren({PNG: pages(INVOICE)}))


async def test_what_is_hardly_grounded_is_not_told(tmp_path: Path) -> None:
    plan = "question: required\nstages: [read, retrieve, answer, {verify: {min_groundedness: 0.5}}]\n"
    pipelines = own(tmp_path, plan)
    spec = wanting("own", PNG, question="Who is the captain?")
    made_up = await ask(spec, ScriptedChildren({PNG: pages(INVOICE)}, "Ahab"), pipelines)
    assert (made_up.answer.status, list(made_up.evidence)) == (NOT_FOUND, [])
    assert made_up.usage.output_token_count == 3
    spec = wanting("own", PNG, question="What is the invoice number?")
    assert (await ask(spec, ScriptedChildren({PNG: pages(INVOICE)}, "INV-100"), pipelines)).answer.status == FOUND


async def test_values_that_are_held_back_are_said_to_be_not_found(tmp_path: Path) -> None:
    plan = "question: optional\nstages: [read, retrieve, extract, {verify: {min_groundedness: 0.9}}]\n"
    spec = wanting("own", PNG)
    spec.output_json_schema = json.dumps(
        {"type": "object", "properties": {"invoice_number": {"type": "string"}, "paid": {"type": "boolean"}}}
    )
    result = await ask(spec, ScriptedChildren({PNG: pages(INVOICE)}, "yes"), own(tmp_path, plan))
    assert (result.answer.status, result.answer.output_json, list(result.evidence)) == (NOT_FOUND, "", [])
    assert [(value.json_pointer, value.status) for value in result.values] == [
        ("/invoice_number", NOT_FOUND),
        ("/paid", NOT_FOUND),
    ]
    assert not any(value.raw or value.evidence_ids or value.HasField("confidence") for value in result.values)


def test_an_answer_of_which_nobody_knows_how_sure_it_is_stays() -> None:
    unknown = Outcome(status=FOUND, text="x")
    assert held(unknown, min_confidence=1, min_groundedness=0) is unknown
    unsure = Outcome(status=FOUND, text="x", confidence=0.2, evidence=[Evidence(evidence_id="e1")])
    assert held(unsure, min_confidence=0.5, min_groundedness=0).status == NOT_FOUND
