"""The OCR engine on its real weights."""

import threading

import numpy as np
import pytest
from workers.documents import OneStation, ocr_engine, picture

from triptych.core.catalog import Catalog
from triptych.core.errors import JobCancelled, LanguageUnsupported
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_RECOGNIZED
from triptych.workers.engines import registry
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_crops import (
    MAX_PADDING,
    MAX_WIDTH_PX,
    MIN_WIDTH_PX,
    chunks_of_equal_width,
    line_crop,
)
from triptych.workers.engines.paddle_detection import MAX_PIXELS
from triptych.workers.engines.paddle_ocr import PaddleOcrEngine, PageImage
from triptych.workers.media.images import decode_image

PHOTOTEST = """\
This is a lot of 12 point text to test the
ocr code and see if it works on all types
of file format.
The quick brown dog jumped over the
lazy fox. The quick brown dog jumped
over the lazy fox. The quick brown dog
jumped over the lazy fox. The quick
brown dog jumped over the lazy fox."""


@pytest.fixture
def engine(models_dir):
    return ocr_engine(models_dir)


def stored(data_dir, name, **options):
    data = (data_dir / "pages" / name).read_bytes()
    return PageImage(pixels=decode_image(data, max_page_pixels=100_000_000), **options)


def drawn(*lines, **options):
    return PageImage(pixels=np.asarray(picture(*lines)), **options)


@pytest.mark.weights
def test_clean_print_is_read_letter_by_letter(engine, data_dir):
    [page] = engine.run_batch([stored(data_dir, "phototest.tif")])
    assert page.text == PHOTOTEST
    assert (page.width_px, page.height_px, page.text_origin) == (640, 480, TEXT_ORIGIN_RECOGNIZED)
    assert [page.text[line.text_start : line.text_end] for line in page.lines] == PHOTOTEST.split("\n")
    assert all(0.9 < line.confidence <= 1 for line in page.lines)
    assert not any(line.words for line in page.lines)


@pytest.mark.weights
def test_a_receipt_keeps_label_and_value_together(engine, data_dir):
    [page] = engine.run_batch([stored(data_dir, "oyo_receipt.png")])
    lines = page.text.split("\n")
    assert lines.index("31/12/2017") == lines.index("OYO 4189 Resort Nanganallur,") + 1
    assert lines[lines.index("Grand Total") + 1] == "Rs 1939"


@pytest.mark.weights
def test_pages_of_different_jobs_give_the_same_text_together_as_alone(engine, data_dir):
    pages = [
        stored(data_dir, "phototest.tif"),
        stored(data_dir, "oyo_receipt.png", words=True),
        drawn("HELLO 12345", "Zürich 1.234,50"),
        drawn(),
        PageImage(pixels=np.zeros((1, 1, 3), np.uint8)),
        PageImage(pixels=np.full((5, 3000, 3), 255, np.uint8)),
    ]
    alone = [engine.run_batch([page])[0] for page in pages]
    together = engine.run_batch(pages)
    assert [page.text for page in together] == [page.text for page in alone]
    assert [[list(line.polygon) for line in page.lines] for page in together] == [
        [list(line.polygon) for line in page.lines] for page in alone
    ]
    assert [len(page.lines) for page in alone[3:]] == [0, 0, 0]


@pytest.mark.weights
def test_two_jobs_share_a_batch(engine):
    stations = OneStation(engine)
    submitted = [stations.station.submit(drawn(f"JOB NUMBER {n}"), lane=1, deadline=None) for n in (1, 2)]
    with stations:
        done = [future.result(timeout=60) for future in submitted]
    assert [one.value.text for one in done] == ["JOB NUMBER 1", "JOB NUMBER 2"]
    assert [one.batch_size for one in done] == [2, 2]


