"""Searchable PDFs: what a reader finds and where, and that nothing else has changed."""

import ctypes
import io
import itertools
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium_c
import pytest
from pikepdf import Array, Dictionary, Name
from PIL import Image
from read_papers import line, page, pdf, picture, result

from triptych.core.errors import FieldInvalid, HostExhausted, InputTooLarge, MediaCorrupt
from triptych.core.pages_files import write_text
from triptych.services.searchable.writing import write
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import TextLine, TextOrigin, TextWord
from triptych.v1.ocr_service_pb2 import PagesFormat

INK = b"0.2 g 100 500 150 40 re f"


@pytest.fixture
def searchable(tmp_path):
    def searchable(document, *pages, password="", max_page_pixels=10**7, max_page_count=5):
        (tmp_path / "document").write_bytes(document)
        (tmp_path / "result").write_bytes(JobResult(ocr=result(*pages)).SerializeToString())
        paths = [str(tmp_path / name) for name in ("document", "result", "output")]
        write(*paths, password=password, max_page_pixels=max_page_pixels, max_page_count=max_page_count)
        return (tmp_path / "output").read_bytes()

    return searchable


def texts(document):
    with pypdfium2.PdfDocument(document) as found:
        return [found[number].get_textpage().get_text_range() for number in range(len(found))]


def drawn(document, number=0, scale=1.0):
    with pypdfium2.PdfDocument(document) as found:
        return np.asarray(found[number].render(scale=scale).to_pil().convert("RGB")).astype(int)


def ink_box(document):
    """Where the dark part of the first page is, in shares of the page as shown."""
    pixels = drawn(document, scale=2)
    rows, columns = np.nonzero(pixels.max(axis=2) < 128)
    height, width, _ = pixels.shape
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


def text_box(document):
    """Where the text of the first page is, as PDFium says, in shares of the page as shown."""
    size, xs, ys = 1_000_000, [], []
    with pypdfium2.PdfDocument(document) as found:
        shown = found[0]
        text = shown.get_textpage()
        x, y = ctypes.c_int(), ctypes.c_int()
        for index in range(text.count_chars()):
            if not text.get_text_range(index, 1).strip():
                continue
            left, bottom, right, top = text.get_charbox(index)
            for corner in ((left, bottom), (right, top)):
                pdfium_c.FPDF_PageToDevice(shown, 0, 0, size, size, 0, *corner, x, y)
                xs.append(x.value / size)
                ys.append(y.value / size)
    return min(xs), min(ys), max(xs), max(ys)


def overlap(one, other):
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, width) * max(0, height)
    return both / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both)


def boxed(text, box, **fields):
    left, top, right, bottom = box
    return TextLine(text=text, polygon=[left, top, right, top, right, bottom, left, bottom], **fields)


def changed(document, change):
    with pikepdf.open(io.BytesIO(document)) as found:
        change(found)
        file = io.BytesIO()
        found.save(file)
        return file.getvalue()


def streams(document):
    with pikepdf.open(io.BytesIO(document)) as found:
        return {bytes(each.read_raw_bytes()) for each in found.objects if isinstance(each, pikepdf.Stream)}


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90, 450])
@pytest.mark.parametrize(
    "boxes",
    [
        {"MediaBox": [0, 0, 500, 700]},
        {"MediaBox": [-50, -20, 500, 700], "CropBox": [40, 450, 300, 600]},
        {"MediaBox": [0, 0, 500, 700], "CropBox": [300, 600, 50, -999]},
        {"MediaBox": [0, 0, 500, 700], "UserUnit": 2},
    ],
)
def test_text_lies_on_its_ink_however_the_page_is_turned_and_cut(searchable, rotation, boxes):
    def turn(found):
        shown = found.pages[0].obj
        shown.Rotate = rotation
        for key, value in boxes.items():
            shown[f"/{key}"] = Array(value) if isinstance(value, list) else value

    original = changed(pdf(INK), turn)
    ink = ink_box(original)
    made = searchable(original, page(boxed("Hello wide world", ink)))
    assert texts(made)[0].split() == ["Hello", "wide", "world"]
    assert overlap(text_box(made), ink) > 0.95
    assert (drawn(made) == drawn(original)).all()


def test_text_that_runs_in_any_direction_is_found_as_it_is_read(searchable):
    corners = [(0.2, 0.2), (0.7, 0.2), (0.7, 0.25), (0.2, 0.25)]
    lines = []
    for text, turns in (("level text", 0), ("going down", 1), ("on its head", 2), ("going up", 3)):
        turned = [(x, y) for x, y in corners]
        for _ in range(turns):
            turned = [(1 - y, x) for x, y in turned]
        lines.append(TextLine(text=text, polygon=itertools.chain(*turned)))
    made = searchable(pdf(), page(*lines))
    assert sorted(texts(made)[0].split()) == sorted("level text going down on its head going up".split())  # noqa: SIM905


