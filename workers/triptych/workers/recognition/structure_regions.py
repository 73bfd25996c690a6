"""Settles what is where on a page: which of the regions found hold, and which line belongs to which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from triptych.core.pages_paragraphs import paragraphs
from triptych.v1.ocr_pb2 import BlockKind, OcrPage
from triptych.workers.engines.layout import Box, Region
from triptych.workers.recognition.structure_frame import Line, area, shared, union

# Of two regions that share this part of the smaller one, one is wrong.
_MAX_SHARED = 0.6
# A table that may be a figure is tried as a table: the text in it tells.
_TABLE_BONUS = 0.5
# A picture that is most of the page is a photographed document, and a doubtful table that is nearly all of it as well.
_WHOLE_FIGURE, _WHOLE_TABLE, _WHOLE_TABLE_CONFIDENCE = 0.6, 0.8, 0.7
# A line belongs to a region that has this part of it; or this part of both together, as models draw the boxes of single
# lines tighter than recognition does.
_MIN_INSIDE, _MIN_UNITED = 0.5, 0.3
# Shares of the page's height at its edges in which a header or a footer may be.
_EDGE = 0.15


@dataclass(slots=True, kw_only=True)
class Block:
    """A block on its way to the result.

    Attributes:
        box: In pixels of the upright page.
        confidence: None: it comes from the places of lines alone.
        lines: Of the page, in reading order.
        table: Index of the page's tables.
    """

    kind: BlockKind.ValueType
    box: Box
    confidence: float | None = None
    lines: list[int] = field(default_factory=list)
    table: int | None = None


def distinct(regions: Iterable[Region], page: Box) -> list[Region]:
    """Gives the regions that hold where several were found at one place: the surest, and rather a table.

    Args:
        regions: As found.
        page: Box of the whole page.
    """

    def weight(region: Region) -> float:
        return region.confidence + _TABLE_BONUS * (region.kind == BlockKind.BLOCK_KIND_TABLE)

    kept: list[Region] = []
    for region in sorted((one for one in regions if _may_be(one, page)), key=weight, reverse=True):
        if all(shared(region.box, one.box) <= _MAX_SHARED * min(area(region.box), area(one.box)) for one in kept):
            kept.append(region)
    return kept


def inside(box: Box, lines: Iterable[Line]) -> list[Line]:
    """Gives the lines that are in a box, most of each."""
    return [line for line in lines if _belongs(line.box, box)]


def outside(regions: Iterable[Region], lines: Iterable[Line]) -> list[Line]:
    """Gives the lines that belong to none of the regions."""
    boxes = [region.box for region in regions]
    return [line for line in lines if not any(_belongs(line.box, box) for box in boxes)]


def blocks_of(regions: Sequence[Region], page: OcrPage, lines: Sequence[Line]) -> list[Block]:
    """Gives the blocks of a page, each line in one of them; lines outside of all regions become paragraphs.

    Args:
        regions: Distinct ones, without tables that were found out to be none.
        page: Its lines.
        lines: The same, as far as they have text and a place.
    """
    blocks = [Block(kind=region.kind, box=region.box, confidence=region.confidence) for region in regions]
    loose: list[int] = []
    boxes = {line.index: line.box for line in lines}
    for line in lines:
        best = max(blocks, key=lambda block: shared(block.box, line.box), default=None)
        if best and _belongs(line.box, best.box):
            best.lines.append(line.index)
        else:
            loose.append(line.index)
    # A line of another block between two ends a paragraph.
    for run in _runs(loose):
        for group in paragraphs(page.lines, run):
            box = union([boxes[index] for index in group])
            blocks.append(Block(kind=BlockKind.BLOCK_KIND_PARAGRAPH, box=box, lines=group))
    empty = {BlockKind.BLOCK_KIND_FIGURE, BlockKind.BLOCK_KIND_TABLE, BlockKind.BLOCK_KIND_FORMULA}
    # Text that nobody could read is no block of text.
    return [block for block in blocks if block.lines or block.kind in empty]


def in_reading_order(blocks: Iterable[Block], lines: Sequence[Line]) -> list[Block]:
    """Orders blocks by the first of their lines; a figure stands before the first line below its top beside it."""
    below = _first_line_below(lines)

    def key(block: Block) -> tuple[float, float]:
        return (min(block.lines) if block.lines else below(block.box) - 0.5), block.box[1]

    return sorted(blocks, key=key)


def _belongs(line: Box, box: Box) -> bool:
    common = shared(line, box)
    return 0 < common >= min(_MIN_INSIDE * area(line), _MIN_UNITED * (area(line) + area(box) - common))


def _first_line_below(lines: Sequence[Line]) -> Callable[[Box], float]:
    def find(box: Box) -> float:
        return min(
            (
                line.index
                for line in lines
                if line.box[1] >= box[1] and min(line.box[2], box[2]) > max(line.box[0], box[0])
            ),
            default=float(len(lines)),
        )

    return find


def _may_be(region: Region, page: Box) -> bool:
    _, top, _, bottom = region.box
    page_height, share = page[3], area(region.box) / area(page)
    if region.kind == BlockKind.BLOCK_KIND_FIGURE:
        return share < _WHOLE_FIGURE
    if region.kind == BlockKind.BLOCK_KIND_TABLE:
        return share < _WHOLE_TABLE or region.confidence >= _WHOLE_TABLE_CONFIDENCE
    if region.kind == BlockKind.BLOCK_KIND_PAGE_HEADER:
        return bottom <= _EDGE * page_height
    if region.kind == BlockKind.BLOCK_KIND_PAGE_FOOTER:
        return top >= (1 - _EDGE) * page_height
    return True


def _runs(indices: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
