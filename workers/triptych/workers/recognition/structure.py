"""Finds the layout of a page that has been read: its blocks, and its tables with their cells."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

from triptych.core.errors import FeatureDisabled, FieldInvalid, ModelNotFound
from triptych.core.pages_markdown import block_markdown
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OCR_MODE_LAYOUT, BlockKind, OcrConfig, OcrPage, TextLine
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.layout import Box, LayoutEngine, LayoutImage, Region
from triptych.workers.engines.table import Grid, TableEngine, TableImage
from triptych.workers.media.reading_order import write_lines
from triptych.workers.recognition.structure_frame import Frame, Line, Pixels, union
from triptych.workers.recognition.structure_kinds import tell_kinds, without_captions
from triptych.workers.recognition.structure_regions import Block, blocks_of, distinct, in_reading_order, inside, outside
from triptych.workers.recognition.structure_tables import FoundTable, aligned_tables, found_table
from triptych.workers.station import Station

# A table is cut out with this margin.
_MARGIN_PX = 4

Steps = Generator[Future[Done[Any]], Any, OcrPage]
"""Yields what has to be waited for; its value is sent in. Returns the page."""


class Structure:
    """The layout of the pages of one attempt.

    Args:
        attempt: Of the job.
        layout: Where the layout model runs.
        tables: Where the table model runs.
    """

    def __init__(
        self,
        attempt: Attempt,
        layout: Station[LayoutImage, tuple[Region, ...]],
        tables: Station[TableImage, Grid],
    ) -> None:
        self._attempt = attempt
        self._layout = layout
        self._tables = tables
        self.models: tuple[ModelRef, ...] = (layout.engine.model, tables.engine.model)

    def steps(self, page: OcrPage, pixels: Pixels) -> Steps:
        """Finds the layout of one page.

        Args:
            page: Its lines, with words: cells get those. Filled in place; lines of a block stand together afterwards.
            pixels: The page as shown, shape (height, width, 3), RGB.
        """
        frame = Frame(pixels, page.applied_rotation_degrees)
        lines = frame.lines(page)
        image = LayoutImage(pixels=frame.pixels, stopped=self._attempt.stopped)
        regions: tuple[Region, ...] = yield self._attempt.submit(self._layout, image)
        asked: list[tuple[Region, Box, list[Line], Future[Done[Grid]]]] = []
        for region in distinct(regions, frame.page):
            if region.kind == BlockKind.BLOCK_KIND_TABLE:
                within = inside(region.box, lines)
                box = _with_margin(union([region.box, *(line.box for line in within)]), frame)
                item = TableImage(pixels=frame.crop(box), stopped=self._attempt.stopped)
                asked.append((region, box, within, self._attempt.submit(self._tables, item)))
        tables: list[Block] = []
        found: list[FoundTable] = []
        # What turns out to be no table hides nothing any more.
        kept = [region for region in regions if region.kind != BlockKind.BLOCK_KIND_TABLE]
        for region, box, within, future in asked:
            grid: Grid = yield future
            table = found_table(grid, frame, box, within)
            if table:
                kept.append(region)
                tables.append(_table_block(table, len(found), region.confidence))
                found.append(table)
        rest = [region for region in distinct(kept, frame.page) if region.kind != BlockKind.BLOCK_KIND_TABLE]
        taken = {index for block in tables for index in block.lines}
        free = [line for line in lines if line.index not in taken]
        for table in aligned_tables(frame, outside(rest, free)):
            tables.append(_table_block(table, len(found), None))
            found.append(table)
            taken.update(table.line_indices)
        blocks = tables + blocks_of(rest, page, [line for line in lines if line.index not in taken])
        blocks = in_reading_order(without_captions(blocks, lines), lines)
        tell_kinds(blocks, lines, frame.height)
        page.tables.extend(table.table for table in found)
        _write_blocks(page, frame, blocks)
        return page


def structure(
    attempt: Attempt, get: Callable[[str], Station[Any, Any]], layout_model: str, table_model: str, config: OcrConfig
) -> Structure | None:
    """Makes ready to find the layout, before anything of the document is read; None: nobody asked for it.

    Args:
        attempt: Of the job.
        get: Gives the station of a model.
        layout_model: Name of the layout model; empty: there is none.
        table_model: Name of the table model; empty: there is none.
        config: Says whether.

    Raises:
        FeatureDisabled: This worker cannot; the message says what is missing.
    """
    if config.mode != OCR_MODE_LAYOUT:
        return None
    found = []
    for name, variable, kind in (
        (layout_model, "TRIPTYCH_LAYOUT_MODEL", LayoutEngine),
        (table_model, "TRIPTYCH_TABLE_MODEL", TableEngine),
    ):
        if not name:
            raise FeatureDisabled(f"layout is not found here: {variable} is empty")
        try:
            station = get(name)
        except (FieldInvalid, ModelNotFound) as error:
            raise FeatureDisabled(f"layout cannot be found: {error}", metadata={"model": name}) from error
        if not isinstance(station.engine, kind):
            raise FeatureDisabled(f"layout cannot be found: {name} does not fit {variable}", metadata={"model": name})
        found.append(station)
    return Structure(attempt, *found)


def _with_margin(box: Box, frame: Frame) -> Box:
    left, top, right, bottom = box
    return (
        float(max(0, round(left) - _MARGIN_PX)),
        float(max(0, round(top) - _MARGIN_PX)),
        float(min(frame.width, round(right) + _MARGIN_PX)),
        float(min(frame.height, round(bottom) + _MARGIN_PX)),
    )


def _table_block(table: FoundTable, index: int, confidence: float | None) -> Block:
    kind = BlockKind.BLOCK_KIND_TABLE
    return Block(kind=kind, box=table.box, confidence=confidence, lines=table.line_indices, table=index)


def _write_blocks(page: OcrPage, frame: Frame, blocks: list[Block]) -> None:
    order = [index for block in blocks for index in block.lines]
    in_blocks = set(order)
    # Lines without text or place belong to no block; they come last.
    order += [index for index in range(len(page.lines)) if index not in in_blocks]
    before: list[TextLine] = list(page.lines)
    del page.lines[:]
    write_lines(page, (before[index] for index in order))
    place = {index: at for at, index in enumerate(order)}
    for block in blocks:
        told = page.blocks.add(kind=block.kind, polygon=frame.polygon(block.box))
        told.line_indices.extend(place[index] for index in block.lines)
        if block.confidence is not None:
            told.confidence = block.confidence
        if block.table is not None:
            told.table_index = block.table
        told.markdown = block_markdown(page, told)
