"""Image files, sound, odd and hostile."""

import io
from contextlib import closing

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps
from workers.documents import encoded, picture, png_claiming

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported, RangeOutsideSource
from triptych.workers.media.images import ImagePages, decode_image

LIMITS = {"max_page_pixels": 1_000_000, "max_page_count": 10}


def images_in(data, **limits):
    return closing(ImagePages(io.BytesIO(data), **(limits or LIMITS)))


PAGE = picture("HELLO 12345", size=(640, 200))


def decode(data):
    return decode_image(data, max_page_pixels=LIMITS["max_page_pixels"])


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("PNG", PAGE),
        ("BMP", PAGE),
        ("JPEG", PAGE),
        ("JPEG", PAGE.convert("CMYK")),
        ("WEBP", PAGE),
        ("TIFF", PAGE),
        ("TIFF", PAGE.convert("1")),
        ("TIFF", PAGE.convert("L").convert("F")),
        ("TIFF", Image.fromarray(np.asarray(PAGE.convert("L"), np.float32) / 255)),
        ("PNG", Image.fromarray(np.asarray(PAGE.convert("L"), np.uint16) * 257)),
        ("TIFF", Image.fromarray(np.asarray(PAGE.convert("L"), np.uint16) * 257)),
        ("TIFF", Image.fromarray(np.asarray(PAGE.convert("L"), np.int32) * 257)),
        ("PNG", PAGE.convert("P")),
        ("GIF", PAGE.convert("P")),
        ("PNG", PAGE.convert("LA")),
        ("TIFF", PAGE.convert("YCbCr")),
        ("AVIF", PAGE),
        ("AVIF", PAGE.convert("RGBA")),
        ("PNG", PAGE.convert("1")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_every_kind_of_image_becomes_the_same_rgb_page(kind, image):
    pixels = decode(encoded(image, kind))
    assert pixels.shape == (200, 640, 3)
    assert pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - np.asarray(PAGE).astype(int))
    assert difference.mean() < 3


def test_a_picture_of_a_phone_is_read(data_dir):
    data = (data_dir / "pages" / "hello.heic").read_bytes()
    pixels = decode(data)
    assert np.abs(pixels.astype(int) - np.asarray(PAGE).astype(int)).mean() < 3
    with pytest.raises(MediaCorrupt):
        decode(data[: len(data) // 2])


def test_the_inks_of_a_jpeg_are_inverted_only_if_an_adobe_program_wrote_it():
    inks = PAGE.convert("CMYK")
    adobe, other = encoded(inks, "JPEG", quality=95), encoded(ImageChops.invert(inks), "JPEG", quality=95)
    start = other.index(b"\xff\xee")
    other = other[:start] + other[start + 16 :]
    assert b"Adobe" in adobe
    assert b"Adobe" not in other
    for data in (adobe, other):
        assert np.abs(decode(data).astype(int) - np.asarray(PAGE).astype(int)).mean() < 3


def test_a_page_is_converted_in_bands_without_seams(monkeypatch):
    monkeypatch.setattr("triptych.workers.media.images.BAND_PIXELS", 640 * 7)
    wide = Image.fromarray(np.asarray(PAGE.convert("L"), np.uint16) * 257)
    for image in (PAGE, PAGE.convert("CMYK"), wide, PAGE.convert("LA")):
        assert np.array_equal(decode(encoded(image, "TIFF")), np.asarray(PAGE))


def test_lab_keeps_its_lightness():
    lab = Image.merge("LAB", [PAGE.convert("L"), Image.new("L", PAGE.size, 128), Image.new("L", PAGE.size, 128)])
    assert np.array_equal(decode(encoded(lab, "TIFF")), np.asarray(PAGE))


def test_transparency_is_laid_on_white():
    ink = Image.new("RGBA", PAGE.size, (0, 0, 0, 0))
    ink.paste((0, 0, 0, 255), (100, 50, 300, 150))
    pixels = decode(encoded(ink))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[100, 200].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(PAGE, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(stored)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decode(stored), expected)
    assert expected.shape[:2] == ((640, 200) if orientation >= 5 else (200, 640))


def test_damaged_exif_does_no_harm():
    data = encoded(PAGE, "JPEG", exif=b"Exif\x00\x00junk that is no TIFF header")
    assert decode(data).shape == (200, 640, 3)


def test_a_tiffs_frames_are_pages_in_any_order():
    frames = [Image.new("RGB", (20 + n, 10), (n, n, n)) for n in range(3)]
    with images_in(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])) as pages:
        assert pages.page_count == 3
        assert [pages.pixels(n)[0][0, 0, 0] for n in (3, 1, 2)] == [2, 0, 1]
        with pytest.raises(RangeOutsideSource):
            pages.pixels(4)


def test_a_second_frame_too_large_fails_alone():
    frames = [Image.new("1", (10, 10)), Image.new("1", (2000, 2000))]
    with images_in(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])) as pages:
        assert pages.pixels(1)[0].shape == (10, 10, 3)
        with pytest.raises(InputTooLarge):
            pages.pixels(2)


def test_too_many_frames_are_refused():
    frames = [Image.new("1", (4, 4)) for _ in range(11)]
    with pytest.raises(InputTooLarge):
        images_in(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_is_its_first_frame(kind):
    frames = [PAGE, Image.new("RGB", PAGE.size)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with images_in(data) as pages:
        assert pages.page_count == 1
        assert np.abs(pages.pixels(1)[0].astype(int) - np.asarray(PAGE).astype(int)).mean() < 3


def test_a_claimed_size_is_refused_before_decoding():
    with pytest.raises(InputTooLarge) as caught:
        decode(png_claiming(65_535, 65_535))
    assert caught.value.metadata["limit"] == "1000000"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF"])
def test_half_a_file_is_corrupt(kind):
    data = encoded(PAGE, kind)
    with pytest.raises(MediaCorrupt):
        decode(data[: len(data) // 2])


def test_a_header_alone_is_corrupt():
    with pytest.raises(MediaCorrupt):
        decode(encoded(PAGE, "JPEG")[:20])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        io.BytesIO(bytes(range(256)) * 16).getvalue(),
    ],
    ids=["empty", "text", "svg", "pdf", "eps", "bytes"],
)
def test_what_is_no_image_is_unsupported(data):
    with pytest.raises(MediaTypeUnsupported):
        decode(data)
