"""Documents in documents: what becomes of each, and where evidence in them is said to stand."""

from __future__ import annotations

import pytest
from workers.converters.files import archive, message, png, sheet, slides, video, word
from workers.reasoning.paper import page, recording
from workers.reasoning.test_pipeline import ScriptedChildren, ask, pages, request

from triptych.core.document_types import DOCX_TYPE, MESSAGE_TYPE, PPTX_TYPE, XLSX_TYPE, ZIP_TYPE
from triptych.core.errors import FieldInvalid, MediaCorrupt, StageFailed
from triptych.core.media import checked_type
from triptych.v1.common_pb2 import InputSource, PageRange, TimeRange
from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningSpec, SourceDocument
from triptych.workers.converters import converter
from triptych.workers.converters.limits import ConversionLimits

PDF, WAV = b"%PDF-1.7\n", b"RIFF\0\0\0\0WAVE"
INVOICE = page((0.1, 0.1, "Invoice number"), (0.5, 0.1, "INV-100"))
TALK = recording("They began to print in the monastery of", "Subiaco, and then in Rome.")


class OpeningChildren(ScriptedChildren):
    """Opens documents as workers do; those of which no test says anything are blank pages."""

    limits = ConversionLimits()

    async def run(self, spec, *, stage, on_progress=None):
        source = spec.ocr.input.content if spec.HasField("ocr") else b""
        if source and source not in self.results:
            self.results[source] = pages(page(), page())
        return await super().run(spec, stage=stage, on_progress=on_progress)

    async def convert(self, unit, source, media_type, *, spent, depth):
        # Units that are set aside are told in one line, with blanks between.
        assert " " not in unit

        async def save(path):
            path.write_bytes(source.content)

        async def keep(data):
            return InputSource(content=data)

        return await converter.convert(save, keep, media_type, limits=self.limits, spent=spent, depth=depth)

    async def media_type(self, source):
        return checked_type(source.content, source.media_type, source.display_name)


def titles(result):
    return [(report.document_id, report.path, report.media_type) for report in result.documents]


async def test_an_office_file_answers_with_the_part_of_it() -> None:
    data = sheet([["Item", "Amount"], ["Rent", 1200], ["Water", 35], ["Power", 90]])
    result = await ask(request(data, question="What is the amount of the rent?"), OpeningChildren({}, "1200"))
    assert result.answer.text == "1200 [e1]"
    anchor = result.evidence[0].text
    assert anchor.part == "sheet 'Costs', B2"
    assert result.evidence[0].quote == "1200"
    assert (anchor.text_end - anchor.text_start) == 4
    assert titles(result) == [("d1", "", XLSX_TYPE)]
    assert [stage.stage for stage in result.stages] == ["ingest", "unpack", "retrieval", "answer", "verify"]


async def test_a_quote_over_several_parts_names_both_ends() -> None:
    data = word("The rent is due", "on the first of May")
    children = OpeningChildren({}, "rent is due on the first")
    result = await ask(request(data, question="When?"), children)
    assert result.evidence[0].text.part == "paragraph 1 to paragraph 2"


async def test_a_mixed_set_in_an_archive_is_one_set_of_documents() -> None:
    inner = archive([("talk.wav", WAV), ("plan.pptx", slides(("Plan", "Start in May", "")))])
    mail = message("See the scan.", attachments=[("scan.pdf", PDF, "application/pdf")])
    data = archive([("mail.eml", mail.as_bytes()), ("more/inner.zip", inner)])
    children = OpeningChildren({PDF: pages(INVOICE), WAV: TALK}, "INV-100")
    result = await ask(request(data), children)
    assert titles(result) == [
        ("d1", "", ZIP_TYPE),
        ("d1.1", "mail.eml", MESSAGE_TYPE),
        ("d1.1.1", "scan.pdf", "application/pdf"),
        ("d1.2", "more/inner.zip", ZIP_TYPE),
        ("d1.2.1", "talk.wav", "audio/wav"),
        ("d1.2.2", "plan.pptx", PPTX_TYPE),
    ]
    assert [report.parent_document_id for report in result.documents] == ["", "d1", "d1.1", "d1", "d1.2", "d1.2"]
    assert all(report.digest.startswith("sha256-") for report in result.documents)
    assert result.evidence[0].document_id == "d1.1.1"
    children.says = "Subiaco"
    heard = await ask(request(data, question="In which monastery?"), children)
    assert (heard.evidence[0].document_id, heard.evidence[0].HasField("audio")) == ("d1.2.1", True)
    children.says = "May"
    read = await ask(request(data, question="When does the plan start?"), children)
    assert (read.evidence[0].document_id, read.evidence[0].text.part) == ("d1.2.2", "slide 1")


