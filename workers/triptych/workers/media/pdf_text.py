"""Reads the text layer of a PDF page, and tells whether it is what a reader of the page sees."""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from triptych.v1.ocr_pb2 import TextLine, TextWord

Box: TypeAlias = tuple[float, float, float, float]

# A layer with more unreadable characters than this comes from a font without a proper mapping.
MAX_BAD_SHARE = 0.1
# A page mostly covered by pictures is a scan, unless it also carries this many characters.
SCAN_COVER = 0.5
SCAN_MIN_CHARACTERS = 200
# Objects looked at to find pictures; more are only found on drawings.
MAX_OBJECTS = 2000
# PDFium's mark for a hyphen at the end of a line.
HYPHEN_MARK = "\x02"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Character:
    text: str
    box: Box
    bad: bool


def read_text_layer(page: pdfium.PdfPage, *, words: bool) -> list[TextLine] | None:
    """Gives the lines of the page's text layer in the file's order, or None if it cannot be trusted.

    Not trusted are pages with form fields (their values are not in the layer), scans with little text, and text whose
    characters are largely unknown.

    Args:
        page: An open page.
        words: Whether the lines get their words.

    Returns:
        Lines with text and a polygon of four corners, normalised to the page as shown.
    """
    if _has_form_fields(page):
        return None
    text_page = page.get_textpage()
    try:
        characters = list(_characters(text_page))
    finally:
        text_page.close()
    visible = [character for character in characters if not character.text.isspace()]
    readable = sum(character.text.isalnum() for character in visible)
    if not readable or sum(character.bad for character in visible) > MAX_BAD_SHARE * len(visible):
        return None
    if len(visible) < SCAN_MIN_CHARACTERS and _picture_cover(page) > SCAN_COVER:
        return None
    to_shown = _frame(page)
    return [_text_line(line, to_shown, words) for line in _lines(characters)]


def _characters(text_page: pdfium.PdfTextPage) -> Iterator[_Character]:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for index in range(text_page.count_chars()):
        code = pdfium_c.FPDFText_GetUnicode(text_page, index)
        text = chr(code) if 0 < code < 0x110000 else "\ufffd"
        if text == HYPHEN_MARK:
            text = "-"
        pdfium_c.FPDFText_GetCharBox(text_page, index, left, right, bottom, top)
        unmapped = pdfium_c.FPDFText_HasUnicodeMapError(text_page, index) == 1
        # Cc: control, Co: private use, Cn: unassigned.
        bad = unmapped or text == "\ufffd" or (not text.isspace() and unicodedata.category(text) in {"Cc", "Co", "Cn"})
        yield _Character(text=text, box=(left.value, bottom.value, right.value, top.value), bad=bad)


def _lines(characters: list[_Character]) -> Iterator[list[list[_Character]]]:
    """Gives each line as its words, each word as its characters."""
    words: list[list[_Character]] = []
    word: list[_Character] = []
    for character in [*characters, _Character(text="\n", box=(0, 0, 0, 0), bad=False)]:
        if not character.text.isspace():
            word.append(character)
            continue
        if word:
            words.append(word)
            word = []
        if character.text in "\r\n" and words:
            yield words
            words = []


def _text_line(line: list[list[_Character]], to_shown: Callable[[Box], list[float]], words: bool) -> TextLine:
    texts = [_text(word) for word in line]
    result = TextLine(text=" ".join(texts), polygon=to_shown(_union([c for word in line for c in word])))
    if words:
        pairs = zip(texts, line, strict=True)
        result.words.extend(TextWord(text=text, polygon=to_shown(_union(word))) for text, word in pairs)
    return result


def _text(word: list[_Character]) -> str:
    text = "".join(character.text for character in word)
    # Characters beyond the basic plane may come as two halves; a lone half cannot travel.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _union(characters: list[_Character]) -> Box:
    boxes = [character.box for character in characters]
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _frame(page: pdfium.PdfPage) -> Callable[[Box], list[float]]:
    """Gives the map from page space (points, y up, before /Rotate) to four corners on the page as shown, 0 to 1."""
    size = 1_000_000  # PDFium answers in whole pixels: this makes them fine enough
    device_x, device_y = ctypes.c_int(), ctypes.c_int()

    def shown(x: float, y: float) -> tuple[float, float]:
        pdfium_c.FPDF_PageToDevice(page, 0, 0, size, size, 0, x, y, device_x, device_y)
        return device_x.value / size, device_y.value / size

    (origin_x, origin_y), (right_x, right_y), (up_x, up_y) = shown(0, 0), shown(100, 0), shown(0, 100)

    def to_shown(box: Box) -> list[float]:
        xs, ys = [], []
        for x, y in ((box[0], box[1]), (box[2], box[3])):
            xs.append(origin_x + x * (right_x - origin_x) / 100 + y * (up_x - origin_x) / 100)
            ys.append(origin_y + x * (right_y - origin_y) / 100 + y * (up_y - origin_y) / 100)
        left, right = (min(1.0, max(0.0, x)) for x in sorted(xs))
        top, bottom = (min(1.0, max(0.0, y)) for y in sorted(ys))
        return [left, top, right, top, right, bottom, left, bottom]

    return to_shown


def _has_form_fields(page: pdfium.PdfPage) -> bool:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        if annotation:
            kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
            pdfium_c.FPDFPage_CloseAnnot(annotation)
            if kind == pdfium_c.FPDF_ANNOT_WIDGET:
                return True
    return False


def _picture_cover(page: pdfium.PdfPage) -> float:
    """Gives the share of the page that its pictures cover, at most 1 each; overlaps count twice."""
    width, height = page.get_size()
    covered = 0.0
    for count, item in enumerate(page.get_objects(max_depth=3)):
        if count >= MAX_OBJECTS:
            break
        if item.type == pdfium_c.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = item.get_bounds()
            covered += min(width * height, max(0.0, right - left) * max(0.0, top - bottom))
    return float(covered / max(width * height, 1e-9))
