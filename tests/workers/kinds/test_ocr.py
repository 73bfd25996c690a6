"""OCR jobs from document to result, on the real engine and the real batcher."""

import functools

import pytest
from workers.broken_decoders import SLEEPS
from workers.documents import MISSING_PAGE, OneStation, encoded, ocr_attempt, ocr_engine, picture, scan, text_pdf

from triptych.core.errors import (
    FeatureDisabled,
    FieldInvalid,
    InputTooLarge,
    JobCancelled,
    MediaCorrupt,
    MediaEncrypted,
    MediaTypeMismatch,
    MediaTypeUnsupported,
    WorkerLost,
    from_status,
)
from triptych.v1.common_pb2 import PageRange
from triptych.v1.ocr_pb2 import (
    EMBEDDED_TEXT_POLICY_IGNORE,
    ORIENTATION_MODE_DETECT,
    ORIENTATION_MODE_OFF,
    ORIENTATION_MODE_UNSPECIFIED,
    TEXT_ORIGIN_EMBEDDED,
    TEXT_ORIGIN_RECOGNIZED,
    OcrConfig,
    OcrPage,
)
from triptych.workers import works
from triptych.workers.kinds import ocr
from triptych.workers.media.fork_server import ForkServer
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.media.pages import open_pages
from triptych.workers.recognition import reading

pytestmark = pytest.mark.weights
IGNORE = OcrConfig(embedded_text_policy=EMBEDDED_TEXT_POLICY_IGNORE)


@pytest.fixture
def stations(models_dir):
    with OneStation(ocr_engine(models_dir)) as stations:
        yield stations


def tiff(*pages):
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def test_a_pdfs_own_text_is_used_where_it_is_sane(stations):
    attempt, spec, backstage = ocr_attempt(text_pdf(["HELLO 12345", "second line"]))
    result = ocr.run(attempt, spec, stations)
    [page] = result.pages
    assert page.text == "HELLO 12345\nsecond line"
    assert (page.page_number, page.width_px, page.height_px, page.render_dpi) == (1, 1111, 556, 200)
    assert page.text_origin == TEXT_ORIGIN_EMBEDDED
    assert not page.lines[0].HasField("confidence")
    assert result.model.model == "pp-ocrv6-small"
    assert backstage.pages_told() == [1]
    stations.station.stop()
    assert stations.batch_sizes == []


def test_a_papers_columns_are_read_one_after_the_other(stations, data_dir):
    attempt, spec, _ = ocr_attempt(
        (data_dir / "pages" / "two_columns.pdf").read_bytes(), pages=[PageRange(first_page=1, last_page=1)]
    )
    [page] = ocr.run(attempt, spec, stations).pages
    sides = ["left" if line.polygon[2] < 0.53 else "right" for line in page.lines if 0.35 < line.polygon[1] < 0.8]
    assert sides == sorted(sides)
    assert set(sides) == {"left", "right"}


def test_the_same_text_is_recognized_when_its_own_is_to_be_ignored(stations):
    attempt, spec, _ = ocr_attempt(text_pdf(["HELLO 12345"]), config=IGNORE)
    [page] = ocr.run(attempt, spec, stations).pages
    assert (page.text, page.text_origin, page.render_dpi) == ("HELLO 12345", TEXT_ORIGIN_RECOGNIZED, 200)


def test_a_scanned_pdf_is_recognized_page_by_page(stations):
    attempt, spec, backstage = ocr_attempt(scan(*(picture(f"PAGE NUMBER {n}") for n in (1, 2, 3))))
    result = ocr.run(attempt, spec, stations)
    assert [page.text for page in result.pages] == ["PAGE NUMBER 1", "PAGE NUMBER 2", "PAGE NUMBER 3"]
    assert {page.text_origin for page in result.pages} == {TEXT_ORIGIN_RECOGNIZED}
    assert [page.page_number for page in result.pages] == [1, 2, 3]
    assert backstage.pages_told() == [1, 2, 3]
    last = [event.progress for event in backstage.events if event.HasField("progress")][-1]
    assert (last.stage, last.completed_unit_count, last.total_unit_count, last.percent) == ("ocr", 3, 3, 100)


def test_one_bad_page_carries_its_error_and_the_rest_stands(stations):
    attempt, spec, backstage = ocr_attempt(text_pdf(["FIRST PAGE"], MISSING_PAGE, ["THIRD PAGE"]), config=IGNORE)
    result = ocr.run(attempt, spec, stations)
    assert result.source_page_count == 3
    assert [page.text for page in result.pages] == ["FIRST PAGE", "", "THIRD PAGE"]
    assert isinstance(from_status(result.pages[1].error), MediaCorrupt)
    assert [page.HasField("error") for page in result.pages] == [False, True, False]
    assert sorted(backstage.saved) == ["page:1", "page:3"]
    assert backstage.pages_told() == [1, 2, 3]


