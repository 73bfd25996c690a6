"""Tells which characters of a PDF page a reader sees: not invisible ones, covered ones, or white ones on white."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

Colour = tuple[int, int, int]
Matrix = tuple[float, float, float, float, float, float]

# Objects looked at; more are only found on drawings.
MAX_OBJECTS = 5000
MAX_DEPTH = 3
WHITE: Colour = (255, 255, 255)
# Colours that differ by this much at most, of 255, are one to a reader.
SAME_COLOUR = 8
OPAQUE = 250
# Ways to draw text (ISO 32000, table 104) that leave nothing: invisible, and as a clipping path.
_UNSEEN_MODES = frozenset({pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP})
_STROKED_MODE = pdfium_c.FPDF_TEXTRENDERMODE_STROKE
# A rectangle: a move and up to four lines. Other paths may leave open what their bounds hold.
_MAX_RECTANGLE_SEGMENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """How a text object is drawn: its turn, and its colour; None: not known, so seen."""

    order: int
    unseen: bool
    colour: Colour | None


class Sight:
    """The objects of a page in the order in which they are drawn.

    Attributes:
        picture_cover: Share of the page that its pictures cover, at most 1 each; overlaps count twice.
    """

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._texts: dict[int, _Text] = {}
        orders, boxes, colours = [], [], []
        width, height = page.get_size()
        covered = 0.0
        for order, item in enumerate(page.get_objects(max_depth=MAX_DEPTH)):
            if order >= MAX_OBJECTS:
                break
            if item.type == pdfium_c.FPDF_PAGEOBJ_TEXT:
                self._texts[_address(item.raw)] = _text(order, item)
                continue
            is_picture = item.type == pdfium_c.FPDF_PAGEOBJ_IMAGE
            colour = None if is_picture else _fill_of_rectangle(item)
            if not is_picture and colour is None:
                continue
            box = _bounds(item)
            if is_picture:
                covered += min(width * height, (box[2] - box[0]) * (box[3] - box[1]))
            if not pdfium_c.FPDFPageObj_HasTransparency(item):
                orders.append(order)
                boxes.append(box)
                colours.append(colour)
        self.picture_cover = covered / max(width * height, 1e-9)
        self._orders = np.array(orders, dtype=np.int64)
        self._boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        self._colours = colours

    def of(self, text_object: Any, x: float, y: float) -> tuple[bool, bool]:
        """Says of a character whether it is seen, and if not, whether it is part of a layer behind a picture.

        Args:
            text_object: PDFium's handle of the object that draws it.
            x: Of its middle, in points.
            y: Of its middle, in points.
        """
        text = self._texts.get(_address(text_object)) if text_object else None
        if text is None:
            return True, False
        if text.unseen:
            return False, True
        left, bottom, right, top = self._boxes.T
        holding = np.flatnonzero((left <= x) & (x <= right) & (bottom <= y) & (y <= top))
        later = holding[self._orders[holding] > text.order]
        if len(later):
            return False, any(self._colours[index] is None for index in later)
        if text.colour is None:
            return True, False
        paper: Colour | None = self._colours[holding[-1]] if len(holding) else WHITE
        same = paper is not None and _same(text.colour, paper)
        return not same, False


def _text(order: int, item: pdfium.PdfObject) -> _Text:
    mode = pdfium_c.FPDFTextObj_GetTextRenderMode(item)
    fill = None if mode == _STROKED_MODE else _fill(item)
    return _Text(
        order=order,
        unseen=mode in _UNSEEN_MODES or (fill is not None and fill[3] == 0),
        colour=fill[:3] if fill else None,
    )


def _fill(item: pdfium.PdfObject) -> tuple[int, int, int, int] | None:
    parts = [ctypes.c_uint() for _ in range(4)]
    if not pdfium_c.FPDFPageObj_GetFillColor(item, *parts):
        return None
    red, green, blue, alpha = (part.value for part in parts)
    return red, green, blue, alpha


def _fill_of_rectangle(item: pdfium.PdfObject) -> Colour | None:
    """Gives the colour of a filled, opaque rectangle; None for all else."""
    if item.type != pdfium_c.FPDF_PAGEOBJ_PATH:
        return None
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    if not pdfium_c.FPDFPath_GetDrawMode(item, mode, stroked) or mode.value == pdfium_c.FPDF_FILLMODE_NONE:
        return None
    if pdfium_c.FPDFPath_CountSegments(item) > _MAX_RECTANGLE_SEGMENTS:
        return None
    fill = _fill(item)
    return fill[:3] if fill and fill[3] >= OPAQUE else None


def _bounds(item: pdfium.PdfObject) -> tuple[float, float, float, float]:
    """Gives left, bottom, right and top on the page; PDFium tells those of a form's object within the form."""
    left, bottom, right, top = item.get_bounds()
    form = item.container
    while form is not None:
        matrix: npt.NDArray[np.float64] = np.array(form.get_matrix().get(), dtype=np.float64).reshape(3, 2)
        corners = np.array([(x, y, 1) for x in (left, right) for y in (bottom, top)]) @ matrix
        (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
        form = form.container
    return float(left), float(bottom), float(right), float(top)


def _same(one: Colour, other: Colour) -> bool:
    return all(abs(a - b) <= SAME_COLOUR for a, b in zip(one, other, strict=True))


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
