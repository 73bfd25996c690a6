"""Reads the text layer of a PDF page, and tells whether it is what a reader of the page sees."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import TypeAlias

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from triptych.v1.ocr_pb2 import TextLine, TextWord
from triptych.workers.media.garbling import is_garbled
from triptych.workers.media.pdf_characters import Box, Character, characters
from triptych.workers.media.pdf_lines import Line, Word, lines
from triptych.workers.media.pdf_sight import Sight

Corners: TypeAlias = Callable[[Box], list[float]]

# A layer with more unreadable characters than this comes from a font without a proper mapping.
MAX_BAD_SHARE = 0.1
# A page mostly covered by pictures is a scan, unless it also carries this many characters.
SCAN_COVER = 0.5
SCAN_MIN_CHARACTERS = 200
# With more characters than this behind a picture or drawn invisibly, the layer is what another engine recognized.
MAX_LAYER_SHARE = 0.05


def read_text_layer(page: pdfium.PdfPage, *, words: bool) -> list[TextLine] | None:
    """Gives the lines of the page's text layer in the file's order, or None if it cannot be trusted.

    Not trusted are pages with form fields (their values are not in the layer), scans with little text, layers that
    another engine put behind a scan, and text whose characters are largely unknown or in the wrong places of the
    alphabet. What no reader sees is left out: text outside the page, covered, or in the colour of its paper; and of a
    shadow the second copy.

    Args:
        page: An open page.
        words: Whether the lines get their words.

    Returns:
        Lines with text and a polygon of four corners, normalised to the page as shown.
    """
    if _has_form_fields(page):
        return None
    sight = Sight(page)
    text_page = page.get_textpage()
    try:
        found = characters(text_page, sight, _shown_box(page))
    finally:
        text_page.close()
    inked = [character for character in found if not character.text.isspace()]
    layer = sum(character.behind for character in inked)
    if layer > MAX_LAYER_SHARE * len(inked):
        return None
    seen = [character for character in found if character.seen]
    visible = [character for character in seen if not character.text.isspace()]
    readable = sum(character.text.isalnum() for character in visible)
    if not readable or sum(character.bad for character in visible) > MAX_BAD_SHARE * len(visible):
        return None
    if len(visible) < SCAN_MIN_CHARACTERS and sight.picture_cover > SCAN_COVER:
        return None
    if is_garbled("".join(character.text for character in seen)):
        return None
    corners = _frame(page)
    turn = page.get_rotation()
    return [_text_line(line, corners, turn, words) for line in lines(seen)]


def _text_line(line: Line, corners: Corners, page_turn: int, words: bool) -> TextLine:
    turn = (page_turn + line.turn) % 360

    def polygon(characters: Iterable[Character]) -> list[float]:
        box = corners(_union(characters))
        # An upright box; its first corner is that at the text's own top left.
        first = turn // 90 * 2
        return box[first:] + box[:first]

    result = TextLine(text=" ".join(map(_text, line.words)), polygon=polygon(c for word in line.words for c in word))
    if words:
        result.words.extend(TextWord(text=_text(word), polygon=polygon(word)) for word in line.words)
    return result


def _text(word: Word) -> str:
    text = "".join(character.text for character in word)
    # Characters beyond the basic plane may come as two halves; a lone half cannot travel.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _union(characters: Iterable[Character]) -> Box:
    lefts, bottoms, rights, tops = zip(*(character.box for character in characters), strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _shown_box(page: pdfium.PdfPage) -> Box:
    """Gives the part of the page that is shown, in points: the crop box within the media box."""
    left, bottom, right, top = page.get_bbox()
    return left, bottom, right, top


def _frame(page: pdfium.PdfPage) -> Corners:
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
