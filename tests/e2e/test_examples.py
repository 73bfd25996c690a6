"""The examples that people copy from do what they say."""

from pathlib import Path

import pytest
from e2e.papers import png

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(300)]

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(stack, name, *arguments, folder=None):
    done = stack.python(EXAMPLES / name, *arguments, TRIPTYCH_TARGET=stack.record["target"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ask_prints_the_answer_and_its_place(stack, tmp_path):
    (tmp_path / "note.png").write_bytes(png("Invoice number 4711", "Total due 12.50 EUR"))
    said = run(stack, "ask.py", tmp_path / "note.png", "What is the invoice number?")
    assert "4711" in said
    assert "polygon" in said


def test_report_shows_a_page_and_plays_a_recording(stack, data_dir, tmp_path):
    (tmp_path / "note.png").write_bytes(png("Invoice number 4711", "Total due 12.50 EUR"))
    speech = data_dir / "audio" / "en-kennedy.opus"
    asked = (
        ("What is the invoice number?", "note.png, page 1"),
        ("What can you do for your country?", "place-1.ogg#t="),
    )
    for question, shown in asked:
        said = run(stack, "report.py", tmp_path / "note.png", speech, question, folder=tmp_path)
        assert said.splitlines()[-1] == "answer-report/index.html"
        assert shown in (tmp_path / "answer-report" / "index.html").read_text("utf-8")


def test_intake_reads_a_folder_and_a_second_run_joins_its_jobs(stack, client, tmp_path):
    (tmp_path / "a.png").write_bytes(png("first page"))
    (tmp_path / "b.txt").write_text("not a document")
    first = run(stack, "intake.py", tmp_path)
    assert "a.png: 1 pages, 10 characters" in first
    assert "b.txt: refused" in first
    jobs = len(client.list_jobs(limit=500))
    assert run(stack, "intake.py", tmp_path) == first
    assert len(client.list_jobs(limit=500)) == jobs


def test_watch_prints_sentences_with_their_seconds(stack, data_dir):
    said = run(stack, "watch.py", data_dir / "audio" / "en-kennedy.opus")
    assert "country" in said
