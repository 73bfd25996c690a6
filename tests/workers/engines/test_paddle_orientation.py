"""Pages and lines that do not stand upright, read by the real engine."""

import numpy as np
import pytest
from PIL import Image
from workers.documents import ocr_engine, picture

from triptych.core.page_turns import turned
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_crops import line_crop
from triptych.workers.engines.paddle_lines import FoundLine
from triptych.workers.engines.paddle_ocr import PaddleOcrEngine, PageImage
from triptych.workers.engines.paddle_orientation import better_readings, directions, turned_over
from triptych.workers.media.images import decode_image

THREE_LINES = ("The first line of a note", "Total amount 1.234,50 EUR", "Paid on 24 March 2026")


@pytest.fixture
def engine(models_dir):
    return ocr_engine(models_dir)


def clockwise(pixels, degrees):
    return np.ascontiguousarray(np.rot90(pixels, -degrees // 90))


def read(engine, pixels, **options):
    [page] = engine.run_batch([PageImage(pixels=pixels, **options)])
    return page


@pytest.mark.weights
@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("name", ["phototest.tif", "oyo_receipt.png", "three lines"])
def test_a_turned_page_gives_the_text_and_the_places_of_the_upright_one(engine, data_dir, name, degrees):
    if name == "three lines":
        upright = np.asarray(picture(*THREE_LINES))
    else:
        upright = decode_image((data_dir / "pages" / name).read_bytes(), max_page_pixels=100_000_000)
    expected = read(engine, upright, words=True)
    page = read(engine, clockwise(upright, degrees), words=True)
    assert (expected.applied_rotation_degrees, page.applied_rotation_degrees) == (0, 360 - degrees)
    assert page.text == expected.text
    width_px, height_px = expected.width_px, expected.height_px
    size = (width_px, height_px) if degrees == 180 else (height_px, width_px)
    assert (page.width_px, page.height_px) == size
    for line, other in zip(page.lines, expected.lines, strict=True):
        for found, true in ((line, other), *zip(line.words, other.words, strict=True)):
            assert found.text == true.text
            # Corners are told from the text's own top left, on the page as shown.
            assert list(found.polygon) == pytest.approx(turned(true.polygon, degrees), abs=1e-5)


@pytest.mark.weights
def test_a_page_is_read_as_it_is_shown_if_that_is_asked_for(engine):
    page = read(engine, clockwise(np.asarray(picture(*THREE_LINES)), 180), find_turn=False)
    assert page.applied_rotation_degrees == 0
    # Lines are understood all the same, from top to bottom.
    assert page.text.split("\n") == list(THREE_LINES[::-1])


@pytest.mark.weights
def test_single_lines_on_their_head_or_side_are_read_on_an_upright_page(engine):
    page = Image.new("RGB", (1000, 900), "white")
    page.paste(picture(*THREE_LINES), (80, 20))
    page.paste(picture("Handle with great care", size=(600, 90)).rotate(180), (200, 400))
    page.paste(picture("Percentage of all sales", size=(600, 90)).rotate(90, expand=True), (0, 260))
    found = read(engine, np.asarray(page))
    assert found.applied_rotation_degrees == 0
    assert set(found.text.split("\n")) == {*THREE_LINES, "Handle with great care", "Percentage of all sales"}
    by_text = {line.text: np.reshape(line.polygon, (4, 2)) for line in found.lines}
    over, up = by_text["Handle with great care"], by_text["Percentage of all sales"]
    assert over[1][0] < over[0][0]
    assert over[0][1] > over[3][1]
    assert up[1][1] < up[0][1]
    assert up[0][0] < up[3][0]


@pytest.mark.weights
def test_without_a_classifier_the_lines_tell_how_a_page_is_turned(engine, models_dir, tmp_path):
    for role in ("det", "rec"):
        (tmp_path / role).symlink_to(models_dir / "pp-ocrv6-small" / role)
    bare = PaddleOcrEngine(tmp_path, engine.model, OcrRuntime(device="cpu", threads=2))
    bare.load()
    upright = np.asarray(picture(*THREE_LINES))
    for degrees in (90, 180, 270):
        page = read(bare, clockwise(upright, degrees))
        assert (page.text.split("\n"), page.applied_rotation_degrees) == (list(THREE_LINES), 360 - degrees)


@pytest.mark.weights
@pytest.mark.parametrize("pixels", [np.full((1, 1, 3), 255, np.uint8), np.full((5, 3000, 3), 9, np.uint8)])
def test_a_page_without_text_stands_as_it_is(engine, pixels):
    assert read(engine, pixels).applied_rotation_degrees == 0


def line(text, confidence, *, degrees=0, length=0.4, at=0.1):
    place = np.array(turned([at, at, at + length, at, at + length, at + 0.02, at, at + 0.02], degrees)).reshape(4, 2)
    return FoundLine(
        crop=line_crop(0, place, np.zeros((20, 400, 3), np.uint8)), text=text, columns=[], confidence=confidence
    )


def found(lines, turn):
    return directions(lines, turn, width_px=1000, height_px=1000)


def test_lines_decide_against_the_classifier_if_they_are_many_and_certain():
    over = [line("certain", 0.98, degrees=180)] * 3
    assert found(over, 0) == (180, 180)
    assert found([*over, line("upright", 0.99, length=0.8)], 0) == (0, 0)
    assert found([line("doubtful", 0.7, degrees=180)] * 3, 0) == (0, 0)
    assert found(over, None) == (180, 180)
    assert found([], 90) == (90, 90)
    assert found([], None) == (0, 0)


def test_vertical_writing_is_no_turned_page():
    down = [line("縦に書かれた文", 0.97, degrees=90)] * 5
    assert found(down, 0) == (0, 90)
    # Without a word from the classifier it might be either; the order of the lines is the same.
    assert found(down, None) == (90, 90)
    assert found([line("Latin letters", 0.97, degrees=90)] * 5, 0) == (90, 90)


def test_only_doubtful_lines_are_read_again_and_only_better_ones_taken():
    first = [line("good", 0.95), line("bad", 0.7, at=0.2), line("worse", 0.6, at=0.3), line(" ", 0.0, at=0.4)]
    again = turned_over(first)
    assert len(again) == 2
    second = [
        FoundLine(crop=crop, text=f"over {n}", columns=[], confidence=c)
        for n, (crop, c) in enumerate(zip(again, (0.99, 0.68), strict=True))
    ]
    assert [one.text for one in better_readings(first, second[::-1])] == ["good", "over 0", "worse", " "]
    assert np.array_equal(again[0].polygon, np.roll(first[1].crop.polygon, 2, axis=0))
