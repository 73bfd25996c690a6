"""Tells documents that have neither pages nor sound: office files, web pages, messages, texts, archives."""

from __future__ import annotations

import re
from collections.abc import Iterator

DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML_TYPE, MESSAGE_TYPE, TEXT_TYPE, ZIP_TYPE = "text/html", "message/rfc822", "text/plain", "application/zip"
OFFICE_TYPES = frozenset({DOCX_TYPE, PPTX_TYPE, XLSX_TYPE})
TEXTUAL_TYPES = frozenset({HTML_TYPE, MESSAGE_TYPE, TEXT_TYPE})
DOCUMENT_TYPES = OFFICE_TYPES | TEXTUAL_TYPES | {ZIP_TYPE}
# Types that people use for the same bytes; macros of those that have some are not looked at.
DOCUMENT_ALIASES = {
    "application/vnd.ms-word.document.macroenabled.12": DOCX_TYPE,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template": DOCX_TYPE,
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": PPTX_TYPE,
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow": PPTX_TYPE,
    "application/vnd.openxmlformats-officedocument.presentationml.template": PPTX_TYPE,
    "application/vnd.ms-excel.sheet.macroenabled.12": XLSX_TYPE,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.template": XLSX_TYPE,
    "application/xhtml+xml": HTML_TYPE, "application/x-zip-compressed": ZIP_TYPE, "application/x-zip": ZIP_TYPE,
    "text/csv": TEXT_TYPE, "text/markdown": TEXT_TYPE, "text/x-markdown": TEXT_TYPE,
    "text/tab-separated-values": TEXT_TYPE, "text/calendar": TEXT_TYPE, "text/vcard": TEXT_TYPE,
    "application/json": TEXT_TYPE,
}  # fmt: skip

_FOLDERS = {b"word/": DOCX_TYPE, b"ppt/": PPTX_TYPE, b"xl/": XLSX_TYPE}
_OFFICE_MARKS = (b"[Content_Types].xml", b"_rels/", b"docProps/")
_TEXT_NAMES = (
    ((".html", ".htm", ".xhtml"), HTML_TYPE),
    ((".eml", ".mht", ".mhtml"), MESSAGE_TYPE),
    ((".txt", ".text", ".md", ".markdown", ".csv", ".tsv", ".log", ".ics", ".vcf", ".json"), TEXT_TYPE),
)
_HTML = re.compile(
    r"\s*(<\?xml[^>]{0,200}>\s*)?(<!--.{0,2000}?-->\s*){0,8}"
    r"<(!doctype\s+html|html|head|body|title|meta|p|div|table|h[1-6]|ul|ol|article|section)\b",
    re.IGNORECASE | re.DOTALL,
)
_HEADER_LINE = re.compile(r"([!-9;-~]+):[^\n]*\n?|[ \t][^\n]*\n?")
_MESSAGE_HEADERS = frozenset({
    "from", "to", "cc", "date", "subject", "message-id", "mime-version", "received", "return-path", "delivered-to",
    "content-type", "reply-to", "sender",
})  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_OLD_OFFICE = (
    "an old Office file (.doc, .xls, .ppt, .msg), or one with a password: save it as .docx, .xlsx, .pptx or .eml, "
    "without a password"
)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLD_OFFICE),
    (b"{\\rtf", "RTF: save it as .docx"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: make it a .zip"),
    (b"Rar!", "a RAR archive: make it a .zip"),
    (b"\x1f\x8b", "compressed by gzip: make it a .zip"),
)  # fmt: skip


def sniff_document(head: bytes) -> str:
    """Gives the media type of a file by its first bytes; empty if it is none of `DOCUMENT_TYPES`, or plain text."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(head)
    text = _text(head)
    if text is None:
        return ""
    if _HTML.match(text):
        return HTML_TYPE
    return MESSAGE_TYPE if _is_message(text) else ""


def text_type(head: bytes, stated: str, name: str) -> str:
    """Gives the type of bytes that are text as they are said to be: any text may be anything.

    Args:
        head: First bytes.
        stated: Media type that the caller states, one of ours; may be empty.
        name: File name; may be empty.

    Returns:
        Web page, message or plain text; empty if it is no text, or nobody says which.
    """
    by_name = next((media_type for names, media_type in _TEXT_NAMES if name.lower().endswith(names)), "")
    said = stated or by_name
    return said if said in TEXTUAL_TYPES and _text(head) is not None else ""


def document_hint(head: bytes) -> str:
    """Says what bytes are that cannot be read, and what to do about it; "" if nobody knows."""
    hint = next((said for magic, said in _OTHERS if head.startswith(magic)), "")
    if not hint and re.match(rb"\s*(<\?xml|<svg)", head[:256], re.IGNORECASE):
        hint = "SVG or XML"
    if not hint and b"mimetypeapplication/vnd.oasis.opendocument" in head[:120]:
        hint = "an OpenDocument file: save it as .docx, .xlsx, .pptx or PDF"
    return f" (it is {hint})" if hint else ""


def _zipped(head: bytes) -> str:
    """Tells office files from other archives; one whose head does not show it is taken for an archive at first."""
    if b"mimetypeapplication/" in head[:120] and b"oasis" in head[:120]:
        return ""
    names = list(_names(head))
    if any(name.startswith(_OFFICE_MARKS) for name in names):
        for name in names:
            for folder, media_type in _FOLDERS.items():
                if name.startswith(folder):
                    return media_type
    return ZIP_TYPE


def _names(head: bytes) -> Iterator[bytes]:
    """Yields the names of the members whose local headers (APPNOTE 4.3.7) are in the head."""
    for found in re.finditer(rb"PK\x03\x04", head):
        at = found.start()
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        yield head[at + 30 : at + 30 + length]


def _text(head: bytes) -> str | None:
    """Decodes what may be text; None if it is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
    else:
        text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return None if not text or _CONTROL.search(text) else text


def _is_message(text: str) -> bool:
    """Whether it begins with header fields (RFC 5322), two of which only messages have."""
    named: set[str] = set()
    at = 0
    text = text.replace("\r\n", "\n")
    while (line := _HEADER_LINE.match(text, at)) and line.end() > at:
        at = line.end()
        if line[1]:
            named.add(line[1].lower())
    # The header ends with an empty line, or later than the head.
    return len(named & _MESSAGE_HEADERS) >= 2 and (at >= len(text) - 1 or text[at] == "\n")
