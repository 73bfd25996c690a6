"""The characters of a PDF page as PDFium finds them, each with its place and whether a reader sees it."""

from __future__ import annotations

import ctypes
import math
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from triptych.workers.media.pdf_sight import Sight

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top in points, y up."""

# PDFium's mark for a hyphen at the end of a line.
HYPHEN_MARK = "\x02"
# Two copies of a character that lie within this share of its height are one with a shadow; "ll" is wider.
SHADOW = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """One of them; or a blank or line break, which PDFium makes up between them.

    Attributes:
        text: What it stands for; several letters for a ligature.
        box: Of its ink.
        line_box: From ascender to descender, as high as that of its neighbours.
        turn: Degrees clockwise by which it is turned: 0, 90, 180 or 270.
        bad: Whether the font does not say what it stands for.
        seen: Whether a reader of the page sees it.
        behind: Whether it is drawn invisibly or behind a picture.
    """

    text: str
    box: Box = (0, 0, 0, 0)
    line_box: Box = (0, 0, 0, 0)
    turn: int = 0
    bad: bool = False
    seen: bool = True
    behind: bool = False


def characters(text_page: pdfium.PdfTextPage, sight: Sight, shown: Box) -> list[Character]:
    """Gives the characters of a page in the file's order.

    Args:
        text_page: Of the page.
        sight: Of the page.
        shown: Part of the page that is shown.
    """
    found: list[Character] = []
    copies = _Copies()
    for index in range(text_page.count_chars()):
        code = pdfium_c.FPDFText_GetUnicode(text_page, index)
        text = chr(code) if 0 < code < 0x110000 else "\ufffd"
        if text.isspace():
            found.append(Character(text=text))
            continue
        handle = pdfium_c.FPDFText_GetTextObject(text_page, index)
        character = _character(text_page, index, text, sight, handle, shown)
        address = ctypes.cast(handle, ctypes.c_void_p).value or 0
        if not (character.seen and copies.has(character, address)):
            found.append(character)
    return found


def _character(
    text_page: pdfium.PdfTextPage, index: int, text: str, sight: Sight, handle: object, shown: Box
) -> Character:
    box = _tight_box(text_page, index)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    seen, behind = sight.of(handle, x, y)
    angle = pdfium_c.FPDFText_GetCharAngle(text_page, index)
    unmapped = pdfium_c.FPDFText_HasUnicodeMapError(text_page, index) == 1
    if text == HYPHEN_MARK:
        text = "-"
    # Cc: control, Co: private use, Cn: unassigned.
    bad = unmapped or text == "\ufffd" or unicodedata.category(text) in {"Cc", "Co", "Cn"}
    return Character(
        text=_spelt_out(text),
        box=box,
        line_box=_loose_box(text_page, index, box),
        turn=round(math.degrees(max(0.0, angle)) / 90) * 90 % 360,
        bad=bad,
        seen=seen and shown[0] <= x <= shown[2] and shown[1] <= y <= shown[3],
        behind=behind,
    )


def _tight_box(text_page: pdfium.PdfTextPage, index: int) -> Box:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium_c.FPDFText_GetCharBox(text_page, index, left, right, bottom, top)
    return left.value, bottom.value, right.value, top.value


def _loose_box(text_page: pdfium.PdfTextPage, index: int, tight: Box) -> Box:
    rectangle = pdfium_c.FS_RECTF()
    if not pdfium_c.FPDFText_GetLooseCharBox(text_page, index, rectangle):
        return tight
    return rectangle.left, rectangle.bottom, rectangle.right, rectangle.top


def _spelt_out(text: str) -> str:
    """Gives the letters of a ligature or of a form that depends on the neighbours; soft hyphens are hyphens."""
    if "\ufb00" <= text <= "\ufdff" or "\ufe70" <= text <= "\ufefe":
        return unicodedata.normalize("NFKC", text)
    return "-" if text == "\u00ad" else text


class _Copies:
    """Remembers where characters stand, to find those that another object has drawn at nearly the same place."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int, int], list[tuple[float, float, int]]] = {}

    def has(self, character: Character, handle: int) -> bool:
        """Whether there is such a copy; if not, the character is remembered."""
        left, bottom, right, top = character.line_box
        x, y, reach = (left + right) / 2, (bottom + top) / 2, max(SHADOW * (top - bottom), 1e-6)
        # Cells as wide as the reach of a character of this size: a copy is in its cell or the next.
        column, row = int(x / reach), int(y / reach)
        for cell in ((column + across, row + down) for across in (-1, 0, 1) for down in (-1, 0, 1)):
            for other_x, other_y, other in self._places.get((character.text, *cell), ()):
                if other != handle and abs(x - other_x) <= reach and abs(y - other_y) <= reach:
                    return True
        self._places.setdefault((character.text, column, row), []).append((x, y, handle))
        return False
