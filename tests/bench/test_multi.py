"""Questions over several files: how their manifest is read, and what is made of the answers."""

import json
from pathlib import Path

import pytest
from accuracy_run import multi
from accuracy_run.answer_scores import Score, score

ROWS = [
    {"id": "m0", "files": ["a.png", "b/c.pdf"], "question": "Same total?", "answers": ["yes"], "kind": "boolean"},
    {"id": "m1", "files": ["a.png"], "question": "What total?", "answers": [12.5, "$12.50"]},
]


def answered(question: multi.Question, said: str, failure: str = "") -> multi.Answered:
    found = Score(anls=0, exact=0, lenient=0) if failure else score(said, question.answers, question.kind)
    return multi.Answered(question=question, said=said, score=found, failure=failure)


@pytest.fixture
def asked(tmp_path: Path) -> list[multi.Question]:
    manifest = tmp_path / "questions.jsonl"
    manifest.write_text("\n\n".join(map(json.dumps, ROWS)) + "\n", "utf-8")
    return multi.questions(manifest)


def test_files_stand_beside_the_manifest_and_answers_are_texts(asked: list[multi.Question], tmp_path: Path) -> None:
    assert asked[0].files == (tmp_path / "a.png", tmp_path / "b" / "c.pdf")
    assert (asked[0].kind, asked[1].kind) == ("boolean", "")
    assert asked[1].answers == ("12.5", "$12.50")


def test_a_verdict_with_its_reasons_is_exact_and_a_failed_job_is_not(asked: list[multi.Question]) -> None:
    found = [answered(asked[0], "Yes: $1.00 and $1.00"), answered(asked[1], "", "QUEUE_FULL: later")]
    assert multi.last_line(found) == "ANLS 0.500 exact 0.500 questions 2"
    assert multi.table(found).splitlines()[2:] == [
        "| boolean | 1 | 1.000 | 1.000 | 1.000 | 0 |",
        "| other | 1 | 0.000 | 0.000 | 0.000 | 1 |",
    ]
    assert "QUEUE_FULL: later" in found[1].line()
