"""Reads Word files: paragraphs and tables in their order, text boxes, notes, headers and footers, and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docx.document import Document
from docx.opc.constants import CONTENT_TYPE as CT
from docx.opc.constants import RELATIONSHIP_TYPE as RT
from docx.opc.part import PartFactory
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.package import Package
from docx.parts.document import DocumentPart

from triptych.core.document_types import DOCX_TYPE
from triptych.core.errors import MediaCorrupt
from triptych.workers.converters import office_file
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Cell, Lines
from triptych.workers.converters.members import Members

# The library opens files of one content type; those with macros and templates are built alike.
_MAIN_TYPES = (
    CT.WML_DOCUMENT_MAIN,
    "application/vnd.ms-word.document.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
)
# Deleted or moved away while changes were tracked; what is shown instead where something newer is not known.
_NOT_SHOWN = {qn("w:del"), qn("w:moveFrom"), "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
_BLANKS = {qn("w:tab"), qn("w:br"), qn("w:cr"), qn("w:ptab")}
_P, _T, _TBL, _TR, _TC, _BOX = (qn(f"w:{name}") for name in ("p", "t", "tbl", "tr", "tc", "txbxContent"))
_AROUND = (RT.HEADER, RT.FOOTER, RT.FOOTNOTES, RT.ENDNOTES, RT.COMMENTS)


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:
    """Reads a Word file.

    Raises:
        MediaCorrupt: It is none, or damaged.
        InputTooLarge: Too much is in it.
    """
    office_file.check(path, limits)
    for content_type in _MAIN_TYPES:
        PartFactory.part_type_for[content_type] = DocumentPart
    part = Package.open(str(path)).main_document_part
    if not isinstance(part, DocumentPart):
        raise MediaCorrupt("the archive is no Word file")
    document: Document = part.document
    text = _Text(Lines())
    text.blocks(document.element.body)
    for name, element in _around(part):
        text.aside(element, name)
    return Contents(
        media_type=DOCX_TYPE,
        text=text.lines.text,
        lines=text.lines.spans,
        parts=text.lines.parts,
        members=_pictures(part, folder, limits),
    )


class _Text:
    """Walks through the text; counts paragraphs and tables as readers do, without empty ones."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self._paragraphs = 0
        self._tables = 0

    def blocks(self, parent: Any) -> None:
        """Adds the paragraphs and tables below an element, in order."""
        for block in _blocks(parent):
            if block.tag == _TBL:
                self._tables += 1
                self._table(block)
            elif self.lines.add(_text(block), f"paragraph {self._paragraphs + 1}"):
                self._paragraphs += 1
            for box in _boxes(block):
                self.blocks(box)

    def aside(self, parent: Any, name: str) -> None:
        """Adds what does not stand in the text itself, as one part."""
        for paragraph in parent.iter(_P):
            self.lines.add(_text(paragraph), name)

    def _table(self, table: Any) -> None:
        rows = []
        name = f"table {self._tables}"
        own = [row for row in table.iter(_TR) if next(row.iterancestors(_TBL)) is table]
        for number, row in enumerate(own, 1):
            cells: list[Cell] = []
            for cell in (cell for cell in row.iter(_TC) if next(cell.iterancestors(_TR)) is row):
                text = " ".join(_text(paragraph) for paragraph in cell.iter(_P))
                cells.append(Cell(text=text, part=f"{name}, row {number}"))
                # A cell over several columns.
                span = cell.find(f"{qn('w:tcPr')}/{qn('w:gridSpan')}")
                width = int(span.get(qn("w:val"), "1")) if span is not None else 1
                cells += [Cell(text="", part="")] * min(width - 1, 100)
            rows.append(cells)
        marked = bool(own) and own[0].find(f"{qn('w:trPr')}/{qn('w:tblHeader')}") is not None
        self.lines.table(rows, has_head=True if marked and len(own) > 1 else None)


def _blocks(parent: Any) -> Iterator[Any]:
    """Yields paragraphs and tables, also those in content controls and tracked changes."""
    for child in parent:
        if child.tag in {_P, _TBL}:
            yield child
        elif isinstance(child.tag, str) and child.tag not in _NOT_SHOWN:
            yield from _blocks(child)


def _boxes(block: Any) -> Iterator[Any]:
    """Yields the text boxes that are anchored in a paragraph."""
    if block.tag == _P:
        for box in block.iter(_BOX):
            if next(box.iterancestors(_P)) is block and not any(up.tag in _NOT_SHOWN for up in box.iterancestors()):
                yield box


def _text(paragraph: Any) -> str:
    """Gives the text of a paragraph, without text boxes in it."""
    pieces: list[str] = []
    waiting = [paragraph]
    while waiting:
        element = waiting.pop()
        if element.tag == _T:
            pieces.append(element.text or "")
        elif element.tag in _BLANKS:
            pieces.append(" ")
        elif element.tag == qn("w:noBreakHyphen"):
            pieces.append("-")
        elif isinstance(element.tag, str) and element.tag not in _NOT_SHOWN and element.tag != _BOX:
            waiting += reversed(element)
    return "".join(pieces)


def _around(part: DocumentPart) -> Iterator[tuple[str, Any]]:
    """Yields headers, footers and notes, each once."""
    for relation in part.rels.values():
        if relation.reltype in _AROUND and not relation.is_external:
            name = relation.reltype.rpartition("/")[2].removesuffix("s")
            element = getattr(relation.target_part, "element", None)
            yield name, element if element is not None else parse_xml(relation.target_part.blob)


def _pictures(part: DocumentPart, folder: Path, limits: ConversionLimits) -> list[Any]:
    members = Members(folder, limits)
    seen: set[str] = set()
    for relation in part.rels.values():
        if relation.reltype != RT.IMAGE or relation.is_external:
            continue
        name, image = str(relation.target_part.partname), relation.target_part.blob
        if name not in seen and office_file.may_have_words(image):
            seen.add(name)
            members.add(name, [image])
    return members.found
