"""Opens any document as pages: a PDF or an image file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from triptych.core.errors import MediaTypeUnsupported
from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, PDF_TYPE, checked_type
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_EMBEDDED, OcrPage, TextLine
from triptych.workers.media.images import ImagePages
from triptych.workers.media.pdf import PdfPages
from triptych.workers.media.reading_order import reading_order, write_lines
from triptych.workers.media.straightening import direction, turned_back

Pixels = npt.NDArray[np.uint8]


class Pages(Protocol):
    """The pages of a document, numbered from 1, of which one at a time is in memory. A context manager.

    Every method raises RangeOutsideSource, MediaCorrupt or InputTooLarge if the page cannot be had.
    """

    page_count: int

    def draw(self, page_number: int, *, dpi: int, check: Callable[[], None]) -> tuple[Pixels, int]:
        """Gives the page as RGB of shape (height, width, 3), and the resolution it was drawn at; 0 for images."""

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:
        """Gives the page's own text, if it has one that can be trusted."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _PdfDocument(PdfPages):
    def draw(self, page_number: int, *, dpi: int, check: Callable[[], None]) -> tuple[Pixels, int]:
        return self.pixels(page_number, dpi=dpi, check=check)

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:
        lines = self.text_lines(page_number, words=words)
        if lines is None:
            return None
        width_px, height_px = self.size_px(page_number, dpi=dpi)
        return embedded_page(lines, width_px=width_px, height_px=height_px, dpi=dpi)


class _ImageDocument(ImagePages):
    def draw(self, page_number: int, *, dpi: int, check: Callable[[], None]) -> tuple[Pixels, int]:  # noqa: ARG002
        return self.pixels(page_number), 0

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:  # noqa: ARG002
        return None


def open_pages(
    data: bytes, *, media_type: str, display_name: str = "", max_page_pixels: int, max_page_count: int
) -> Pages:
    """Opens a document.

    Args:
        data: The file's bytes.
        media_type: As the caller states it; may be empty.
        display_name: For messages.
        max_page_pixels: Most pixels of one page.
        max_page_count: Most pages of an image file; a PDF may have more.

    Raises:
        MediaTypeUnsupported: Neither PDF nor image.
        MediaTypeMismatch: Of another type than stated.
        MediaCorrupt, MediaEncrypted, InputTooLarge: As their names say.
    """
    found = checked_type(data[:HEAD_BYTES], media_type, display_name)
    if found == PDF_TYPE:
        return _PdfDocument(data, max_page_pixels=max_page_pixels)
    if found in IMAGE_TYPES:
        return _ImageDocument(data, max_page_pixels=max_page_pixels, max_page_count=max_page_count)
    raise MediaTypeUnsupported(f"{found} has no pages; a PDF or an image is needed")


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
