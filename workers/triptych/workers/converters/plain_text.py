"""Reads plain text, line by line."""

from __future__ import annotations

import codecs
from pathlib import Path

from triptych.core.document_types import TEXT_TYPE
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Lines

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:  # noqa: ARG001 - as all converters
    """Reads a text.

    Raises:
        InputTooLarge: It is too long.
    """
    lines = Lines()
    for number, line in enumerate(decoded(path.read_bytes()).splitlines(), 1):
        lines.add(line, f"line {number}")
    return Contents(media_type=TEXT_TYPE, text=lines.text, lines=lines.spans, parts=lines.parts)


def decoded(data: bytes, declared: str = "") -> str:
    """Decodes bytes by their byte order mark, as declared, as UTF-8, else as Windows' Western European."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in (declared, "utf-8"):
        try:
            # Not those that do more than decode ("zip", "unicode_escape").
            if encoding and codecs.lookup(encoding)._is_text_encoding and "escape" not in encoding:
                return data.decode(encoding)
        except (LookupError, UnicodeError):
            continue
    return data.decode("cp1252", "replace")
