"""What a decoder does: it opens one document and answers for its pages, until its pipe is closed.

The other side, see `decoder`, asks by JSON. An answer begins with one letter that says what it is. Nothing is pickled:
whoever takes over a decoder by a hostile file gets no code into the worker.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any, Protocol, TypeVar

from PIL import Image

from triptych.core.confinement import allow_cpu_s, be_silent, confine
from triptych.core.errors import TriptychError
from triptych.core.media import PDF_TYPE
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.media.images import ImagePages, Pixels
from triptych.workers.media.pdf import PdfPages

FACTS, PAGE, ERROR, NO_MEMORY, BUG = b"f", b"p", b"e", b"m", b"b"
"""JSON, of a drawn page before its pixels; a serialized OcrPage, empty if there is none; a serialized
google.rpc.Status; nothing; a stack trace."""

T = TypeVar("T")

_SMALL_PDF = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 90 90]/Contents 5 0 R/Resources<</Font<</F 4 0 R>>>>>> endobj
4 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
5 0 obj <</Length 35>> stream
BT /F 20 Tf 9 40 Td (Warm 1) Tj ET
endstream endobj
trailer <</Root 1 0 R>>
"""


class Document(Protocol):
    """A PDF or an image file."""

    page_count: int

    def pixels(self, page_number: int, *, dpi: int) -> tuple[Pixels, int]:
        """Gives a page, and the resolution that it was drawn at; 0 for images."""

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:
        """Gives the page's own text, if it has one that can be trusted."""


def warm_up() -> None:
    """Draws what is small, so that no process that is forked later has to look for plugins and fonts again."""
    Image.init()
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind)
        ImagePages(file, max_page_pixels=64, max_page_count=1).pixels(1)
    page = PdfPages(_SMALL_PDF, max_page_pixels=10_000)
    page.pixels(1, dpi=72)
    page.embedded_text(1, dpi=72, words=True)
    page.close()


def serve(pipe: Connection) -> None:
    """Serves until the pipe is closed."""
    be_silent()
    try:
        order = json.loads(pipe.recv_bytes())
        descriptor = recv_handle(pipe)
        limits = order["limits"]
        size = os.fstat(descriptor).st_size
        # The file may be mapped for writing, though its pages are never written.
        confine(memory_bytes=limits["max_bytes"] + size + limits["max_page_pixels"] * 3, file_bytes=0)
        document = _answer(pipe, limits, partial(_open, pipe, descriptor, size, order))
        while document is not None:
            _answer(pipe, limits, partial(_page, pipe, document, json.loads(pipe.recv_bytes())))
    except (EOFError, OSError):
        return


def _answer(pipe: Connection, limits: dict[str, int], answer: Callable[[], T]) -> T | None:
    """Has an answer given, or its error; None: it was that."""
    allow_cpu_s(limits["max_page_cpu_s"])
    try:
        return answer()
    except OSError:
        raise  # the pipe's
    except MemoryError:
        pipe.send_bytes(NO_MEMORY)
    except TriptychError as error:
        pipe.send_bytes(ERROR + error.to_status().SerializeToString())
    except Exception:  # noqa: BLE001 - it is told to the worker, which logs it
        pipe.send_bytes(BUG + traceback.format_exc().encode())
    return None


def _open(pipe: Connection, descriptor: int, size: int, order: dict[str, Any]) -> Document:
    limits = order["limits"]
    document: Document
    if order["media_type"] == PDF_TYPE:
        data = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        document = PdfPages(data, password=order["password"], max_page_pixels=limits["max_page_pixels"])
    else:
        document = ImagePages(
            os.fdopen(descriptor, "rb"),
            max_page_pixels=limits["max_page_pixels"],
            max_page_count=limits["max_page_count"],
        )
    pipe.send_bytes(FACTS + json.dumps({"page_count": document.page_count}).encode())
    return document


def _page(pipe: Connection, document: Document, asked: dict[str, Any]) -> None:
    number, dpi = asked["page_number"], asked["dpi"]
    if asked["what"] == "text":
        page = document.embedded_text(number, dpi=dpi, words=asked["words"])
        pipe.send_bytes(PAGE + (b"" if page is None else page.SerializeToString()))
        return
    pixels, dpi = document.pixels(number, dpi=dpi)
    height, width, _ = pixels.shape
    pipe.send_bytes(FACTS + json.dumps({"height": height, "width": width, "dpi": dpi}).encode())
    # Shared memory would save this copy, but its pages are small: fetching them, twice, takes four times as long.
    left = pixels.reshape(-1).data
    while left:
        left = left[os.write(pipe.fileno(), left) :]