def test_text_askew_stands_level_at_its_middle(searchable):
    """Of words askew poppler makes single letters."""
    corners = [(0.2, 0.3), (0.6, 0.42), (0.58, 0.45), (0.18, 0.33)]
    made = searchable(pdf(), page(TextLine(text="Hello", polygon=itertools.chain(*corners))))
    assert texts(made)[0].strip() == "Hello"
    left, top, right, bottom = text_box(made)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((0.39, 0.375), abs=0.002)
    assert right - left == pytest.approx(0.4, abs=0.01)
    # The way across: 500 x 700 points make a slope of 22.8 degrees, and 3 % of the height are 17 of 21 points.
    assert 0.02 < bottom - top < 0.035


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Grüße, naïve façade", None),
        ("中文字符测试", None),
        ("日本語のテキスト", None),
        ("한국어 텍스트", None),
        ("Ελληνικά и русский", None),
        ("हिन्दी में लिखा", None),
        ("สวัสดี ไทย", None),
        ("שלום עולם", None),
        ("مرحبا بالعالم 123", None),
        ("لَا إِلٰهَ", None),
        ("😀 𝒳yz 👨‍👩‍👧", None),
        ("e\u0301 combined", None),
        ("eﬃcient ﬁnd", "efficient find"),
        ("ﻣﺮﺣﺒﺎ", "مرحبا"),
        ("tab\x00bed\x07", "tabbed"),
    ],
)
def test_every_script_is_found_again(searchable, text, found):
    made = searchable(pdf(), page(line(text, 0.1, 0.1, 0.6), line("an end", 0.1, 0.8, 0.3)))
    assert texts(made)[0].split("\r\n")[0].strip() == (found or text)


def test_each_word_is_as_wide_as_its_own_box(searchable):
    words = [TextWord(text=text, polygon=[left, 0.1, right, 0.1, right, 0.2, left, 0.2])
             for text, left, right in (("i", 0.1, 0.5), ("touching", 0.5, 0.6))]  # fmt: skip
    made = searchable(pdf(), page(line("i touching", 0.1, 0.1, 0.5, 0.1, words=words)))
    assert texts(made)[0].strip() == "i touching"
    with pypdfium2.PdfDocument(made) as found:
        text = found[0].get_textpage()
        left, bottom, right, top = text.get_charbox(0)
        assert (round(left), round(right), round(bottom), round(top)) == (50, 250, 560, 631)
        assert round(text.get_charbox(2)[0]) == 250


@pytest.mark.parametrize(
    "content", [b"q 3 0 0 3 0 0 cm", b"Q Q Q 2 0 0 2 0 0 cm Q", b"/X Do (", b"BT 5 Tr 1 0 0 1 9 9 Tm"]
)
def test_a_page_that_leaves_a_mess_does_not_move_its_text(searchable, content):
    made = searchable(pdf(content), page(boxed("in place", (0.2, 0.3, 0.6, 0.35))))
    assert texts(made)[0].strip() == "in place"
    assert overlap(text_box(made), (0.2, 0.3, 0.6, 0.35)) > 0.95


def test_nothing_that_was_there_is_written_anew(searchable):
    original = changed(pdf(INK, b"q " + INK + b" Q"), lambda found: found.pages[0].obj.__setattr__("Annots", Array([
        Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 9, 9]), Border=Array([0, 0, 1]))
    ])))  # fmt: skip
    made = searchable(original, page(line("Hello", 0.1, 0.1, 0.3)))
    assert streams(original) <= streams(made)
    with pikepdf.open(io.BytesIO(made)) as found:
        assert found.pages[0].Annots[0].Rect[2] == 9
        assert len(found.pages[0].Contents) == 2
        assert found.pages[1].Contents.read_bytes() == b"q " + INK + b" Q"
        assert list(found.pages[1].Resources.Font.keys()) == ["/F1"]
    assert searchable(original, page(line("Hello", 0.1, 0.1, 0.3))) == made, "the same file each time"


def test_what_pages_share_is_not_changed_for_others(searchable):
    def share(found):
        one, other = found.pages
        other.obj.Resources = one.obj.Resources = found.make_indirect(one.obj.Resources)
        one.obj.Resources.Font.TriptychText = one.obj.Resources.Font.F1

    made = searchable(changed(pdf(b"", b""), share), page(line("Hello", 0.1, 0.1, 0.3)))
    with pikepdf.open(io.BytesIO(made)) as found:
        assert set(found.pages[0].Resources.Font.keys()) == {"/F1", "/TriptychText", "/TriptychText_"}
        assert set(found.pages[1].Resources.Font.keys()) == {"/F1", "/TriptychText"}
    assert texts(made) == ["Hello ", ""]


