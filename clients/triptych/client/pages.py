"""Has pages written as files: text, hOCR, ALTO, searchable PDFs and the like."""

from __future__ import annotations

from triptych.client import blobs
from triptych.client.inputs import Source
from triptych.client.steps import Flow, call
from triptych.v1.ocr_pb2 import OcrResult
from triptych.v1.ocr_service_pb2 import FormatPagesRequest, FormatPagesResponse, PagesFormat

WRITE_S = 600.0
"""Deadline, in seconds: a searchable PDF of thousands of pages takes minutes, and others may be first."""


def format_pages(
    pages: str | OcrResult, pages_format: PagesFormat.ValueType, document: Source | None, max_inline_bytes: int
) -> Flow[bytes]:
    """Gives the content of the file, wherever the server keeps it; a name is that of a job."""
    request = FormatPagesRequest(format=pages_format)
    if isinstance(pages, str):
        request.job = pages
    else:
        request.result.CopyFrom(pages)
    if document is not None:
        # One message holds both.
        room = max(0, max_inline_bytes - request.ByteSize())
        (source,) = yield from blobs.as_inputs([document], room)
        request.document.CopyFrom(source)
    response = yield from call("OcrService", "FormatPages", request, FormatPagesResponse, WRITE_S)
    if response.WhichOneof("outcome") == "content_blob":
        return (yield from blobs.read(response.content_blob))
    return response.content