def test_if_no_page_can_be_read_the_job_fails_with_the_pages_error(stations):
    attempt, spec, _ = ocr_attempt(text_pdf(MISSING_PAGE, MISSING_PAGE))
    with pytest.raises(MediaCorrupt):
        ocr.run(attempt, spec, stations)


def test_a_second_attempt_reads_only_what_the_first_did_not(stations):
    document = tiff(*(picture(f"PAGE NUMBER {n}") for n in (1, 2, 3)))
    attempt, spec, first = ocr_attempt(document)
    whole = ocr.run(attempt, spec, stations)
    parts = {key: first.saved[key] for key in ("page:1", "page:3")}
    with OneStation(stations.station.engine) as fresh:
        again, spec, second = ocr_attempt(document, number=2, parts=parts)
        result = ocr.run(again, spec, fresh)
    assert result == whole
    assert fresh.batch_sizes == [1]
    assert sorted(second.saved) == ["page:1", "page:2", "page:3"]
    # Watchers have dropped what the first attempt told.
    assert second.pages_told() == [1, 2, 3]
    assert OcrPage.FromString(second.saved["page:2"]) == whole.pages[1]


def test_after_a_stop_no_further_page_is_drawn_or_read(models_dir):
    with OneStation(ocr_engine(models_dir), max_items=1) as stations:
        attempt, spec, backstage = ocr_attempt(tiff(*(picture(f"PAGE NUMBER {n}") for n in range(30))))

        def stop_at_first_page(event):
            if event.HasField("ocr_page"):
                attempt.stop(JobCancelled("enough"))

        backstage.on_event = stop_at_first_page
        with pytest.raises(JobCancelled):
            ocr.run(attempt, spec, stations)
        assert backstage.pages_told() == [1]
    # The page that was with the engine at that moment may have been begun; what waited vanished.
    assert len(stations.batch_sizes) <= 2


def test_a_long_document_never_has_more_pages_ahead_than_allowed(stations, monkeypatch):
    monkeypatch.setattr(reading, "MAX_PAGES_AHEAD", 2)
    attempt, spec, _ = ocr_attempt(tiff(*(picture(f"PAGE NUMBER {n}") for n in range(1, 8))))
    result = ocr.run(attempt, spec, stations)
    assert [page.text for page in result.pages] == [f"PAGE NUMBER {n}" for n in range(1, 8)]
    stations.station.stop()
    assert max(stations.batch_sizes) <= 2
    assert sum(stations.batch_sizes) == 7


def test_only_the_pages_asked_for_are_read(stations):
    attempt, spec, _ = ocr_attempt(
        text_pdf(["one"], ["two"], ["three"], ["four"]),
        pages=[PageRange(first_page=4), PageRange(first_page=1, last_page=2)],
    )
    result = ocr.run(attempt, spec, stations)
    assert [(page.page_number, page.text) for page in result.pages] == [(1, "one"), (2, "two"), (4, "four")]
    assert result.source_page_count == 4


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (OcrConfig(render_dpi=50), FieldInvalid),
        (OcrConfig(min_confidence=1.5), FieldInvalid),
        (OcrConfig(enable_unwarping=True), FeatureDisabled),
    ],
)
def test_options_that_nobody_here_offers_are_refused(stations, config, error):
    attempt, spec, _ = ocr_attempt(text_pdf(["x"]), config=config)
    with pytest.raises(error):
        ocr.run(attempt, spec, stations)


def test_hostile_documents_fail_with_their_reason(stations, data_dir):
    cases = {
        b"": MediaCorrupt,
        b"plain text": MediaTypeUnsupported,
        b"<svg/>": MediaTypeUnsupported,
        b"RIFF\x00\x00\x00\x00WAVEfmt ": MediaTypeUnsupported,
        b"%PDF-1.4\ngarbage": MediaCorrupt,
        b"\x89PNG\r\n\x1a\n": MediaCorrupt,
        (data_dir / "pages" / "aes256_password.pdf").read_bytes(): MediaEncrypted,
        (data_dir / "pages" / "million_pages_claim.pdf").read_bytes(): InputTooLarge,
    }
    for data, error in cases.items():
        attempt, spec, _ = ocr_attempt(data)
        with pytest.raises(error):
            ocr.run(attempt, spec, stations)