def test_pages_with_text_of_their_own_get_no_second_one(searchable):
    original = pdf(b"BT /F1 20 Tf 50 600 Td (Printed) Tj ET", b"")
    embedded = page(line("Printed", 0.1, 0.1, 0.2), origin=TextOrigin.TEXT_ORIGIN_EMBEDDED)
    made = searchable(original, embedded, page(line("Scanned", 0.1, 0.1, 0.2), number=2))
    assert [text.strip() for text in texts(made)] == ["Printed", "Scanned"]


OLD = (
    b"BT /F1 20 Tf 3 Tr 50 600 Td (garbage) Tj 12 TL (more) ' [(of) -200 (it)] TJ 1 2 (end) \" "
    b"0 Tr 0 -30 Td (Seen) Tj ET "
)


def test_an_old_invisible_layer_gives_way_and_what_is_seen_stays(searchable):
    original = pdf(OLD + INK)
    made = searchable(original, page(line("anew", 0.5, 0.5, 0.2)))
    assert sorted(texts(made)[0].split()) == ["Seen", "anew"]
    assert (drawn(made, scale=2) == drawn(original, scale=2)).all()
    twice = searchable(made, page(line("again", 0.5, 0.5, 0.2)))
    assert sorted(texts(twice)[0].split()) == ["Seen", "again"]


def test_an_old_layer_in_a_form_gives_way_on_this_page_alone(searchable):
    def into_forms(found):
        def form(content, resources):
            box = Array([0, 0, 500, 700])
            return found.make_stream(content, Type=Name.XObject, Subtype=Name.Form, BBox=box, Resources=resources)

        inner = form(OLD, found.pages[0].obj.Resources)
        outer = form(b"/In Do", Dictionary(XObject=Dictionary(In=inner)))
        outer.Resources.XObject.Self = outer
        for each in found.pages:
            each.obj.Resources.XObject = Dictionary(Out=outer)

    original = changed(pdf(b"/Out Do", b"/Out Do"), into_forms)
    made = searchable(original, page(line("anew", 0.5, 0.5, 0.2)))
    assert sorted(texts(made)[0].split()) == ["Seen", "anew"]
    assert "garbage" in texts(made)[1]
    assert (drawn(made) == drawn(original)).all()


def test_a_page_with_nothing_on_it_is_left_alone(searchable):
    made = searchable(pdf(OLD), page())
    assert "garbage" in texts(made)[0]


def test_a_page_that_is_not_in_the_document_is_a_reason(searchable):
    with pytest.raises(FieldInvalid, match="has 1 pages, but page 2"):
        searchable(pdf(), page(line("a", 0.1, 0.1, 0.1)), page(number=2))


@pytest.mark.parametrize(
    "document",
    [b"%PDF-1.4", b"%PDF-1.4\n%%EOF" * 99, pdf(INK)[:300], b"II*\0" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(99)],
)
def test_a_broken_document_is_a_reason(searchable, document):
    with pytest.raises(MediaCorrupt):
        searchable(document, page(line("a", 0.1, 0.1, 0.1)))


@pytest.mark.parametrize(
    "change",
    [
        lambda shown: shown.__setattr__("MediaBox", Array([])),
        lambda shown: shown.__setattr__("MediaBox", Array([Name.A, 1, 2, Dictionary()])),
        lambda shown: shown.__setattr__("Rotate", Name.Left),
        lambda shown: shown.__setattr__("Rotate", 45),
        lambda shown: shown.__setattr__("Resources", 5),
        lambda shown: shown.__setattr__("Resources", Dictionary(Font=7, XObject=Array([]))),
        lambda shown: shown.__setattr__("Contents", Array([])),
        lambda shown: shown.__delitem__("/Contents"),
    ],
)
def test_a_page_of_nonsense_still_gets_its_text(searchable, change):
    made = searchable(changed(pdf(OLD), lambda found: change(found.pages[0].obj)), page(line("a word", 0.1, 0.1, 0.4)))
    assert "a word" in texts(made)[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_a_reason(tmp_path):
    (tmp_path / "document").write_bytes(pdf())
    (tmp_path / "result").write_bytes(JobResult(ocr=result(page(line("a", 0.1, 0.1, 0.1)))).SerializeToString())
    paths = (str(tmp_path / "document"), str(tmp_path / "result"), "/dev/full")
    with pytest.raises(HostExhausted):
        write(*paths, password="", max_page_pixels=10**7, max_page_count=5)
    with pytest.raises(HostExhausted):
        write_text(*paths[1:], pages_format=PagesFormat.PAGES_FORMAT_TEXT)


# Pictures.


def as_shown(data):
    """What a viewer shows of a picture, as Pillow says."""
    image = Image.open(io.BytesIO(data))
    image.load()
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) / 257)[:, :, None], 3, axis=2)
    if "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB")).astype(int)


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def bits16():
    file = io.BytesIO()
    Image.fromarray(np.arange(40 * 60, dtype=np.uint16).reshape(60, 40) * 27).save(file, "PNG")
    return file.getvalue()


