"""Opens any document as pages: a PDF or an image file."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InternalError, MediaTypeUnsupported
from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, PDF_TYPE, checked_type
from triptych.v1.common_pb2 import InputSource
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.media.decoder import Decoder
from triptych.workers.media.fork_server import ForkServer, fork_server
from triptych.workers.media.guarded_file import SeekableFile
from triptych.workers.media.nameless_file import nameless_copy
from triptych.workers.media.page_limits import PageLimits

Pixels = npt.NDArray[np.uint8]

# PDFium keeps something of every page, a quarter of a megabyte of a scan: after so many the document is opened anew.
MAX_PAGES_A_DECODER = 100


class Pages(Protocol):
    """The pages of a document, numbered from 1, of which one at a time is in memory. A context manager.

    Every method raises RangeOutsideSource, MediaCorrupt or InputTooLarge if the page cannot be had.
    """

    page_count: int

    def draw(self, page_number: int, *, dpi: int, check: Callable[[], None]) -> tuple[Pixels, int]:
        """Gives the page as RGB of shape (height, width, 3), and the resolution it was drawn at; 0 for images.

        Args:
            page_number: From 1.
            dpi: Resolution wanted.
            check: Called now and then; what it raises ends the drawing.
        """

    def embedded_text(
        self, page_number: int, *, dpi: int, words: bool, check: Callable[[], None] = ...
    ) -> OcrPage | None:
        """Gives the page's own text, if it has one that can be trusted."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_pages(
    file: SeekableFile,
    source: InputSource,
    limits: PageLimits,
    *,
    check: Callable[[], None] = lambda: None,
    fork_server: ForkServer = fork_server,
) -> Pages:
    """Opens a document, in a process of its own.

    Args:
        file: Its bytes. They are copied at once.
        source: Says its type (perhaps), its name and its password.
        limits: What decoding may take.
        check: Called while it is opened; what it raises ends that.
        fork_server: Starts decoders.

    Raises:
        MediaTypeUnsupported: Neither PDF nor image.
        MediaTypeMismatch: Of another type than stated.
        MediaCorrupt, MediaEncrypted, InputTooLarge: As their names say.
    """
    found = checked_type(file.read(HEAD_BYTES) or b"", source.media_type, source.display_name)
    if found != PDF_TYPE and found not in IMAGE_TYPES:
        raise MediaTypeUnsupported(f"{found} has no pages; a PDF or an image is needed")
    file.seek(0, os.SEEK_SET)
    descriptor = nameless_copy(file)

    def start() -> Decoder:
        return Decoder(descriptor, media_type=found, password=source.password, limits=limits, fork_server=fork_server)

    try:
        return _DecodedPages(descriptor, start, limits, check)
    except BaseException:
        os.close(descriptor)
        raise


class _DecodedPages:
    """After a page that ended its decoder, the next one has the document opened anew."""

    def __init__(
        self, descriptor: int, start: Callable[[], Decoder], limits: PageLimits, check: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._start = start
        self._limits = limits
        self._decoder = start()
        self._drawn_count = 0
        self.page_count = self._open(check)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoder.end()
        os.close(self._descriptor)

    def draw(self, page_number: int, *, dpi: int, check: Callable[[], None]) -> tuple[Pixels, int]:
        """See `Pages.draw`."""
        question = {"what": "draw", "page_number": page_number, "dpi": dpi}
        if self._drawn_count >= MAX_PAGES_A_DECODER:
            self._decoder.end()
        decoder, what = self._ready(check), f"page {page_number}"
        self._drawn_count += 1
        drawn = decoder.ask(question, what, check)
        height, width = int(drawn["height"]), int(drawn["width"])
        if not 0 < height * width <= self._limits.max_page_pixels:
            decoder.end()
            raise InternalError(f"a decoder drew a page of {width} x {height} pixels")
        pixels = np.empty((height, width, 3), np.uint8)
        decoder.fill(pixels.reshape(-1).data, what, check)
        return pixels, int(drawn["dpi"])

    def embedded_text(
        self, page_number: int, *, dpi: int, words: bool, check: Callable[[], None] = lambda: None
    ) -> OcrPage | None:
        """See `Pages.embedded_text`."""
        question = {"what": "text", "page_number": page_number, "dpi": dpi, "words": words}
        page: OcrPage | None = self._ready(check).ask(question, f"page {page_number}", check)
        return page

    def _ready(self, check: Callable[[], None]) -> Decoder:
        if not self._decoder.alive:
            self._decoder, self._drawn_count = self._start(), 0
            self._open(check)
        return self._decoder

    def _open(self, check: Callable[[], None]) -> int:
        try:
            return self._decoder.open(check)
        except BaseException:
            self._decoder.end()
            raise
