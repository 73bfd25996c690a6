"""Writes what was read from file to file, so that a process of its own can do it."""

from __future__ import annotations

from pathlib import Path

from triptych.core.pages_check import check_pages
from triptych.core.pages_formats import FORMATS
from triptych.core.room import disk_room
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrResult
from triptych.v1.ocr_service_pb2 import PagesFormat

# What a full disk is said to be that of.
WHAT = "files of pages"
PDF_MEDIA_TYPE = "application/pdf"


def read_pages(path: str) -> OcrResult:
    """Reads a serialized JobResult of OCR.

    Raises:
        FieldInvalid: It does not have what every format needs.
    """
    found = JobResult.FromString(Path(path).read_bytes()).ocr
    check_pages(found)
    return found


def write_text(result: str, output: str, *, pages_format: PagesFormat.ValueType) -> None:
    """Reads a result from a file and writes it to another.

    Args:
        result: Path of a serialized JobResult of OCR.
        output: Path of the file to be written.
        pages_format: Any but the searchable PDF.

    Raises:
        FieldInvalid: The result does not have what every format needs.
        HostExhausted: The disk is full.
    """
    content = FORMATS[pages_format].write(read_pages(result))
    with disk_room(Path(output).parent, WHAT, len(content)):
        Path(output).write_text(content, encoding="utf-8", newline="\n")
