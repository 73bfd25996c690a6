"""Takes the documents out of a ZIP archive."""

from __future__ import annotations

from pathlib import Path

from triptych.core.document_types import DOCX_TYPE, PPTX_TYPE, XLSX_TYPE, ZIP_TYPE
from triptych.core.errors import InputTooLarge, MediaCorrupt
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.members import Members, is_junk
from triptych.workers.converters.zip_file import ZipFile

_OFFICE = {"word/document.xml": DOCX_TYPE, "ppt/presentation.xml": PPTX_TYPE, "xl/workbook.xml": XLSX_TYPE}


def office_type(path: Path, limits: ConversionLimits) -> str:
    """Gives the type of an office file, of which the head did not show that; empty if it is another archive."""
    names = ZipFile(path, max_bytes=limits.max_bytes).names
    if "[Content_Types].xml" not in names:
        return ""
    return next((media_type for name, media_type in _OFFICE.items() if name in names), "")


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:
    """Takes out what is in an archive.

    Raises:
        MediaCorrupt: It is damaged, or empty.
        InputTooLarge: Too much is in it.
    """
    archive = ZipFile(path, max_bytes=limits.max_bytes)
    members = Members(folder, limits)
    entries = [entry for entry in archive.entries if not is_junk(entry.filename)]
    if not entries:
        raise MediaCorrupt("the archive is empty")
    if len(entries) > limits.max_member_count:  # before anything is unpacked
        raise InputTooLarge(
            f"the archive holds {len(entries)} documents; at most {limits.max_member_count} are read",
            limit=limits.max_member_count,
            value=len(entries),
            setting="TRIPTYCH_MAX_MEMBER_COUNT",
        )
    for entry in entries:
        members.add(entry.filename, archive.pieces(entry))
    return Contents(media_type=ZIP_TYPE, members=members.found)
