"""Reads web pages: what a browser shows as text, block by block; nothing that they refer to is ever fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lxml.html

from triptych.core.document_types import HTML_TYPE
from triptych.core.errors import InputTooLarge
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Cell, Lines
from triptych.workers.converters.plain_text import decoded

_NOT_SHOWN = frozenset({
    "script", "style", "head", "template", "noscript", "svg", "math", "iframe", "object", "select", "datalist", "audio",
    "video", "canvas", "textarea",
})  # fmt: skip
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img",
    "ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong",
    "sub", "sup", "time", "tt", "u", "var", "wbr", "input", "button",
})  # fmt: skip
_MAX_DEPTH = 2048  # libxml2's own
_HIDDEN_STYLE = re.compile(r"(display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_DECLARED = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]+)|<\?xml[^>]{0,100}encoding=[\"']([\w-]+)", re.IGNORECASE
)


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:  # noqa: ARG001 - as all converters
    """Reads a web page.

    Raises:
        InputTooLarge: Too much is in it.
    """
    lines = Lines()
    data = path.read_bytes()
    declared = _DECLARED.search(data[:4096])
    read(decoded(data, next((name for name in declared.groups() if name), b"").decode() if declared else ""), lines)
    return Contents(media_type=HTML_TYPE, text=lines.text, lines=lines.spans, parts=lines.parts)


def read(text: str, lines: Lines, part: str = "") -> None:
    """Adds what a page shows.

    Args:
        text: HTML.
        lines: Where to.
        part: Name of all of it; empty: paragraphs and tables are counted.
    """
    parser = lxml.html.HTMLParser(
        no_network=True, huge_tree=True, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    # By bytes: a declaration of another encoding in decoded text would be refused.
    root = lxml.html.document_fromstring(text.encode("utf-8", "replace") or b" ", parser=parser, ensure_head_body=True)
    # Text that stands deeper is not there.
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise InputTooLarge("its elements are nested too deep", limit=_MAX_DEPTH, value=_MAX_DEPTH + 1)
    page = _Page(lines, part)
    page.read(root)


class _Page:
    """Walks through a page without recursion: pages nest as deep as they like."""

    def __init__(self, lines: Lines, part: str) -> None:
        self._lines = lines
        self._part = part
        self._paragraphs = 0
        self._tables = 0
        self._line: list[str] = []

    def read(self, root: Any) -> None:
        waiting: list[tuple[Any, bool]] = [(root, False)]
        while waiting:
            element, ended = waiting.pop()
            inline = element.tag in _INLINE
            if ended:
                if not inline:
                    self._end_line()
                self._line.append(element.tail or "")
                continue
            if not isinstance(element.tag, str) or _hidden(element):
                self._line.append(element.tail or "")
                continue
            if element.tag == "table" and (rows := list(_rows(element))):
                self._end_line()
                self._table(rows)
                self._line.append(element.tail or "")
                continue
            if element.tag == "br" or not inline:
                self._end_line()
            self._line.append(_own_text(element))
            waiting.append((element, True))
            waiting += [(child, False) for child in reversed(element)]
        self._end_line()

    def _end_line(self) -> None:
        if self._lines.add("".join(self._line), self._part or f"paragraph {self._paragraphs + 1}"):
            self._paragraphs += 1
        self._line = []

    def _table(self, rows: list[Any]) -> None:
        self._tables += 1
        cells = []
        for number, row in enumerate(rows, 1):
            part = self._part or f"table {self._tables}, row {number}"
            cells.append(list(_cells(row, part)))
        heads = [cell.tag == "th" for cell in rows[0] if cell.tag in {"td", "th"}]
        self._lines.table(cells, has_head=True if len(heads) > 1 and all(heads) and len(rows) > 1 else None)


def _hidden(element: Any) -> bool:
    return (
        element.tag in _NOT_SHOWN
        or "hidden" in element.attrib
        or _HIDDEN_STYLE.search(element.get("style", "")) is not None
    )


def _own_text(element: Any) -> str:
    if element.tag == "img":
        return f" {element.get('alt', '')} "
    if element.tag == "input" and element.get("type", "text").lower() not in {"hidden", "password"}:
        return f" {element.get('value', '')} "
    return element.text or ""


def _rows(table: Any) -> Iterator[Any]:
    """Yields the rows of a table of data; none of one that only lays out the page: it holds blocks or tables."""
    if next(table.iterdescendants("table", "ul", "ol", "h1", "h2", "h3"), None) is None:
        yield from table.iterdescendants("tr")


def _cells(row: Any, part: str) -> Iterator[Cell]:
    for cell in row:
        if cell.tag in {"td", "th"}:
            shown = (text for text in _texts(cell))
            yield Cell(text=" ".join(shown), part=part)
            span = cell.get("colspan", "1")
            yield from [Cell(text="", part=part)] * (min(int(span), 100) - 1 if span.isdecimal() else 0)


def _texts(cell: Any) -> Iterator[str]:
    """Yields the texts of a cell; blanks stand between elements, as they are blocks or cells of their own."""
    for element in cell.iter():
        if isinstance(element.tag, str) and not any(
            _hidden(up) for up in (element, *element.iterancestors("div", "span", "p"))
        ):
            yield _own_text(element)
        if element is not cell:
            yield element.tail or ""