@pytest.mark.weights
def test_words_lie_inside_their_line_and_in_order(engine, data_dir):
    for item in (
        stored(data_dir, "phototest.tif", words=True),
        drawn("Total: 1.234,50 EUR", "甲乙 Straße 7", words=True),
    ):
        [page] = engine.run_batch([item])
        assert page.lines
        for line in page.lines:
            assert "".join(word.text for word in line.words) == line.text.replace(" ", "")
            left, right = line.polygon[0], line.polygon[2]
            starts, ends = [word.polygon[0] for word in line.words], [word.polygon[2] for word in line.words]
            assert starts == sorted(starts)
            assert min(starts) >= left - 1e-6
            assert max(ends) <= right + 1e-6
            assert all(start < end for start, end in zip(starts, ends, strict=True))


@pytest.mark.weights
def test_a_words_box_holds_its_ink(engine):
    item = drawn("one          two", words=True)
    [page] = engine.run_batch([item])
    words = {word.text: word.polygon for line in page.lines for word in line.words}
    ink = np.flatnonzero((item.pixels < 128).any(axis=(0, 2))) / item.pixels.shape[1]
    gap = np.argmax(np.diff(ink))
    middle = (ink[gap] + ink[gap + 1]) / 2
    assert words["one"][2] < middle < words["two"][0]
    assert words["one"][0] == pytest.approx(ink[0], abs=0.02)
    assert words["two"][2] == pytest.approx(ink[-1], abs=0.02)


@pytest.mark.weights
def test_upright_text_is_measured_along_its_direction(engine):
    [page] = engine.run_batch([PageImage(pixels=np.rot90(np.asarray(picture("HELLO 12345")), -1).copy(), words=True)])
    assert page.text == "HELLO 12345"
    x0, y0, x1, y1 = page.lines[0].polygon[:4]
    assert y1 - y0 > abs(x1 - x0)
    hello, number = page.lines[0].words
    assert hello.polygon[3] <= number.polygon[1] + 1e-6


@pytest.mark.weights
def test_a_stopped_page_is_skipped_and_costs_no_recognition(engine):
    answers = iter([False])  # wanted when its turn comes, stopped from then on
    stopped_midway = drawn("NOT READ", stopped=lambda: next(answers, True))
    read = drawn("READ")
    results = engine.run_batch([drawn("NEVER", stopped=lambda: True), stopped_midway, read])
    assert [type(result).__name__ for result in results] == ["JobCancelled", "JobCancelled", "OcrPage"]
    assert isinstance(results[0], JobCancelled)
    assert results[2].text == "READ"


class Endless:
    """A network whose runs end only when they are left."""

    def __init__(self):
        self.runs = []

    def begin(self, values):
        self.runs.append(EndlessRun())
        return self.runs[-1]

    def release(self):
        pass


class EndlessRun:
    def __init__(self):
        self.left = False
        self.ended = threading.Event()

    def result(self, make):
        assert self.ended.wait(60)
        raise RuntimeError("left")

    def leave(self):
        self.left = True
        self.ended.set()


@pytest.mark.weights
@pytest.mark.parametrize("step", ["_detector", "_recognizer"])
def test_a_page_is_left_amid_a_step_and_the_next_one_is_read(engine, monkeypatch, step):
    endless = Endless()
    with monkeypatch.context() as patched:
        patched.setattr(getattr(engine, step), "_network", endless)
        [gone] = engine.run_batch([drawn("GONE", stopped=lambda: bool(endless.runs))])
    assert isinstance(gone, JobCancelled)
    assert [run.left for run in endless.runs] == [True]
    [read] = engine.run_batch([drawn("READ")])
    assert read.text == "READ"


@pytest.mark.weights
def test_all_pages_are_asked_at_every_step_whichever_is_read(engine, monkeypatch):
    asked, steps = [], []
    for lanes in (engine._detector, engine._recognizer):
        begin = lanes._network.begin
        monkeypatch.setattr(lanes._network, "begin", lambda values, begin=begin: steps.append(1) or begin(values))
    waiting = drawn("WAITS", stopped=lambda: asked.append(len(steps)) or False)
    assert [page.text for page in engine.run_batch([drawn("READ"), waiting])] == ["READ", "WAITS"]
    assert set(asked) >= set(range(len(steps)))


