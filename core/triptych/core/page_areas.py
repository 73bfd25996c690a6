"""Parts a page into the areas that hOCR and ALTO are made of: blocks of the layout, otherwise paragraphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.core.page_geometry import Box, box, pixels
from triptych.core.pages_paragraphs import paragraphs
from triptych.v1.ocr_pb2 import BlockKind, OcrPage, TextLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Lines that belong together; none in a picture.

    Attributes:
        box: Around them, in pixels; of a block its own.
    """

    kind: BlockKind.ValueType
    box: Box
    lines: Sequence[TextLine]


def areas_of(page: OcrPage) -> Iterator[Area]:
    """Yields the areas in reading order: each line with text is in one of them, and in no other.

    Args:
        page: Passes `check_pages`.
    """
    taken: set[int] = set()
    for block in page.blocks:
        own = [at for at in dict.fromkeys(block.line_indices) if at not in taken]
        taken.update(own)
        yield Area(kind=block.kind, box=box(pixels(block.polygon, page)), lines=_written(page, own))
    rest = (at for at in range(len(page.lines)) if at not in taken)
    for group in paragraphs(page.lines, rest):
        if lines := _written(page, group):
            yield Area(kind=BlockKind.BLOCK_KIND_PARAGRAPH, box=_around(page, lines), lines=lines)


def _around(page: OcrPage, lines: Sequence[TextLine]) -> Box:
    boxes = [box(pixels(line.polygon, page)) for line in lines]
    return (
        min(left for left, *_ in boxes),
        min(top for _, top, *_ in boxes),
        max(right for *_, right, _ in boxes),
        max(bottom for *_, bottom in boxes),
    )


def _written(page: OcrPage, indices: Sequence[int]) -> list[TextLine]:
    return [page.lines[at] for at in indices if page.lines[at].text.strip()]
