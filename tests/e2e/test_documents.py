"""A question over what is in an archive, an office file or a video comes back with its place in there."""

import json
from pathlib import Path

import pytest
from e2e.papers import scanned_pdf
from workers.converters.files import archive, message, sheet, video, word

from triptych.core.errors import StageFailed
from triptych.v1.reasoning_pb2 import AnswerStatus

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]

CLIP = Path(__file__).parents[1] / "data" / "audio" / "en-kennedy.opus"


def evidence_of(client, question, file):
    result = client.answer(question, [file])
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    return result.evidence[0], {report.document_id: report.path for report in result.documents}


def test_a_mixed_archive_answers_from_each_of_its_documents(client, stack, tmp_path):
    file = tmp_path / "case.zip"
    mail = message(
        "The parcel number is 8841.",
        attachments=[("scan.pdf", scanned_pdf([("Invoice number INV-2207",)]), "application/pdf")],
    )
    file.write_bytes(
        archive([
            ("contract.docx", word("Lease of a house", "The monthly rent is 1,250 euros.")),
            ("mail/offer.eml", mail.as_bytes()),
            ("talk.opus", CLIP.read_bytes()),
        ])
    )  # fmt: skip
    evidence, paths = evidence_of(client, "What is the monthly rent?", file)
    assert (paths[evidence.document_id], evidence.text.part) == ("contract.docx", "paragraph 2")
    assert "1,250" in evidence.quote
    evidence, paths = evidence_of(client, "What is the invoice number?", file)
    assert (paths[evidence.document_id], evidence.page.page_number) == ("scan.pdf", 1)
    assert len(evidence.page.polygon) == 8
    done = stack.run("ask", "What is the parcel number?", str(file))
    assert "8841" in done.stdout
    assert "case.zip: mail/offer.eml  body" in done.stdout
    heard = stack.run("ask", "What can you do for your country?", str(file), "--json")
    found = [each for each in json.loads(heard.stdout)["evidence"] if each.get("document_id") == "d1.3"]
    assert found
    assert found[0]["audio"]["end_ms"]


def test_a_video_answers_from_what_it_shows_and_from_what_is_said(client, tmp_path):
    file = tmp_path / "meeting.mp4"
    file.write_bytes(video(["Agenda of today", "Budget: 7,000 euros"], sound=CLIP, size=(960, 540)))
    evidence, _ = evidence_of(client, "What is the budget?", file)
    assert "7,000" in evidence.quote
    assert evidence.page.page_number == 2
    assert 2500 <= evidence.page.frame_ms <= 3600


def test_a_bad_member_fails_the_job_by_its_name(client, tmp_path):
    file = tmp_path / "case.zip"
    file.write_bytes(archive([("a.xlsx", sheet([["Rent", 7]])), ("b.exe", b"MZ\x00\x01")]))
    with pytest.raises(StageFailed, match=r"'b\.exe' in document 'd1'"):
        client.answer("How much is the rent?", [file])
