"""A question over real documents comes back with an answer, and with the place where it stands."""

import json

import pytest

from triptych.v1.reasoning_pb2 import AnswerStatus, QuoteMatch

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def demo():
    from importlib.resources import as_file, files

    with as_file(files("triptych.cli") / "demo_data") as folder:
        yield folder


def test_a_scanned_invoice_answers_with_a_box_on_its_page(client, demo):
    result = client.answer("What is the total amount due?", [demo / "invoice_scan.pdf"])
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    assert "610.00" in result.answer.text
    evidence = result.evidence[0]
    assert evidence.quote_match == QuoteMatch.QUOTE_MATCH_EXACT
    assert "610.00" in evidence.quote
    assert evidence.page.page_number == 1
    assert len(evidence.page.polygon) == 8
    assert all(0 <= value <= 1 for value in evidence.page.polygon)
    assert {stage.stage for stage in result.stages} >= {"ocr", "answer"}
    assert all(stage.model.revision for stage in result.stages if stage.job)


def test_a_voice_memo_answers_with_its_milliseconds(client, demo):
    result = client.answer("Who took impressions from wood blocks?", [demo / "voice_memo.ogg"])
    assert "chinese" in result.answer.text.lower()
    evidence = result.evidence[0]
    assert "chinese" in evidence.quote.lower()
    # The words "the Chinese" are spoken 12 seconds in.
    assert 11_000 < evidence.audio.start_ms < evidence.audio.end_ms < 14_500


def test_what_is_shown_as_evidence_does_stand_in_the_document(client, demo):
    text = client.recognize(demo / "invoice_scan.pdf").pages[0].text
    # The first is answered by the page, the second is not: whatever a small model then says, nothing is made up for it.
    for question in ("What is the customer's id?", "What is the name of the ship's captain?"):
        result = client.answer(question, [demo / "invoice_scan.pdf"])
        for evidence in result.evidence:
            span = text[evidence.page.text_start : evidence.page.text_end]
            if evidence.quote_match == QuoteMatch.QUOTE_MATCH_EXACT:
                assert " ".join(evidence.quote.split()) in " ".join(span.split())
            else:
                assert evidence.quote_match == QuoteMatch.QUOTE_MATCH_NONE
                assert not evidence.page.polygon
                assert result.answer.groundedness < 1


def test_the_command_line_answers_in_json(stack, demo):
    done = stack.run("ask", "What is the invoice number?", str(demo / "invoice_scan.pdf"), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "INV-100" in json.dumps(said)


def test_the_command_line_transcribes_and_reads(stack, demo):
    heard = stack.run("transcribe", str(demo / "voice_memo.ogg"))
    assert "woodcutters of the Netherlands" in " ".join(heard.stdout.split()).replace("wood cutters", "woodcutters")
    read = stack.run("ocr", str(demo / "invoice_scan.pdf"))
    assert "CONTOSO" in read.stdout
