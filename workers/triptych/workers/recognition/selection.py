"""Which pages of a document are read."""

from __future__ import annotations

from itertools import pairwise

from triptych.core.errors import FieldInvalid, InputTooLarge, RangeOutsideSource
from triptych.v1.ocr_pb2 import OcrSpec


def selected_pages(spec: OcrSpec, page_count: int, max_page_count: int) -> list[int]:
    """Gives the page numbers asked for, in the order of the document.

    Raises:
        FieldInvalid: A range is no range, or two overlap.
        RangeOutsideSource: A range ends beyond the document.
        InputTooLarge: More pages than allowed.
    """
    ranges: list[tuple[int, int]] = []
    for index, asked in enumerate(spec.pages):
        last = asked.last_page or max(page_count, asked.first_page)
        if asked.first_page < 1 or last < asked.first_page:
            raise FieldInvalid(f"pages[{index}]", "needs 1 <= first_page <= last_page")
        if last > page_count:
            raise RangeOutsideSource(f"page {last} was asked for, but the document has {page_count}")
        ranges.append((asked.first_page, last))
    ranges = sorted(ranges) or [(1, page_count)]
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        raise FieldInvalid("pages", "ranges overlap")
    count = sum(last - first + 1 for first, last in ranges)
    if count > max_page_count:
        raise InputTooLarge(f"{count} pages in one job", limit=max_page_count, value=count)
    return [number for first, last in ranges for number in range(first, last + 1)]
