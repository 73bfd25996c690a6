"""Looks at what was read before it is written: what a caller sends may lack places, or point to what is not there."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.any_pb2 import Any
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from triptych.core.errors import FieldInvalid
from triptych.v1.ocr_pb2 import OcrPage, OcrResult

# A table is written cell by cell, and its size is a claim.
MAX_TABLE_CELLS = 100_000


def check_pages(result: OcrResult) -> None:
    """Asks for all that every format needs.

    Raises:
        FieldInvalid: No pages, or not in order; a page without a size; a line, word or block without corners; a block
            that names lines or a table that the page does not have; a table that is larger than any page.
    """
    if not result.pages:
        raise FieldInvalid("result.pages", "is empty")
    before = 0
    for index, page in enumerate(result.pages):
        path = f"result.pages[{index}]"
        _need(page.page_number > before, f"{path}.page_number", "pages count from 1, and stand in order")
        before = page.page_number
        _check_page(page, path)


def _check_page(page: OcrPage, path: str) -> None:
    _need(all(map(_is_known, page.error.details)), f"{path}.error.details", "has a message of an unknown type")
    _need(not page.lines or min(page.width_px, page.height_px) >= 1, f"{path}.width_px", "a page of lines has a size")
    for at, line in enumerate(page.lines):
        _need(_has_corners(line.polygon), f"{path}.lines[{at}].polygon", "needs four corners or more: x0, y0, x1, ...")
        has_places = all(_has_corners(word.polygon) for word in line.words)
        _need(has_places, f"{path}.lines[{at}].words", "each needs four corners or more")
    for at, block in enumerate(page.blocks):
        place = f"{path}.blocks[{at}]"
        _need(_has_corners(block.polygon), f"{place}.polygon", "needs four corners or more: x0, y0, x1, ...")
        _need(_within(block.line_indices, len(page.lines)), f"{place}.line_indices", "names a line that is not there")
        tables = [block.table_index] if block.HasField("table_index") else []
        _need(_within(tables, len(page.tables)), f"{place}.table_index", "names a table that is not there")
    for at, table in enumerate(page.tables):
        sides = (table.row_count, table.column_count)
        fits = min(sides) >= 0 and sides[0] * sides[1] <= MAX_TABLE_CELLS
        _need(fits, f"{path}.tables[{at}]", f"has over {MAX_TABLE_CELLS} cells, or a negative number of them")


def _need(holds: bool, field: str, message: str) -> None:
    if not holds:
        raise FieldInvalid(field, message)


def _is_known(detail: Any) -> bool:
    try:
        MessageToDict(detail)
    except (TypeError, ValueError, DecodeError):
        return False
    return True


def _has_corners(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 8 and len(polygon) % 2 == 0


def _within(indices: Sequence[int], count: int) -> bool:
    return all(0 <= index < count for index in indices)
