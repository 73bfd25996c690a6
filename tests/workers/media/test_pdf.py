"""PDFs, sound, turned, scanned and hostile."""

from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from workers.documents import MISSING_PAGE, picture, scan, text_pdf

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaEncrypted, RangeOutsideSource
from triptych.workers.media.pdf import PdfPages


def opened(data, max_page_pixels=100_000_000, password=""):
    return closing(PdfPages(data, password=password, max_page_pixels=max_page_pixels))


def test_a_page_is_drawn_at_the_resolution_asked_for():
    with opened(text_pdf(["HELLO 12345"])) as pages:
        pixels, dpi = pages.pixels(1, dpi=144)
        assert (pixels.shape, pixels.dtype, dpi) == ((400, 800, 3), np.uint8, 144)
        page = pages.embedded_text(1, dpi=144, words=False)
        assert (page.width_px, page.height_px) == (800, 400)
        assert pixels[5, 5].tolist() == [255, 255, 255]
        assert pixels.min() < 50


def test_words_lie_where_they_are_drawn():
    with opened(text_pdf(["HELLO 12345", "second line"])) as pages:
        lines = pages.text_lines(1, words=True)
        pixels, _ = pages.pixels(1, dpi=200)
    assert [line.text for line in lines] == ["HELLO 12345", "second line"]
    assert [word.text for word in lines[0].words] == ["HELLO", "12345"]
    height, width, _ = pixels.shape
    inked = np.zeros((height, width), bool)
    for line in lines:
        for word in line.words:
            left, top, right, bottom = word.polygon[0], word.polygon[1], word.polygon[4], word.polygon[5]
            at = (
                slice(int(top * height) - 1, int(bottom * height) + 2),
                slice(int(left * width) - 1, int(right * width) + 2),
            )
            assert (pixels[at] < 128).any()
            inked[at] = True
    assert not (pixels[~inked] < 128).any()


def test_a_turned_page_is_drawn_and_measured_as_a_viewer_shows_it(data_dir):
    with opened((data_dir / "pages" / "rotation.pdf").read_bytes()) as pages:
        upright, turned = (pages.pixels(n, dpi=72)[0].shape for n in (1, 2))
        lines = pages.text_lines(2, words=False)
    assert (upright, turned) == ((792, 612, 3), (612, 792, 3))
    left, top, right, bottom = (lines[0].polygon[i] for i in (0, 1, 4, 5))
    assert right - left > 3 * (bottom - top) > 0


def test_a_cropped_page_is_what_a_viewer_shows_of_it():
    with opened(text_pdf(["HELLO 12345"], media_box="0 0 400 200] /CropBox [0 100 300 200")) as pages:
        pixels, _ = pages.pixels(1, dpi=72)
        page = pages.embedded_text(1, dpi=72, words=False)
    assert pixels.shape == (100, 300, 3)
    left, top, right, bottom = (page.lines[0].polygon[i] for i in (0, 1, 4, 5))
    assert 0.09 < left < 0.11
    assert 0.25 < top < bottom < 0.6
    inked = np.argwhere(pixels.min(axis=2) < 128)
    assert (inked.min(axis=0) >= np.array([top * 100 - 1, left * 300 - 1])).all()
    assert (inked.max(axis=0) <= np.array([bottom * 100 + 1, right * 300 + 1])).all()


def test_a_page_beyond_the_pixel_limit_is_drawn_coarser():
    with opened(text_pdf(["HELLO"], media_box="0 0 7200 3600"), max_page_pixels=20_000_000) as pages:
        pixels, dpi = pages.pixels(1, dpi=300)
    assert 55 <= dpi < 64
    assert pixels.shape[0] * pixels.shape[1] <= 20_000_000


def test_a_page_of_kilometres_is_refused_but_its_text_is_read():
    with opened(text_pdf(["HELLO"], media_box="0 0 9999999 9999999")) as pages:
        with pytest.raises(InputTooLarge):
            pages.pixels(1, dpi=72)
        assert pages.text_lines(1, words=False)[0].text == "HELLO"


@pytest.mark.parametrize("media_box", ["0 0 0 0", "0 0 NaN NaN", "400 200 0 0", "0 0 1 1"])
def test_a_strange_media_box_gives_some_page(media_box):
    with opened(text_pdf(["HELLO"], media_box=media_box)) as pages:
        assert min(pages.pixels(1, dpi=100)[0].shape[:2]) >= 1


def test_a_missing_page_fails_alone():
    with opened(text_pdf(["one"], MISSING_PAGE, ["three"])) as pages:
        assert pages.page_count == 3
        with pytest.raises(MediaCorrupt):
            pages.pixels(2, dpi=72)
        with pytest.raises(MediaCorrupt):
            pages.text_lines(2, words=False)
        assert pages.text_lines(3, words=False)[0].text == "three"
        with pytest.raises(RangeOutsideSource):
            pages.pixels(4, dpi=72)


def test_a_scan_has_no_text_of_its_own():
    with opened(scan(picture("HELLO 12345"))) as pages:
        assert pages.text_lines(1, words=False) is None


def test_a_text_layer_that_maps_to_nonsense_is_not_used(data_dir):
    with opened((data_dir / "pages" / "type3_nomapping.pdf").read_bytes()) as pages:
        assert pages.text_lines(1, words=False) is None


def test_columns_keep_the_order_of_the_file(data_dir):
    with opened((data_dir / "pages" / "two_columns.pdf").read_bytes()) as pages:
        lines = pages.text_lines(1, words=False)
    lefts = [line.polygon[0] for line in lines if 0.1 < line.polygon[1] < 0.9]
    crossings = sum(earlier < 0.5 <= later for earlier, later in pairwise(lefts))
    assert crossings <= 2


def test_a_password_is_asked_for(data_dir):
    with pytest.raises(MediaEncrypted):
        opened((data_dir / "pages" / "aes256_password.pdf").read_bytes())


@pytest.mark.parametrize(
    "data",
    [b"", b"%PDF-1.7", b"not a PDF", text_pdf(["x"])[:150], text_pdf()],
    ids=["empty", "header alone", "text", "truncated", "no pages"],
)
def test_what_cannot_be_opened_is_corrupt(data):
    with pytest.raises(MediaCorrupt):
        opened(data)


def test_a_file_without_pages_is_not_taken_for_an_encrypted_one_that_came_before(data_dir):
    with pytest.raises(MediaEncrypted):
        opened((data_dir / "pages" / "aes256_password.pdf").read_bytes())
    with pytest.raises(MediaCorrupt):
        opened(text_pdf())


@pytest.mark.parametrize("name", ["kids_loop", "million_pages_claim", "no_xref"])
def test_a_damaged_tree_gives_the_pages_it_has(data_dir, name):
    with opened((data_dir / "pages" / f"{name}.pdf").read_bytes()) as pages:
        assert pages.text_lines(1, words=False)[0].text == "HELLO 12345"
        assert pages.pixels(1, dpi=72)[0].min() < 128
