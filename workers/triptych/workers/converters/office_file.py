"""Looks into office files (ECMA-376) before a library opens them, and picks the pictures that may have words."""

from __future__ import annotations

import re
from pathlib import Path

from triptych.core.errors import MediaCorrupt
from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, image_size, sniff
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.zip_file import ZipFile

# Smaller pictures are logos, icons and rules.
_MIN_PIXELS, _MIN_SIDE, _MIN_BYTES = 100_000, 100, 10_000
_XML = re.compile(r"\.(xml|rels|vml)$", re.IGNORECASE)
_OVERLAP = 32
# ECMA-376, part 2, 8.2.5: no part has a document type declaration, and so nobody can declare entities.
_DECLARATIONS = tuple(
    mark.encode(encoding) for mark in ("<!DOCTYPE", "<!ENTITY") for encoding in ("ascii", "utf-16-le", "utf-16-be")
)


def check(path: Path, limits: ConversionLimits) -> None:
    """Refuses an office file that is a bomb, whose parts have passwords or are damaged, or that declares entities.

    Raises:
        TriptychError: See `ZipFile`.
        MediaCorrupt: It declares entities.
    """
    archive = ZipFile(path, max_bytes=limits.max_bytes)
    for entry in archive.entries:
        if not _XML.search(entry.filename):
            continue
        last = b""
        for piece in archive.pieces(entry):
            window = last + piece
            if any(mark in window for mark in _DECLARATIONS):
                raise MediaCorrupt("a part of the file declares a document type, which no office file does")
            last = window[-_OVERLAP:]


def may_have_words(image: bytes) -> bool:
    """Whether an embedded picture is one that can be read, and large enough that somebody wrote in it."""
    head = image[:HEAD_BYTES]
    if sniff(head) not in IMAGE_TYPES:
        return False
    size = image_size(head)
    if size is None:
        return len(image) >= _MIN_BYTES
    return size[0] * size[1] >= _MIN_PIXELS and min(size) >= _MIN_SIDE
