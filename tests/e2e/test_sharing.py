"""What came before costs nothing, until it is purged; with real processes and real weights."""

import json

import pytest
from e2e.papers import scanned_pdf

from triptych.client import specs
from triptych.v1.job_pb2 import JobState

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]
PAPER = scanned_pdf([("Quarterly report", "Revenue 58313 EUR"), ("Page two", "Costs 815 EUR")])


def run(client, spec):
    job = client.wait_job(client.submit(spec).name, timeout_s=240)
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    return job


def test_the_same_question_is_answered_from_what_is_known_until_the_document_is_purged(stack, client, tmp_path):
    spec = specs.reasoning("What is the revenue?", client.sources([PAPER]))
    first, again = run(client, spec), run(client, spec)
    assert again.result.reasoning.answer == first.result.reasoning.answer
    assert "58313" in first.result.reasoning.answer.text
    computed, known = (
        {stage.stage: stage.cached for stage in job.result.reasoning.stages if stage.job} for job in (first, again)
    )
    assert computed == {"ocr": False, "answer": False}
    assert known == {"ocr": True, "answer": True}
    path = tmp_path / "report.pdf"
    path.write_bytes(PAPER)
    done = stack.run("purge", "--document", path, "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    # Two questions, each with a reading and a generation; two pages and a generated turn.
    assert (told["job_count"], told["unit_count"], told["remaining_count"]) == ("6", "3", "0")
    assert not [
        path for path in (stack.state_dir / "blobs").rglob("*") if path.is_file() and b"58313" in path.read_bytes()
    ]
    assert not run(client, specs.ocr(client.sources([PAPER])[0])).cached