async def test_pictures_of_an_office_file_are_recognized() -> None:
    image = png("INV-100")
    result = await ask(request(word("See below", images=[image])), OpeningChildren({image: pages(INVOICE)}, "INV-100"))
    assert result.evidence[0].document_id == "d1.1"
    assert result.evidence[0].page.page_number == 1


async def test_a_bad_attachment_costs_itself_alone_where_that_is_allowed() -> None:
    mail = message("Pay 7,000.", attachments=[("a.exe", b"MZ\x00", "application/x-msdownload"), ("b.pdf", PDF, "a/b")])
    children = OpeningChildren({PDF: MediaCorrupt("broken")}, "7,000")
    result = await ask(request(mail.as_bytes(), question="How much?", allow_partial_documents=True), children)
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    own, first, second = result.documents
    assert not own.HasField("error")
    assert "no document, image, audio or video" in first.error.message
    assert second.error.message == "broken"
    with pytest.raises(StageFailed, match=r"document 'd1.1' \('a.exe' in document 'd1'\) failed: ") as caught:
        await ask(request(mail.as_bytes(), question="How much?"), children)
    assert caught.value.metadata["document_id"] == "d1.1"


async def test_archives_in_archives_have_an_end_and_limits_hold_for_all_together() -> None:
    data = archive([("a.txt", b"hello")])
    for _ in range(3):
        data = archive([("inner.zip", data), ("b.txt", b"world")])
    children = OpeningChildren({}, "world")
    result = await ask(request(data, allow_partial_documents=True), children)
    assert [report.document_id for report in result.documents if report.HasField("error")] == ["d1.1.1.1"]
    assert "3 deep" in next(report.error.message for report in result.documents if report.HasField("error"))
    children.limits = ConversionLimits(max_member_count=3)
    with pytest.raises(StageFailed, match="holds 2 documents"):
        await ask(request(data), children)


async def test_an_id_that_the_caller_gave_is_not_given_twice() -> None:
    spec = request(archive([("a.txt", b"hello")]), PDF)
    spec.documents[1].document_id = "d1.1"
    result = await ask(spec, OpeningChildren({PDF: pages(INVOICE)}, "INV-100"))
    assert [report.document_id for report in result.documents] == ["d1", "d1.2", "d1.1"]


async def test_a_video_is_read_on_its_key_frames() -> None:
    data = video(["Agenda", "Costs 7,000"])
    children = OpeningChildren({}, "INV-100")
    blank, invoice = page(), page((0.1, 0.1, "Invoice number"), (0.5, 0.1, "INV-100"))
    blank.page_number, invoice.page_number = 1, 2

    async def run(spec, *, stage, on_progress=None):
        if spec.HasField("ocr"):
            children.results[spec.ocr.input.content] = pages(blank, invoice)
            assert [(each.first_page, each.last_page) for each in spec.ocr.pages] == [(1, 1), (2, 2)]
        return await OpeningChildren.run(children, spec, stage=stage, on_progress=on_progress)

    children.run = run  # type: ignore[method-assign]
    result = await ask(request(data), children)
    anchor = result.evidence[0].page
    assert anchor.page_number == 2
    assert 2500 <= anchor.frame_ms <= 3600
    assert result.documents[0].page_count == 2
    assert not any(spec.HasField("transcription") for spec in children.specs)


async def test_clips_of_a_video_hold_for_its_frames() -> None:
    children = OpeningChildren({}, "not found")
    spec = request(video(["Agenda", "Costs"]))
    spec.documents[0].clips.append(TimeRange(start_ms=2000))
    await ask(spec, children)
    (ocr,) = [spec.ocr for spec in children.specs if spec.HasField("ocr")]
    assert list(ocr.pages) == [PageRange(first_page=2, last_page=2)]


async def test_a_document_that_is_read_as_a_whole_has_no_pages_or_times() -> None:
    source = InputSource(content=word("Hello"))
    for part in ({"pages": [PageRange(first_page=1)]}, {"clips": [TimeRange(end_ms=5)]}):
        spec = ReasoningSpec(documents=[SourceDocument(input=source, **part)], question="?")
        with pytest.raises(FieldInvalid, match=DOCX_TYPE):
            await ask(spec, OpeningChildren({}))
