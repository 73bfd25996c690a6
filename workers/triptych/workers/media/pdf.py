"""PDF files to RGB pages, and to the text that they already carry."""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaEncrypted, RangeOutsideSource
from triptych.v1.ocr_pb2 import TextLine
from triptych.workers.media.pdf_text import read_text_layer

Pixels = npt.NDArray[np.uint8]

POINTS_PER_INCH = 72
# Below this resolution not even a poster's text can be read: such a page is refused, not drawn.
MIN_DPI = 36
# How long one page may take to draw, and how long it may hold the lock at a time, in seconds.
MAX_DRAW_S = 60.0
DRAW_SLICE_S = 0.25

# PDFium keeps global state: one thread of the process may be inside it at a time.
_pdfium_lock = threading.Lock()


class PdfPages:
    """The pages of one PDF, drawn or read one at a time. Use it as a context manager.

    Args:
        data: The file's bytes.
        max_page_pixels: Most pixels of one drawn page; a larger one is drawn at a lower resolution.

    Raises:
        MediaEncrypted: A password would be needed.
        MediaCorrupt: No PDF, damaged beyond repair, or without pages.
    """

    def __init__(self, data: bytes, *, max_page_pixels: int) -> None:
        self._max_page_pixels = max_page_pixels
        with _pdfium_lock:
            self._document = _open(data)
            self.page_count = len(self._document)
            if self.page_count < 1:
                self._document.close()
                raise MediaCorrupt("the PDF has no pages")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not left to the garbage collector: it would enter PDFium from any thread, without the lock.
        with _pdfium_lock:
            self._document.close()

    def pixels(self, page_number: int, *, dpi: int, check: Callable[[], None] = lambda: None) -> tuple[Pixels, int]:
        """Draws one page as a viewer shows it: /Rotate applied, annotations and form fields drawn.

        Args:
            page_number: From 1.
            dpi: Resolution wanted.
            check: Called now and then; what it raises ends the drawing.

        Returns:
            Shape (height, width, 3), RGB; and the resolution used, lower than `dpi` where the page is huge.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be read.
            InputTooLarge: Even at `MIN_DPI` it has too many pixels, or it takes over `MAX_DRAW_S` to draw.
        """
        with self._page(page_number) as page:
            with _pdfium_lock:
                width_pt, height_pt = page.get_size()
            dpi = _fitting_dpi(width_pt, height_pt, dpi, self._max_page_pixels)
            width_px = max(1, round(width_pt * dpi / POINTS_PER_INCH))
            height_px = max(1, round(height_pt * dpi / POINTS_PER_INCH))
            pixels = np.full((height_px, width_px, 3), 255, np.uint8)
            self._draw(page, pixels, check)
        return pixels, dpi

    def size_px(self, page_number: int, *, dpi: int) -> tuple[int, int]:
        """Gives (width, height) of a page as shown, in pixels at `dpi`, whether or not it could be drawn at that size.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be read.
        """
        with self._page(page_number) as page, _pdfium_lock:
            width_pt, height_pt = page.get_size()
        return max(1, round(width_pt * dpi / POINTS_PER_INCH)), max(1, round(height_pt * dpi / POINTS_PER_INCH))

    def text_lines(self, page_number: int, *, words: bool) -> list[TextLine] | None:
        """Reads the page's own text, if it can be trusted to be what a reader sees.

        Args:
            page_number: From 1.
            words: Whether the lines get their words.

        Returns:
            Lines in the order in which the file has them, polygons as in OcrPage; None if there is no sane text layer.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be read.
        """
        with self._page(page_number) as page, _pdfium_lock:
            return read_text_layer(page, words=words)

    @contextmanager
    def _page(self, page_number: int) -> Iterator[pdfium.PdfPage]:
        if not 1 <= page_number <= self.page_count:
            raise RangeOutsideSource(f"page {page_number} of {self.page_count}")
        try:
            with _pdfium_lock:
                page = self._document[page_number - 1]
        except pdfium.PdfiumError as error:
            raise MediaCorrupt(f"page {page_number} cannot be read") from error
        try:
            yield page
        finally:
            with _pdfium_lock:
                page.close()

    def _draw(self, page: pdfium.PdfPage, pixels: Pixels, check: Callable[[], None]) -> None:
        """Draws in slices, so that a slow page neither keeps the other threads out nor outlives its job."""
        height_px, width_px, _ = pixels.shape
        slice_end, draw_end = 0.0, time.monotonic() + MAX_DRAW_S
        pause = pdfium_c.IFSDK_PAUSE(version=1)
        pause_type = dict(pdfium_c.IFSDK_PAUSE._fields_)["NeedToPauseNow"]
        pause.NeedToPauseNow = pause_type(lambda _: time.monotonic() > slice_end)
        flags = pdfium_c.FPDF_ANNOT | pdfium_c.FPDF_REVERSE_BYTE_ORDER
        buffer = pixels.ctypes.data_as(ctypes.c_void_p)
        with _pdfium_lock:
            bitmap = pdfium_c.FPDFBitmap_CreateEx(width_px, height_px, pdfium_c.FPDFBitmap_BGR, buffer, width_px * 3)
            if not bitmap:
                raise MemoryError(f"no bitmap of {width_px} x {height_px} pixels")
            frame = (bitmap, page, 0, 0, width_px, height_px, 0, flags)
            slice_end = time.monotonic() + DRAW_SLICE_S
            status = pdfium_c.FPDF_RenderPageBitmap_Start(*frame, pause)
        try:
            while status == pdfium_c.FPDF_RENDER_TOBECONTINUED:
                check()
                if time.monotonic() > draw_end:
                    raise InputTooLarge("the page takes too long to draw", limit=MAX_DRAW_S, value=MAX_DRAW_S)
                with _pdfium_lock:
                    slice_end = time.monotonic() + DRAW_SLICE_S
                    status = pdfium_c.FPDF_RenderPage_Continue(page, pause)
            if status != pdfium_c.FPDF_RENDER_DONE:
                raise MediaCorrupt("the page cannot be drawn")
            if self._document.formenv:
                with _pdfium_lock:
                    pdfium_c.FPDF_FFLDraw(self._document.formenv, *frame)
        finally:
            with _pdfium_lock:
                pdfium_c.FPDF_RenderPage_Close(page)
                pdfium_c.FPDFBitmap_Destroy(bitmap)


def _open(data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        # The code may be that of an earlier file: PDFium sets none for a document without pages.
        asked = error.err_code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY}
        if asked and b"/Encrypt" in data:
            raise MediaEncrypted("the PDF needs a password") from error
        raise MediaCorrupt("the PDF cannot be read") from error
    try:
        # Without it the values of form fields are not drawn. JavaScript and XFA are not built in and stay unread.
        document.init_forms()
    except pdfium.PdfiumError as error:
        document.close()
        raise MediaCorrupt("the PDF's form cannot be read") from error
    return document


def _fitting_dpi(width_pt: float, height_pt: float, dpi: int, max_pixels: int) -> int:
    area_at_one_dpi = width_pt * height_pt / POINTS_PER_INCH**2
    # One row and one column more, as the size in pixels is rounded.
    fitting = math.floor(math.sqrt(max_pixels / max(area_at_one_dpi, 1e-9)) * 0.999)
    if fitting < min(dpi, MIN_DPI):
        raise InputTooLarge(
            f"a page of {width_pt:.0f} x {height_pt:.0f} points", limit=max_pixels, value=area_at_one_dpi * dpi**2
        )
    return min(dpi, fitting)
