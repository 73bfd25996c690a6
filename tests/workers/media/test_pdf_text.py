"""What of a PDF's own text is used: what a reader of the page sees, where it says what is seen."""

import codecs
from contextlib import closing
from itertools import pairwise

import pytest
from workers.documents import drawn_pdf, text_pdf

from triptych.workers.media.garbling import is_garbled
from triptych.workers.media.pdf import PdfPages, embedded_page

SENTENCE = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,"
    " it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of"
    " Darkness, it was the spring of hope, it was the winter of despair"
)


def shown(text, x=30, y=150, *, size=20, more=""):
    """Commands that draw a text."""
    return f"q BT /F1 {size} Tf {more} 1 0 0 1 {x} {y} Tm ({text}) Tj ET Q\n".encode()


def rectangle(colour, x=20, y=140, width=300, height=40):
    return f"q {colour} rg {x} {y} {width} {height} re f Q\n".encode()


def picture(x=20, y=140, width=300, height=40):
    return f"q {width} 0 0 {height} {x} {y} cm /I Do Q\n".encode()


def read(data, *, words=False):
    """Text and polygon of each line in the file's order; None: recognize it instead."""
    with closing(PdfPages(data, max_page_pixels=10_000_000)) as pages:
        lines = pages.text_lines(1, words=words)
    return lines if lines is None else [(line.text, list(line.polygon)) for line in lines]


def texts(content, **options):
    found = read(drawn_pdf(content, **options))
    return found if found is None else [text for text, _ in found]


def test_text_that_nobody_sees_is_left_out():
    seen = shown("seen by everybody", y=60)
    assert texts(seen + shown("white on white", more="1 g")) == ["seen by everybody"]
    assert texts(seen + shown("redacted") + rectangle("0 0 0")) == ["seen by everybody"]
    assert texts(seen + shown("painted over") + rectangle("1 1 1")) == ["seen by everybody"]
    assert texts(rectangle("1 0 0") + shown("red on red", more="1 0 0 rg") + seen) == ["seen by everybody"]
    assert texts(seen + shown("beside the page", x=500)) == ["seen by everybody"]
    assert texts(seen + shown("cut off"), page="/CropBox [0 0 400 100]") == ["seen by everybody"]


def test_white_text_on_a_dark_bar_or_a_picture_is_seen():
    assert texts(rectangle("0 0 0.5") + shown("white on blue", more="1 g")) == ["white on blue"]
    assert texts(picture(height=20) + shown("white on a picture", more="1 g")) == ["white on a picture"]
    assert texts(shown("outlined", more="1 Tr 1 g")) == ["outlined"]


def test_a_cover_inside_a_form_counts_where_the_form_is_drawn():
    form = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 50 50] /Matrix [1 0 0 1 0 0] /Length %d >>\nstream\n%s\nendstream"
    )
    bar = rectangle("0 0 0", x=0, y=0, width=50, height=10)
    objects = {20: form % (len(bar), bar)}
    content = shown("low and seen", y=5, size=8) + shown("hidden", y=150)
    assert texts(content + b"q 6 0 0 6 10 140 cm /X Do Q", objects=objects) == ["low and seen"]
    assert texts(content + b"q 1 0 0 1 300 60 cm /X Do Q", objects=objects) == ["low and seen", "hidden"]


def test_what_another_engine_recognized_is_recognized_anew():
    assert texts(picture() + shown("drawn invisibly", more="3 Tr")) is None
    assert texts(shown("behind a picture") + picture()) is None
    assert texts(shown("drawn invisibly", more="3 Tr") + shown("and a line that is seen", y=60)) is None


def test_a_shadow_is_read_once():
    doubled = shown("All balls", x=31, y=149, more="0.5 g") + shown("All balls")
    assert texts(doubled) == ["All balls"]
    assert texts(shown("hill hill")) == ["hill hill"]
    assert texts(shown("hill") + shown("hill", x=36)) != ["hill"], "they overlap, but are no shadow"


def test_a_word_that_is_hyphenated_stays_on_its_two_lines():
    found = read(drawn_pdf(shown("a word that is hyphen-") + shown("ated at the end", y=125)))
    assert [text for text, _ in found] == ["a word that is hyphen-", "ated at the end"]
    assert all(polygon[7] - polygon[1] < 0.15 for _, polygon in found)