def test_a_password_opens_a_document_and_is_no_part_of_what_is_shared(stations, data_dir):
    encrypted, keys = (data_dir / "pages" / "aes256_password.pdf").read_bytes(), set()
    for password in ("secret", "own"):
        attempt, spec, _ = ocr_attempt(encrypted)
        spec.input.password = password
        result = ocr.run(attempt, spec, stations)
        assert result.pages[0].text == "HELLO 12345"
        keys.add(works.reading(spec, result.model, dpi=200, max_page_pixels=1).key)
    assert len(keys) == 1


def test_a_page_on_its_head_is_read_upright_unless_it_is_to_be_read_as_shown(stations):
    keys = set()
    for mode, text, turn in (
        (ORIENTATION_MODE_UNSPECIFIED, "FIRST LINE\nSECOND LINE", 180),
        (ORIENTATION_MODE_DETECT, "FIRST LINE\nSECOND LINE", 180),
        (ORIENTATION_MODE_OFF, "SECOND LINE\nFIRST LINE", 0),
    ):
        data = encoded(picture("FIRST LINE", "SECOND LINE").rotate(180))
        attempt, spec, _ = ocr_attempt(data, config=OcrConfig(orientation_mode=mode))
        result = ocr.run(attempt, spec, stations)
        assert (result.pages[0].text, result.pages[0].applied_rotation_degrees) == (text, turn)
        keys.add(works.reading(spec, result.model, dpi=200, max_page_pixels=1).key)
    assert len(keys) == 2


def test_a_page_is_told_while_a_later_one_is_still_being_drawn(stations, monkeypatch):
    broken = ForkServer("workers.broken_decoders")
    monkeypatch.setattr(ocr, "open_pages", functools.partial(open_pages, fork_server=broken))
    pages = text_pdf(*([f"PAGE NUMBER {n}"] for n in range(1, SLEEPS + 1)))
    attempt, spec, backstage = ocr_attempt(pages, config=IGNORE)
    ends = PageLimits(max_page_cpu_s=60)

    def stop_at_first_page(event):
        # Page 3 is never drawn: what is told by then is told beside it.
        if event.HasField("ocr_page") and event.ocr_page.page_number == SLEEPS - 1:
            attempt.stop(JobCancelled("enough"))

    backstage.on_event = stop_at_first_page
    with pytest.raises(JobCancelled):
        ocr.run(attempt, spec, stations, ends)
    broken.stop()
    assert backstage.pages_told() == [1, 2]
    [first, second] = [event.ocr_page for event in backstage.events if event.HasField("ocr_page")]
    assert first.text == "PAGE NUMBER 1"
    assert isinstance(from_status(second.error), MediaCorrupt)


def test_a_type_stated_wrongly_is_refused(stations):
    attempt, spec, _ = ocr_attempt(encoded(picture("HELLO")))
    spec.input.media_type = "application/pdf"
    with pytest.raises(MediaTypeMismatch):
        ocr.run(attempt, spec, stations)


def test_a_page_tree_that_loops_gives_its_one_page(stations, data_dir):
    attempt, spec, _ = ocr_attempt((data_dir / "pages" / "kids_loop.pdf").read_bytes())
    result = ocr.run(attempt, spec, stations)
    assert result.pages[0].text == "HELLO 12345"
    assert [page.HasField("error") for page in result.pages] == [False, True]


def test_a_page_on_which_workers_died_is_read_last_and_alone_and_one_that_killed_too_many_is_set_aside(stations):
    document = tiff(*(picture(f"PAGE NUMBER {n}") for n in (1, 2, 3, 4)))
    attempt, spec, backstage = ocr_attempt(document, number=4)
    backstage.deaths = {"page:1": 1, "page:2": 3}
    result = ocr.run(attempt, spec, stations)
    assert list(backstage.saved) == ["page:3", "page:4", "page:1"]
    assert backstage.pages_told() == [1, 2, 3, 4]
    assert [page.text for page in result.pages] == ["PAGE NUMBER 1", "", "PAGE NUMBER 3", "PAGE NUMBER 4"]
    assert isinstance(from_status(result.pages[1].error), WorkerLost)
    assert (backstage.set_aside, backstage.begun) == (["page:2"], [])
    stations.station.stop()
    assert stations.batch_sizes[-1] == 1


def test_a_document_that_kills_its_workers_when_it_is_opened_fails_its_job(stations):
    attempt, spec, backstage = ocr_attempt(scan(picture("PAGE")), number=4)
    backstage.deaths = {"document": 3}
    with pytest.raises(WorkerLost, match="document"):
        ocr.run(attempt, spec, stations)
