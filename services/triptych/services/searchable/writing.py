"""Writes a searchable PDF: a document with the text that was read lying invisibly on its pages.

`write` runs in a guarded process: nothing here is called in that of a service.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import pikepdf
from pikepdf import Dictionary, Name, Object, Page, Pdf

from triptych.core.errors import FieldInvalid, MediaCorrupt, MediaEncrypted
from triptych.core.media import HEAD_BYTES, PDF_TYPE, sniff
from triptych.core.pages_files import WHAT, read_pages
from triptych.core.room import disk_room
from triptych.services.searchable.flate import compressed
from triptych.services.searchable.glyphless_font import GlyphlessFont
from triptych.services.searchable.invisible_text import copied, remove_invisible_text
from triptych.services.searchable.page_frame import PageFrame
from triptych.services.searchable.picture_pages import picture_pdf
from triptych.services.searchable.text_layer import text_layer
from triptych.v1.ocr_pb2 import OcrPage, OcrResult, TextOrigin

FONT = "TriptychText"


def write(document: str, result: str, output: str, *, password: str, max_page_pixels: int, max_page_count: int) -> None:
    """Reads a document and what was read in it from files, and writes the PDF to another.

    Pages without new text are left as they are, those whose text came out of the PDF itself, too.

    Args:
        document: Path of a PDF or an image.
        result: Path of a serialized JobResult of OCR.
        output: Path of the file to be written.
        password: Of an encrypted PDF.
        max_page_pixels: Most pixels of a page of an image file.
        max_page_count: Most pages of an image file.

    Raises:
        FieldInvalid: The result lacks something, or has a page that the document does not have.
        MediaEncrypted: The password is missing or wrong.
        MediaCorrupt, InputTooLarge: The document.
        HostExhausted: The disk is full.
    """
    read = read_pages(result)
    path = Path(document)
    with path.open("rb") as file:
        is_pdf = sniff(file.read(HEAD_BYTES)) == PDF_TYPE
    try:
        pdf = _open(path, password) if is_pdf else picture_pdf(
            path, max_page_pixels=max_page_pixels, max_page_count=max_page_count
        )  # fmt: skip
        with pdf:
            _add_text(pdf, read)
            with disk_room(Path(output).parent, WHAT, path.stat().st_size):
                _save(pdf, output)
    except (pikepdf.PdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        # An object of another type than it should have: pikepdf lets Python say so.
        raise MediaCorrupt(f"the PDF cannot be read: {error}") from error


def _open(path: Path, password: str) -> Pdf:
    try:
        # Not mapped into memory: an address space that is bounded holds no large file.
        return Pdf.open(path, password=password, access_mode=pikepdf.AccessMode.stream)
    except pikepdf.PasswordError as error:
        said = "the password does not open the PDF" if password else "the PDF needs a password"
        raise MediaEncrypted(said) from error


def _add_text(pdf: Pdf, read: OcrResult) -> None:
    font, place = GlyphlessFont(), pdf.make_indirect(Dictionary())
    count = len(pdf.pages)
    for page in read.pages:
        if page.page_number > count:
            raise FieldInvalid("document", f"has {count} pages, but page {page.page_number} of it was read")
        if page.lines and page.text_origin != TextOrigin.TEXT_ORIGIN_EMBEDDED and not page.HasField("error"):
            _add_layer(pdf, pdf.pages[page.page_number - 1], page, font, place)
    font.write(pdf, place)


def _add_layer(pdf: Pdf, page: Page, read: OcrPage, font: GlyphlessFont, place: Object) -> None:
    remove_invisible_text(pdf, page)
    name = _add_font(page, place)
    # In front of all: there the graphics state is the initial one, whatever the page does to it.
    layer = compressed(pdf, text_layer(read.lines, PageFrame.of(page), font, name))
    page.contents_add(layer, prepend=True)


def _add_font(page: Page, font: Object) -> str:
    """Makes the font known to a page, and gives its name there; what other pages share is copied, not changed."""
    resources = copied(page.get_resources())
    fonts = copied(resources.get(Name.Font))
    name = f"/{FONT}"
    while name in fonts:
        name += "_"
    fonts[name] = font
    resources[Name.Font] = fonts
    page.obj[Name.Resources] = resources
    return name


def _save(pdf: Pdf, output: str) -> None:
    """Saves without touching the streams that were there: none is decoded or compressed anew."""
    encrypted = pdf.is_encrypted
    with Path(output).open("wb") as file:
        target = _Target(file)
        pdf.save(
            cast(BinaryIO, target),
            # Without compression streams are not decoded either: qpdf's own default.
            compress_streams=False,
            fix_metadata_version=False,
            # What was protected stays so; such a file has another salt each time, and cannot be the same twice.
            encryption=encrypted,
            deterministic_id=not encrypted,
        )
        if target.failure is not None:
            raise target.failure


class _Target(io.RawIOBase):
    """A file that C++ writes: no exception may cross it, as qpdf aborts where it cleans up."""

    def __init__(self, file: BinaryIO) -> None:
        self.failure: OSError | None = None
        self._file = file

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes bytes, whether they can be written or not."""
        if self.failure is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.failure = error
        return len(data)
