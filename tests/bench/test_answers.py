"""The bench of answers can count: likeness, amounts, dates; what nobody can answer; evidence that lies elsewhere."""

import argparse
from pathlib import Path

import pytest
from accuracy_run import answer_scores, qa
from accuracy_run.answer_scores import Score
from accuracy_run.asked import Question, questions, swapped
from accuracy_run.manifest import Item, items
from accuracy_run.places import lies_there
from bench.conftest import DATA
from workers.reasoning.paper import page, quad, recording

from triptych.v1.common_pb2 import AudioAnchor, PageAnchor
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrResult
from triptych.v1.reasoning_pb2 import Answer, AnswerStatus, Evidence, QuoteMatch, ReasoningResult


def item(name="a", text="", asked=(), modality="document_image"):
    truth = {"text": text, "qa": [{"question": question, "answers": answers} for question, answers in asked]}
    return Item(id=name, path=Path(name), folder=Path(), modality=modality, language="en", truth=truth, alternatives=())


@pytest.mark.parametrize(
    ("said", "right", "kind", "figures"),
    [
        ("INV-100.", "inv 100", "", (1, 1, 1)),
        ("$610.00", "610.00", "", (1, 1, 1)),
        ("610", "610.00", "", (0, 0, 1)),
        ("Total: 610.00", "610.00", "", (0, 0, 1)),
        ("1610.00", "610.00", "", (1 - 1 / 7, 0, 0)),
        ("5 March 2020", "2020-03-05", "", (0, 0, 1)),
        ("Yes, it is", "yes", "boolean", (1, 1, 1)),
        ("Yes, it is", "yes", "", (0, 0, 1)),
        ("color", "colour", "", (1 - 1 / 6, 0, 0)),
        ("", "x", "", (0, 0, 0)),
    ],
)
def test_an_answer_is_exact_or_holds_a_right_one_or_is_alike(said, right, kind, figures):
    found = answer_scores.score(said, [right, "something else entirely"], kind)
    assert (found.anls, found.exact, found.lenient) == pytest.approx(figures)


def test_a_question_is_asked_of_a_file_that_is_silent_about_it():
    here = item("here", "IBAN NL58", [("What is the IBAN?", ["NL58"])])
    alike = item("alike", "...", [("What is the IBAN of the seller?", ["X"])])
    says = item("says", "our account: NL58", [("Who?", ["Me"])])
    named = item("named", "IBAN on request", [("Where?", ["There"])])
    silent = item("silent", "Dear all", [("When?", ["Then"])])
    pdf = item("pdf", "Dear all", [("When?", ["Then"])], modality="pdf")
    everything = [here, alike, says, named, pdf, silent]
    [found] = swapped(questions([here]), everything)
    assert (found.id, found.item.id, found.answers) == ("here#0@silent", "silent", ())
    assert swapped(questions([here]), everything[:-1]) == []


def placed(quote, number=1, box=(0.5, 0.1, 7)):
    anchor = PageAnchor(page_number=number, polygon=quad(*box))
    return Evidence(quote=quote, quote_match=QuoteMatch.QUOTE_MATCH_EXACT, page=anchor)


def test_a_quote_has_to_stand_in_the_truth_and_at_its_place():
    recognized = JobResult(ocr=OcrResult(pages=[page((0.1, 0.1, "Total due"), (0.5, 0.1, "$610.00"))]))
    true = "Total due $610.00"
    assert lies_there(placed("$610.00"), true, recognized)
    assert lies_there(placed("610.00", box=(0.51, 0.1, 6)), true, recognized)
    assert not lies_there(placed("$610.00", box=(0.1, 0.1, 9)), true, recognized)
    assert not lies_there(placed("$610.00", number=2), true, recognized)
    assert not lies_there(placed("$610.00", box=(0.1, 0.1, 60)), true, recognized)
    assert not lies_there(placed("$610.00"), "Total due $500.00", recognized)
    assert not lies_there(Evidence(quote="$610.00"), true, recognized)


def test_signs_that_look_alike_are_no_other_words():
    recognized = JobResult(ocr=OcrResult(pages=[page((0.5, 0.1, "165 Ib"))]))
    assert lies_there(placed("165 Ib", box=(0.5, 0.1, 6)), "WGT 165 lb", recognized)
    assert not lies_there(placed("165 Ib", box=(0.5, 0.1, 6)), "WGT 385 lb", recognized)


