"""PDF files to RGB pages, and to the text that they already carry."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaEncrypted, RangeOutsideSource
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_EMBEDDED, OcrPage, TextLine
from triptych.workers.media.pdf_text import read_text_layer
from triptych.workers.media.reading_order import reading_order, write_lines
from triptych.workers.media.straightening import direction, turned_back

Pixels = npt.NDArray[np.uint8]

POINTS_PER_INCH = 72
# Below this resolution not even a poster's text can be read: such a page is refused, not drawn.
MIN_DPI = 36


class PdfPages:
    """The pages of one PDF, drawn or read one at a time. For one thread: PDFium keeps global state.

    Args:
        data: The file's bytes.
        password: Opens it if it is encrypted, the user's or the owner's.
        max_page_pixels: Most pixels of one drawn page; a larger one is drawn at a lower resolution.

    Raises:
        MediaEncrypted: It needs a password, or another one.
        MediaCorrupt: No PDF, damaged beyond repair, or without pages.
    """

    def __init__(self, data: bytes | mmap.mmap, *, password: str = "", max_page_pixels: int) -> None:
        self._max_page_pixels = max_page_pixels
        self._document = _open(data, password)
        self.page_count = len(self._document)
        if self.page_count < 1:
            self._document.close()
            raise MediaCorrupt("the PDF has no pages")

    def close(self) -> None:
        """Lets go of the document."""
        self._document.close()

    def pixels(self, page_number: int, *, dpi: int) -> tuple[Pixels, int]:
        """Draws one page as a viewer shows it: /Rotate applied, cropped, annotations and form fields drawn.

        Args:
            page_number: From 1.
            dpi: Resolution wanted.

        Returns:
            Shape (height, width, 3), RGB; and the resolution used, lower than `dpi` where the page is huge.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be read.
            InputTooLarge: Even at `MIN_DPI` it has too many pixels.
        """
        with self._page(page_number) as page:
            width_pt, height_pt = page.get_size()
            dpi = _fitting_dpi(width_pt, height_pt, dpi, self._max_page_pixels)
            width_px, height_px = _in_pixels(page, dpi)
            pixels = np.full((height_px, width_px, 3), 255, np.uint8)
            self._draw(page, pixels)
        return pixels, dpi

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:
        """Gives the page's own text, if it can be trusted to be what a reader sees.

        Args:
            page_number: From 1.
            dpi: Resolution that the page's size is told at.
            words: Whether the lines get their words.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be read.
        """
        lines = self.text_lines(page_number, words=words)
        if lines is None:
            return None
        with self._page(page_number) as page:
            width_px, height_px = _in_pixels(page, dpi)
        return embedded_page(lines, width_px=width_px, height_px=height_px, dpi=dpi)

    def text_lines(self, page_number: int, *, words: bool) -> list[TextLine] | None:
        """Gives the lines of that text in the order in which the file has them; see `embedded_text`."""
        with self._page(page_number) as page:
            return read_text_layer(page, words=words)

    @contextmanager
    def _page(self, page_number: int) -> Iterator[pdfium.PdfPage]:
        if not 1 <= page_number <= self.page_count:
            raise RangeOutsideSource(f"page {page_number} of {self.page_count}")
        try:
            page = self._document[page_number - 1]
        except pdfium.PdfiumError as error:
            raise MediaCorrupt(f"page {page_number} cannot be read") from error
        try:
            yield page
        finally:
            page.close()

    def _draw(self, page: pdfium.PdfPage, pixels: Pixels) -> None:
        height_px, width_px, _ = pixels.shape
        buffer = pixels.ctypes.data_as(ctypes.c_void_p)
        bitmap = pdfium_c.FPDFBitmap_CreateEx(width_px, height_px, pdfium_c.FPDFBitmap_BGR, buffer, width_px * 3)
        if not bitmap:
            raise MemoryError(f"no bitmap of {width_px} x {height_px} pixels")
        flags = pdfium_c.FPDF_ANNOT | pdfium_c.FPDF_REVERSE_BYTE_ORDER
        frame = (bitmap, page, 0, 0, width_px, height_px, 0, flags)
        try:
            pdfium_c.FPDF_RenderPageBitmap(*frame)
            if self._document.formenv:
                pdfium_c.FPDF_FFLDraw(self._document.formenv, *frame)
        finally:
            pdfium_c.FPDFBitmap_Destroy(bitmap)


def embedded_page(lines: list[TextLine], *, width_px: int, height_px: int, dpi: int) -> OcrPage:
    """Makes a page of text lines that a file carries, in any order: many files write a form's values after its labels.

    Args:
        lines: With text and polygon.
        width_px: Of the page at `dpi`.
        height_px: Of the page at `dpi`.
        dpi: Resolution that the size is told in.
    """
    page = OcrPage(width_px=width_px, height_px=height_px, render_dpi=dpi, text_origin=TEXT_ORIGIN_EMBEDDED)
    size = np.array([width_px, height_px])
    lengths: Counter[int] = Counter()
    for line in lines:
        lengths[direction(np.reshape(line.polygon, (4, 2)) * size)] += len(line.text)
    turn = max(lengths, key=lambda turn: (lengths[turn], -turn), default=0)
    boxes = turned_back([line.polygon for line in lines], turn, width_px=width_px, height_px=height_px)
    write_lines(page, (lines[index] for index in reading_order(boxes)))
    return page


def _open(data: bytes | mmap.mmap, password: str) -> pdfium.PdfDocument:
    mapped = data if isinstance(data, bytes) else (ctypes.c_ubyte * len(data)).from_buffer(data)
    try:
        document = pdfium.PdfDocument(mapped, password=password or None)
    except pdfium.PdfiumError as error:
        # The code may be that of an earlier file: PDFium sets none for a document without pages.
        encrypted = data.find(b"/Encrypt") >= 0
        if encrypted and error.err_code == pdfium_c.FPDF_ERR_PASSWORD:
            what = "the password does not open the PDF" if password else "the PDF needs a password"
            raise MediaEncrypted(what) from error
        if encrypted and error.err_code == pdfium_c.FPDF_ERR_SECURITY:
            raise MediaEncrypted("the PDF is encrypted in a way that cannot be opened") from error
        raise MediaCorrupt("the PDF cannot be read") from error
    try:
        # Without it the values of form fields are not drawn. JavaScript and XFA are not built in and stay unread.
        document.init_forms()
    except pdfium.PdfiumError as error:
        document.close()
        raise MediaCorrupt("the PDF's form cannot be read") from error
    return document


def _in_pixels(page: pdfium.PdfPage, dpi: int) -> tuple[int, int]:
    """Gives (width, height) of a page as shown, whether or not it could be drawn at that size."""
    width_pt, height_pt = page.get_size()
    return max(1, round(width_pt * dpi / POINTS_PER_INCH)), max(1, round(height_pt * dpi / POINTS_PER_INCH))


def _fitting_dpi(width_pt: float, height_pt: float, dpi: int, max_pixels: int) -> int:
    area_at_one_dpi = width_pt * height_pt / POINTS_PER_INCH**2
    # One row and one column more, as the size in pixels is rounded.
    fitting = math.floor(math.sqrt(max_pixels / max(area_at_one_dpi, 1e-9)) * 0.999)
    if fitting < min(dpi, MIN_DPI):
        raise InputTooLarge(
            f"a page of {width_pt:.0f} x {height_pt:.0f} points", limit=max_pixels, value=area_at_one_dpi * dpi**2
        )
    return min(dpi, fitting)
