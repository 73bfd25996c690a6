"""Writes what was read as text, Markdown, HTML, hOCR, ALTO or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from triptych.core.alto import alto
from triptych.core.file_formats import UTF8, FileFormat, as_json
from triptych.core.hocr import hocr
from triptych.core.pages_html import page_html
from triptych.core.pages_markdown import page_markdown
from triptych.v1.ocr_pb2 import OcrResult
from triptych.v1.ocr_service_pb2 import PagesFormat

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
PAGE_BREAK = "\f"


def _text(result: OcrResult) -> str:
    # A form feed within a page would part it.
    texts = (_CONTROLS.sub(" ", page.text) for page in result.pages)
    return PAGE_BREAK.join(f"{text}\n" if text else "" for text in texts)


def _markdown(result: OcrResult) -> str:
    return "\n".join(filter(None, map(page_markdown, result.pages)))


def _html(result: OcrResult) -> str:
    sections = "\n".join(map(page_html, result.pages))
    head = '<head><meta charset="utf-8"><title>OCR</title></head>'
    return f"<!DOCTYPE html>\n<html>\n{head}\n<body>\n{sections}\n</body>\n</html>\n"


Format: TypeAlias = FileFormat[[OcrResult]]
FORMATS: Mapping[PagesFormat.ValueType, Format] = {
    PagesFormat.PAGES_FORMAT_TEXT: FileFormat(media_type=f"text/plain; {UTF8}", suffix="txt", write=_text),
    PagesFormat.PAGES_FORMAT_MARKDOWN: FileFormat(media_type=f"text/markdown; {UTF8}", suffix="md", write=_markdown),
    PagesFormat.PAGES_FORMAT_HTML: FileFormat(media_type=f"text/html; {UTF8}", suffix="html", write=_html),
    PagesFormat.PAGES_FORMAT_HOCR: FileFormat(media_type=f"text/vnd.hocr+html; {UTF8}", suffix="hocr", write=hocr),
    PagesFormat.PAGES_FORMAT_ALTO: FileFormat(media_type="application/alto+xml", suffix="xml", write=alto),
    PagesFormat.PAGES_FORMAT_JSON: FileFormat(media_type="application/json", suffix="json", write=as_json),
}
"""Every format of the contract that needs nothing but the result, which passes `check_pages`."""
