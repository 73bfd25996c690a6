"""Writes a page as HTML: headings, paragraphs, lists, and tables with their spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from triptych.core.pages_lists import Item, items_of
from triptych.core.pages_paragraphs import flowing, paragraphs, rows, running
from triptych.core.pieces import clean
from triptych.v1.ocr_pb2 import BlockKind, LayoutBlock, OcrPage, OcrTable, OcrTableCell

_TAGS = {
    BlockKind.BLOCK_KIND_TITLE: "h1",
    BlockKind.BLOCK_KIND_HEADING: "h2",
    BlockKind.BLOCK_KIND_PAGE_HEADER: "header",
    BlockKind.BLOCK_KIND_PAGE_FOOTER: "footer",
}
_CLASSES = {
    BlockKind.BLOCK_KIND_CAPTION: "caption",
    BlockKind.BLOCK_KIND_FORMULA: "formula",
    BlockKind.BLOCK_KIND_FOOTNOTE: "footnote",
    BlockKind.BLOCK_KIND_SEAL: "seal",
}


def page_html(page: OcrPage) -> str:
    """Gives the page as one `section` of HTML, for the body of a document; text is escaped.

    Without blocks (OCR_MODE_TEXT) it is paragraphs, as the places of the lines tell them.
    """
    if not page.blocks:
        parts = [_element("p", running(page.lines, lines)) for lines in paragraphs(page.lines, range(len(page.lines)))]
    else:
        parts = [block_html(page, block) for block in page.blocks]
    body = "".join(f"{part}\n" for part in parts if part)
    return f'<section class="page" data-page="{page.page_number}">\n{body}</section>\n'


def block_html(page: OcrPage, block: LayoutBlock) -> str:
    """Gives one block as HTML; empty if nothing is written in it and it is no figure.

    Args:
        page: Of the block; its lines and tables are read.
        block: One of its blocks.
    """
    texts = rows(page.lines, block.line_indices)
    match block.kind:
        case BlockKind.BLOCK_KIND_TABLE if block.HasField("table_index"):
            return table_html(page.tables[block.table_index])
        case BlockKind.BLOCK_KIND_LIST:
            return "\n".join(_lists(items_of(texts)))
        case BlockKind.BLOCK_KIND_FIGURE:
            return f"<figure>{''.join(_element('p', [text]) for text in texts)}</figure>"
        case BlockKind.BLOCK_KIND_TITLE | BlockKind.BLOCK_KIND_HEADING:
            return _element(_TAGS[block.kind], [flowing(texts)])
        case _:
            texts = running(page.lines, block.line_indices)
            return _element(_TAGS.get(block.kind, "p"), texts, _CLASSES.get(block.kind, ""))


def table_html(table: OcrTable) -> str:
    """Gives a table as HTML with `rowspan`, `colspan` and `th`, one row a line; empty if it has no cells."""
    if not table.cells:
        return ""
    by_row = {row: list(cells) for row, cells in groupby(table.cells, key=lambda cell: cell.row_index)}
    # A row that cells from above cover is there all the same: spans count rows.
    lines = (f"<tr>{''.join(map(_cell, by_row.get(row, ())))}</tr>" for row in range(table.row_count))
    return "\n".join(["<table>", *lines, "</table>"])


def _cell(cell: OcrTableCell) -> str:
    tag = "th" if cell.header else "td"
    spans = "".join(
        f' {name}="{count}"' for name, count in (("rowspan", cell.row_span), ("colspan", cell.column_span)) if count > 1
    )
    text = _lines(map(clean, cell.text.split("\n")))
    return f"<{tag}{spans}>{text}</{tag}>"


def _lists(items: Sequence[Item]) -> Iterator[str]:
    for numbered, group in groupby(items, key=lambda item: item.number is not None):
        entries = "".join(
            f'<li value="{item.number}">{_lines([item.text])}</li>' if numbered else _element("li", [item.text])
            for item in group
        )
        tag = "ol" if numbered else "ul"
        yield f"<{tag}>{entries}</{tag}>"


def _element(tag: str, texts: Sequence[str], name: str = "") -> str:
    if not any(texts):
        return ""
    of_class = f' class="{name}"' if name else ""
    return f"<{tag}{of_class}>{_lines(texts)}</{tag}>"


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(escape(text, quote=False) for text in texts)