def test_a_tilted_place_does_not_hold_what_its_upright_bounds_hold():
    recognized = JobResult(ocr=OcrResult(pages=[page((0.1, 0.1, "here"), (0.3, 0.1, "other"))]))
    tilted = Evidence(
        quote="here", page=PageAnchor(page_number=1, polygon=[0.1, 0.09, 0.4, 0.29, 0.4, 0.32, 0.1, 0.12])
    )
    assert lies_there(tilted, "here other", recognized)


def test_a_quote_of_a_recording_has_to_be_heard_then():
    recognized = JobResult(transcription=recording("they met in Subiaco"))
    here = Evidence(quote="Subiaco", audio=AudioAnchor(start_ms=1500, end_ms=2000))
    before = Evidence(quote="Subiaco", audio=AudioAnchor(start_ms=500, end_ms=1000))
    assert lies_there(here, "They met in Subiaco.", recognized)
    assert not lies_there(before, "They met in Subiaco.", recognized)


def answered(said, figures=(0, 0, 0), modality="document_image", **fields):
    question = Question(id="a#0", item=item(modality=modality), text="?", answers=("x",), kind="key-field")
    anls, exact, lenient = figures
    return qa.Answered(question=question, said=said, score=Score(anls=anls, exact=exact, lenient=lenient), **fields)


def test_the_last_line_is_of_images_with_the_evidence_of_all():
    here, there = placed("here"), placed("there")
    found = [
        answered("x", (1, 1, 1), evidence=(here,), confidence=0.9),
        answered("y", (0.5, 0, 1), evidence=(here, there), misplaced=(there,), confidence=1.0),
        answered("z", modality="pdf", evidence=(here,), confidence=0.1),
    ]
    silent = [answered(""), answered("x"), answered("", failure="TIMED_OUT")]
    assert qa.last_line(found, silent) == "ANLS 0.750 exact 0.500 evidence 0.75 abstained 0.33"
    assert "| pdf, key-field | 1 | 0.000 | 0.000 | 0.000 | 0 | 1 of 1 |" in qa.table(found).splitlines()
    assert "| 0.8 to 1.0 | 2 | 0.95 | 1.00 |" in qa.reliability(found).splitlines()
    assert qa.last_line([], []) == "ANLS nan exact nan evidence nan abstained nan"


def test_bounds_of_answers_hold_for_the_figures_as_printed():
    parser = argparse.ArgumentParser()
    qa.add_arguments(parser)
    given = parser.parse_args(["--min-anls", "0.7", "--min-evidence", "0.95"])
    figures = {"ANLS": 0.6996, "exact": 0.0, "evidence": 0.946, "abstained": 0.0, "key_fields": 0.0}
    assert not qa.broken(figures, given)
    assert qa.broken(figures | {"ANLS": 0.6994}, given)
    assert qa.broken(figures | {"evidence": float("nan")}, given)


def test_an_answer_is_read_without_its_citations():
    given = ReasoningResult(answer=Answer(status=AnswerStatus.ANSWER_STATUS_ANSWERED, text="A [e1] and B [e2]."))
    given.evidence.add(evidence_id="e1")
    given.evidence.add(evidence_id="e2")
    assert qa.words(given) == "A and B."
    given.answer.status = AnswerStatus.ANSWER_STATUS_NOT_FOUND
    assert qa.words(given) == ""


def test_another_scorer_gives_the_same_figures_of_answers(score):
    asked = questions(items(DATA / "public" / "manifest.json", "document_image", "pdf", "speech"))
    said = [one.answers[0] for one in asked]
    for one, other in zip(asked, [*said[1:], *said[:1]], strict=True):
        for text in (*one.answers, f"The answer is {one.answers[-1]}.", f"$ {said[0]}", other, said[0][2:], "Yes", ""):
            ours = answer_scores.score(text, one.answers, one.kind)
            theirs = score.qa_item(text, one.answers, one.kind)
            assert (ours.anls, ours.exact, ours.lenient) == (theirs["anls"], theirs["em"], theirs["lenient"])
