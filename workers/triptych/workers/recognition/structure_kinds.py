"""Tells blocks of text apart further than the layout model does: titles, lists, footnotes, headings it missed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import median

from triptych.core.pages_lists import begins_item
from triptych.v1.ocr_pb2 import BlockKind
from triptych.workers.recognition.structure_frame import Line, union
from triptych.workers.recognition.structure_regions import Block

# A title stands in this upper part of the page, and is so many times as high as its typical line.
_TITLE_PART, _TITLE_HEIGHT = 0.4, 1.3
# A short paragraph that is so many times as high as the page's typical line is a heading.
_HEADING_HEIGHT, _MAX_HEADING_LINES = 1.4, 2
# A footnote stands in this lower part, begins with a mark, and its letters are smaller than the page's.
_FOOTNOTE_PART, _FOOTNOTE_HEIGHT = 0.6, 0.95
_FOOTNOTE = re.compile(r"(?:\d{1,3}(?![\d.,)])|[*†‡§¹²³⁴-⁹])\s*(?=\S)")
# How captions begin in some languages: name, number, and no sentence about them.
_CAPTION = re.compile(
    r"(?:Figure|Fig\.|Table|Tab\.|Chart|Abbildung|Abb\.|Tabelle|Tableau|Figura|Tabla|Tabella|Рис\.|Рисунок|Таблица|[图圖図表])"
    r"\s*\d[\d.]*\s*(?:[:.–—-]|$)",
    re.IGNORECASE,
)
_MAX_CAPTION_LINES = 4
# Words of at least three letters make up so much of what is no formula.
_WORD, _PROSE = re.compile(r"[^\W\d_]{3,}"), 0.6
_BULLETS = "•‣▪▫◦●○■□◆◇➢➤►▶✓✔·∙⁃"


def tell_kinds(blocks: Sequence[Block], lines: Sequence[Line], page_height: float) -> None:
    """Sets the kinds of blocks of text by their marks, their places and how high their letters are.

    Args:
        blocks: In reading order; changed in place.
        lines: Of the page.
        page_height: In pixels, as the boxes are.
    """
    by_index = {line.index: line for line in lines}
    if not by_index:
        return
    typical = median(line.box[3] - line.box[1] for line in lines)
    for block in blocks:
        text = [by_index[index] for index in block.lines]
        if _is_mistaken(block.kind, text, typical):
            block.kind = BlockKind.BLOCK_KIND_PARAGRAPH
        if block.kind == BlockKind.BLOCK_KIND_PARAGRAPH and block.lines:
            block.kind = _kind(text, typical, page_height)
    headings = [block for block in blocks if block.kind == BlockKind.BLOCK_KIND_HEADING]
    if headings:
        heights = {id(block): _height([by_index[index] for index in block.lines]) for block in headings}
        tallest = max(headings, key=lambda block: heights[id(block)])
        if heights[id(tallest)] >= _TITLE_HEIGHT * typical and tallest.box[3] <= _TITLE_PART * page_height:
            tallest.kind = BlockKind.BLOCK_KIND_TITLE


def without_captions(blocks: Iterable[Block], lines: Sequence[Line]) -> list[Block]:
    """Gives the blocks with captions taken out of their figures, as blocks of their own."""
    by_index = {line.index: line for line in lines}
    told: list[Block] = []
    for block in blocks:
        told.append(block)
        starts = [at for at, index in enumerate(block.lines) if _CAPTION.match(by_index[index].text.strip())]
        if block.kind == BlockKind.BLOCK_KIND_FIGURE and starts:
            caption = block.lines[starts[-1] :][:_MAX_CAPTION_LINES]
            block.lines = [index for index in block.lines if index not in caption]
            box = union([by_index[index].box for index in caption])
            told.append(Block(kind=BlockKind.BLOCK_KIND_CAPTION, box=box, confidence=block.confidence, lines=caption))
    return told


def _kind(lines: Sequence[Line], typical: float, page_height: float) -> BlockKind.ValueType:
    height = _height(lines)
    first = lines[0].text.strip()
    items = sum(begins_item(line.text) for line in lines)
    if begins_item(first) and (items > 1 or first[0] in _BULLETS):
        return BlockKind.BLOCK_KIND_LIST
    small = height <= _FOOTNOTE_HEIGHT * typical
    if small and lines[0].box[1] >= _FOOTNOTE_PART * page_height and _FOOTNOTE.match(first):
        return BlockKind.BLOCK_KIND_FOOTNOTE
    if _CAPTION.match(first) and len(lines) <= _MAX_CAPTION_LINES:
        return BlockKind.BLOCK_KIND_CAPTION
    if len(lines) <= _MAX_HEADING_LINES and height >= _HEADING_HEIGHT * typical and any(map(str.isalpha, first)):
        return BlockKind.BLOCK_KIND_HEADING
    return BlockKind.BLOCK_KIND_PARAGRAPH


def _is_mistaken(kind: BlockKind.ValueType, lines: Sequence[Line], typical: float) -> bool:
    """Whether the layout model took prose for a formula, text for a heading, or a heading for a page's header."""
    if kind == BlockKind.BLOCK_KIND_FORMULA:
        return _is_prose(lines)
    if kind == BlockKind.BLOCK_KIND_HEADING:
        return len(lines) > _MAX_HEADING_LINES + 1
    return kind == BlockKind.BLOCK_KIND_PAGE_HEADER and bool(lines) and _height(lines) >= _HEADING_HEIGHT * typical


def _is_prose(lines: Sequence[Line]) -> bool:
    """Whether most of it is words: formulas are short names and signs."""
    text = " ".join(line.text for line in lines)
    return sum(map(len, _WORD.findall(text))) > _PROSE * len(text)


def _height(lines: Sequence[Line]) -> float:
    return median(line.box[3] - line.box[1] for line in lines)
