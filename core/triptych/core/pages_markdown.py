"""Writes a page as Markdown (GitHub's, with tables; those with spanning cells as HTML)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from triptych.core.pages_html import table_html
from triptych.core.pages_lists import items_of
from triptych.core.pages_paragraphs import flowing, paragraphs, rows, running
from triptych.core.pieces import clean
from triptych.v1.ocr_pb2 import BlockKind, LayoutBlock, OcrPage, OcrTable

# Text that Markdown would take for more: https://github.github.com/gfm/
_SPECIAL = re.compile(
    r"""
      [\\`*~]
    | (?<![^\W_])_ | _(?![^\W_])     # emphasis; not within a word
    | <(?=[A-Za-z/!?])               # a tag
    | &(?=\#?\w+;)                   # an entity
    | \](?=[(\[:])                   # a link
    """,
    re.VERBOSE,
)
_AT_START = re.compile(r"(?:#{1,6}(?=\s|$)|[-+](?=\s|$)|>|(?:-{3,}|={2,})\s*$)")
_NUMBER_AT_START = re.compile(r"(\d{1,9})([.)])(?=\s|$)")


def page_markdown(page: OcrPage) -> str:
    """Gives the page as Markdown: its blocks in reading order, an empty line between.

    Without blocks (OCR_MODE_TEXT) it is paragraphs, as the places of the lines tell them.
    """
    if not page.blocks:
        parts = [_text(page, lines) for lines in paragraphs(page.lines, range(len(page.lines)))]
    else:
        parts = [block.markdown or block_markdown(page, block) for block in page.blocks]
    return "".join(f"{part}\n\n" for part in parts if part).removesuffix("\n")


def block_markdown(page: OcrPage, block: LayoutBlock) -> str:
    """Gives one block as Markdown, without a line feed at its end; empty if nothing is written in it.

    A formula is the text that was recognized: there is no LaTeX. A figure is a comment that says where it stood,
    before what is written in it.

    Args:
        page: Of the block; its lines and tables are read.
        block: One of its blocks; `markdown` is not looked at.
    """
    texts = rows(page.lines, block.line_indices)
    match block.kind:
        case BlockKind.BLOCK_KIND_TABLE if block.HasField("table_index"):
            return table_markdown(page.tables[block.table_index])
        case BlockKind.BLOCK_KIND_TITLE:
            return _heading("#", texts)
        case BlockKind.BLOCK_KIND_HEADING:
            return _heading("##", texts)
        case BlockKind.BLOCK_KIND_LIST:
            return _list(texts)
        case BlockKind.BLOCK_KIND_FIGURE:
            return "\n\n".join(filter(None, ["<!-- figure -->", *map(_escaped_line, texts)]))
        case _:
            return _text(page, block.line_indices)


def table_markdown(table: OcrTable) -> str:
    """Gives a table as GitHub's Markdown; as HTML if it has spanning cells, or header cells below the first row."""
    cells = {(cell.row_index, cell.column_index): cell for cell in table.cells}
    spanning = any(cell.row_span > 1 or cell.column_span > 1 for cell in table.cells)
    if spanning or any(cell.header and cell.row_index > 0 for cell in table.cells):
        return table_html(table)
    if not table.row_count or not table.column_count:
        return ""

    def row(index: int) -> str:
        texts = (cells[index, column].text if (index, column) in cells else "" for column in range(table.column_count))
        return f"| {' | '.join(map(_cell, texts))} |"

    has_header = any(cell.header for cell in table.cells)
    # Markdown has no table without a header row: an empty one stands for it.
    head = row(0) if has_header else f"|{'  |' * table.column_count}"
    body = [row(index) for index in range(1 if has_header else 0, table.row_count)]
    return "\n".join([head, f"|{' --- |' * table.column_count}", *body])


def _heading(mark: str, texts: Sequence[str]) -> str:
    text = _escaped(flowing(texts))
    # A "#" at the end would be taken for the heading's own.
    text = re.sub(r"#+$", lambda marks: "\\" + marks[0], text)
    return f"{mark} {text}" if text else ""


def _list(texts: Sequence[str]) -> str:
    return "\n".join(
        f"{f'{item.number}.' if item.number is not None else '-'} {_escaped_line(item.text)}"
        for item in items_of(texts)
    )


def _text(page: OcrPage, lines: Sequence[int]) -> str:
    # A backslash at the end of a line keeps the break.
    return "\\\n".join(map(_escaped_line, running(page.lines, lines)))


def _cell(text: str) -> str:
    return "<br>".join(_escaped(line).replace("|", r"\|") for line in map(clean, text.split("\n")))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _escaped_line(text: str) -> str:
    """Escapes what would begin a heading, a list, a quotation or a rule, too."""
    text = _escaped(text)
    if _AT_START.match(text):
        return "\\" + text
    return _NUMBER_AT_START.sub(r"\1\\\2", text) if _NUMBER_AT_START.match(text) else text