@pytest.mark.weights
def test_lines_below_the_confidence_asked_for_are_dropped(engine):
    [page] = engine.run_batch([drawn("HELLO 12345", min_confidence=1.0)])
    assert page.text == ""
    assert not page.lines


@pytest.mark.weights
def test_a_page_longer_than_sixteen_bits_is_read(engine):
    strip = np.full((120, 40_000, 3), 255, np.uint8)
    strip[:, 38_000:38_900] = np.asarray(picture("HELLO 12345"))[:120]
    [page] = engine.run_batch([PageImage(pixels=strip)])
    assert all(0 <= value <= 1 for line in page.lines for value in line.polygon)


def test_a_page_costs_the_pixels_that_are_looked_at(models_dir):
    engine = PaddleOcrEngine(models_dir / "pp-ocrv6-small", ModelRef(), OcrRuntime())
    pages = [np.zeros((height, width, 3), np.uint8) for height, width in ((96, 192), (1920, 1024), (10_240, 4_096))]
    assert [engine.cost(PageImage(pixels=page)) for page in pages] == [18_432, 1_966_080, 1_587_200]
    square = engine.cost(PageImage(pixels=np.zeros((9_000, 9_000, 3), np.uint8)))
    assert 0.95 * MAX_PIXELS < square < 1.02 * MAX_PIXELS


@pytest.mark.weights
def test_a_page_in_a_language_that_the_model_does_not_know_is_refused_and_its_neighbour_is_read(settings, models_dir):
    settings = settings.model_copy(update={"models_dir": models_dir, "device": "cpu"})
    engine = registry.build("pp-ocrv6-small", Catalog.load(settings), settings)
    engine.load()
    refused, read, japanese = engine.run_batch(
        [drawn("HELLO", languages=("en", "ru-RU")), drawn("HELLO", languages=("en-GB",)), drawn("", languages=("ja",))]
    )
    assert isinstance(refused, LanguageUnsupported)
    assert str(refused) == "pp-ocrv6-small does not know ru-RU; no model of the catalogue does"
    assert refused.metadata["languages"] == "ru-RU"
    assert (read.text, japanese.text) == ("HELLO", "")


@pytest.mark.weights
def test_out_of_memory_reaches_the_batcher_as_such(engine, monkeypatch):
    class FullDevice:
        def begin(self, _):
            raise RuntimeError("onnxruntime: Failed to allocate memory for requested buffer of size 9")

    monkeypatch.setattr(engine._detector, "_network", FullDevice())
    with pytest.raises(MemoryError):
        engine.run_batch([drawn("HELLO")])


def crop_of_width(width):
    return line_crop(0, np.zeros((4, 2)), np.zeros((48, width, 3), np.uint8))


def test_a_crops_width_depends_on_itself_alone():
    for width in (1, 300, 320, 321, 500, 1111, 3199, 3200, 9999):
        crop = crop_of_width(width)
        padded = crop.pixels.shape[1]
        assert MIN_WIDTH_PX <= padded <= MAX_WIDTH_PX
        assert crop.text_width_px == min(width, MAX_WIDTH_PX)
        if padded > MIN_WIDTH_PX:
            assert padded <= crop.text_width_px * (1 + MAX_PADDING)


def test_runs_are_of_one_width_and_bounded():
    crops = [crop_of_width(width) for width in (100, 3000, 310, 700, 650) * 20]
    runs = list(chunks_of_equal_width(crops, 2560))
    assert sum(len(run) for run in runs) == len(crops)
    for run in runs:
        assert len({crop.pixels.shape[1] for crop in run}) == 1
        assert len(run) == 1 or sum(crop.pixels.shape[1] for crop in run) <= 2560