def transparent_palette():
    file = io.BytesIO()
    image = Image.new("P", (40, 60), 0)
    image.putpalette([200, 10, 10, 10, 200, 10])
    image.paste(1, (0, 0, 20, 20))
    image.save(file, "PNG", transparency=0)
    return file.getvalue()


def alpha():
    image = Image.new("RGBA", (40, 60), (200, 30, 30, 255))
    image.putalpha(Image.linear_gradient("L").resize((40, 60)))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


SMALL = {"size": (40, 60)}
PICTURES = {
    **{f"jpeg {n}": picture("JPEG", **SMALL, exif=exif(n)) for n in range(1, 9)},
    "grey jpeg": picture("JPEG", **SMALL, mode="L"),
    "cmyk jpeg": picture("JPEG", **SMALL, mode="CMYK"),
    "progressive": picture("JPEG", **SMALL, progressive=True),
    "png": picture("PNG", **SMALL),
    "grey png": picture("PNG", **SMALL, mode="L"),
    "bitonal png": picture("PNG", **SMALL, mode="1"),
    "palette png": picture("PNG", **SMALL, mode="P"),
    "turned png": picture("PNG", **SMALL, exif=exif(6)),
    "16-bit png": bits16(),
    "transparent palette": transparent_palette(),
    "alpha": alpha(),
    "tiff": picture("TIFF", **SMALL, compression="tiff_lzw"),
    "fax": picture("TIFF", **SMALL, mode="1", compression="group4"),
    "turned tiff": picture("TIFF", **SMALL, exif=exif(6)),
    "cmyk tiff": picture("TIFF", **SMALL, mode="CMYK"),
    "gif": picture("GIF", **SMALL, mode="P"),
    "bmp": picture("BMP", **SMALL),
    "webp": picture("WEBP", **SMALL, lossless=True),
    "avif": picture("AVIF", **SMALL, quality=100),
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_is_shown_as_it_was(searchable, data):
    made = searchable(data, page(boxed("Hello", (0.1, 0.1, 0.4, 0.2))))
    expected = as_shown(data)
    height, width, _ = expected.shape
    with pypdfium2.PdfDocument(made) as found:
        points = found[0].get_size()
    assert points[0] / points[1] == pytest.approx(width / height)
    # A row or column more may be drawn, as sizes in points are no whole numbers.
    shown = drawn(made, scale=width / points[0])[:height, :width]
    # CMYK is a matter of taste; what is upside down or turned is off by 50 and more.
    assert np.abs(shown - expected).mean() < 8
    assert texts(made)[0].strip() == "Hello"
    assert overlap(text_box(made), (0.1, 0.1, 0.4, 0.2)) > 0.9


def test_bytes_of_jpeg_and_png_are_kept(searchable):
    jpeg = picture("JPEG", exif=exif(6))
    assert jpeg in streams(searchable(jpeg, page()))
    png = picture("PNG")
    start = png.index(b"IDAT") + 4
    (length,) = np.frombuffer(png[start - 8 : start - 4], ">u4")
    assert png[start : start + length] in streams(searchable(png, page()))


@pytest.mark.parametrize(
    ("dpi", "points"), [((300, 300), (120, 168)), ((200, 100), (180, 504)), ((1, 1), (180, 252)), ((0, 0), (180, 252))]
)
def test_a_picture_is_as_large_as_it_says(searchable, dpi, points):
    with pypdfium2.PdfDocument(searchable(picture("JPEG", dpi=dpi), page())) as found:
        assert found[0].get_size() == pytest.approx(points, abs=0.01)


def test_a_huge_picture_still_fits_a_page(searchable):
    with pypdfium2.PdfDocument(searchable(picture("PNG", size=(30_000, 3), mode="1", dpi=(72, 72)), page())) as found:
        assert found[0].get_size() == pytest.approx((14_400, 1.44), abs=0.1)


def frames(count):
    file = io.BytesIO()
    image = Image.new("L", (40, 60), 255)
    image.save(file, "TIFF", save_all=True, append_images=[image] * (count - 1))
    return file.getvalue()


def test_frames_of_a_tiff_are_pages(searchable):
    made = searchable(frames(3), page(line("one", 0.1, 0.1, 0.5)), page(line("three", 0.1, 0.1, 0.5), number=3))
    assert [text.strip() for text in texts(made)] == ["one", "", "three"]


def test_too_many_pages_or_pixels_are_a_reason(searchable):
    with pytest.raises(InputTooLarge):
        searchable(frames(6), page())
    with pytest.raises(InputTooLarge):
        searchable(picture("JPEG"), page(), max_page_pixels=500 * 699)