def test_cells_of_a_row_are_lines_of_their_own_and_a_raised_number_is_none():
    row = b"BT /F1 10 Tf 30 150 Td (Item) Tj 80 0 Td (Price) Tj ET\n"
    assert texts(row) == ["Item", "Price"]
    raised = b"BT /F1 10 Tf 30 150 Td (273.750) Tj /F1 6 Tf 3.5 Ts (1) Tj ET\n"
    assert texts(raised) == ["273.7501"]


@pytest.mark.parametrize(
    ("matrix", "edge"),
    [
        ("1 0 0 1 50 60", (1, 0)),
        ("0 -1 1 0 50 190", (0, 1)),
        ("-1 0 0 -1 250 60", (-1, 0)),
        ("0 1 -1 0 50 20", (0, -1)),
    ],
    ids=["right", "down", "on its head", "up"],
)
@pytest.mark.parametrize("page_turn", [0, 90, 180, 270])
def test_a_polygon_begins_at_the_texts_own_top_left(matrix, edge, page_turn):
    content = f"BT /F1 12 Tf {matrix} Tm (Turned words) Tj ET".encode()
    [(text, polygon)] = read(drawn_pdf(content, page=f"/Rotate {page_turn}"))
    assert text == "Turned words"
    for _ in range(page_turn // 90):
        edge = -edge[1], edge[0]
    x, y = polygon[2] - polygon[0], polygon[3] - polygon[1]
    assert (round(x / max(abs(x), abs(y))), round(y / max(abs(x), abs(y)))) == edge
    # The second edge goes on clockwise.
    assert (polygon[4] - polygon[2]) * -edge[1] + (polygon[5] - polygon[3]) * edge[0] > 0


def test_a_page_whose_text_runs_up_is_read_from_its_left_to_its_right():
    lines = b"".join(f"BT /F1 12 Tf 0 1 -1 0 {50 + 30 * n} 20 Tm (line number {n}) Tj ET\n".encode() for n in (2, 0, 1))
    with closing(PdfPages(drawn_pdf(lines), max_page_pixels=10_000_000)) as pages:
        page = embedded_page(pages.text_lines(1, words=True), width_px=800, height_px=400, dpi=144)
    assert page.text.split("\n") == ["line number 0", "line number 1", "line number 2"]
    assert page.applied_rotation_degrees == 0
    for line in page.lines:
        assert [word.text for word in line.words][:2] == ["line", "number"]
        assert all(later.polygon[1] < earlier.polygon[1] for earlier, later in pairwise(line.words))


def test_ligatures_are_spelt_out():
    mapping = b"1 beginbfchar <41> <FB01> endbfchar 1 beginbfchar <42> <00AD> endbfchar"
    cmap = (
        b"/CIDInit /ProcSet findresource begin begincmap /CMapName /X def /CMapType 2 def"
        b" 1 begincodespacerange <00> <FF> endcodespacerange " + mapping + b" endcmap end"
    )
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 21 0 R >>"
    objects = {3: font, 21: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(cmap), cmap)}
    assert texts(shown("Ane oAce"), objects=objects) == ["fine ofice"]


def test_letters_in_the_wrong_places_of_the_alphabet_are_recognized_instead():
    lines = [SENTENCE[start : start + 60] for start in range(0, len(SENTENCE), 60)]
    for change, is_read in ((str, True), (lambda line: codecs.encode(line, "rot13"), False)):
        content = b"".join(shown(change(line), y=150 - 20 * row, size=10) for row, line in enumerate(lines))
        assert (texts(content) is not None) == is_read


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        (SENTENCE, False),
        (codecs.encode(SENTENCE, "rot13"), True),
        ("".join(chr(ord(letter) - 29) if letter.isalpha() else letter for letter in SENTENCE.lower() * 2), True),
        ("qwx zjkv" * 5, False),
        ("Москва и область " * 40, False),
        ("12.345,67 " * 100, False),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy. " * 10, False),
    ],
    ids=["English", "rot13", "glyph numbers", "too short to tell", "Cyrillic", "numbers", "accents"],
)
def test_garbled_text_is_told_by_its_letters(text, garbled):
    assert is_garbled(text) == garbled


def test_lines_in_any_order_are_put_into_reading_order():
    with closing(PdfPages(text_pdf(["first", "second"]), max_page_pixels=10_000_000)) as pages:
        lines = pages.text_lines(1, words=False)
    assert embedded_page(lines[::-1], width_px=800, height_px=400, dpi=144).text == "first\nsecond"
