"""Reads PowerPoint files: the text of every slide, its tables, charts and notes, and pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pptx import Presentation

from triptych.core.document_types import PPTX_TYPE
from triptych.workers.converters import office_file
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Cell, Lines
from triptych.workers.converters.members import Members


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:
    """Reads a PowerPoint file.

    Raises:
        MediaCorrupt: It is none, or damaged.
        InputTooLarge: Too much is in it.
    """
    office_file.check(path, limits)
    lines, members = Lines(), Members(folder, limits)
    seen: set[bytes] = set()
    for number, slide in enumerate(Presentation(str(path)).slides, 1):
        name = f"slide {number}"
        pictures = 0
        for shape in _shapes(slide.shapes):
            _read(shape, name, lines)
            image = _image(shape)
            if image and office_file.may_have_words(image):
                digest = hashlib.sha256(image).digest()
                if digest not in seen:  # a background or a logo stands on every slide
                    seen.add(digest)
                    pictures += 1
                    members.add(f"{name}, picture {pictures}", [image])
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            for paragraph in slide.notes_slide.notes_text_frame.paragraphs:
                lines.add(_text(paragraph), f"{name}, notes")
    return Contents(media_type=PPTX_TYPE, text=lines.text, lines=lines.spans, parts=lines.parts, members=members.found)


def _shapes(shapes: Iterable[Any]) -> Iterator[Any]:
    """Yields shapes in order, also those in groups."""
    waiting = list(shapes)[::-1]
    while waiting:
        shape = waiting.pop()
        if hasattr(shape, "shapes"):
            waiting += list(shape.shapes)[::-1]
        else:
            yield shape


def _read(shape: Any, name: str, lines: Lines) -> None:
    if shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            lines.add(_text(paragraph), name)
    if getattr(shape, "has_table", False):
        rows = [[Cell(text=cell.text, part=name) for cell in row.cells] for row in shape.table.rows]
        lines.table(rows, has_head=True if shape.table.first_row and len(rows) > 1 else None)
    if getattr(shape, "has_chart", False):
        _chart(shape.chart, name, lines)


def _text(paragraph: Any) -> str:
    # A vertical tab is a line break within a paragraph.
    return str(paragraph.text).replace("\v", " ")


def _chart(chart: Any, name: str, lines: Lines) -> None:
    """Adds the numbers of a chart as a table: series by category."""
    for plot in chart.plots:
        series = list(plot.series)
        head = [Cell(text=text, part=name) for text in ("", *(str(each.name) for each in series))]
        rows = [
            [Cell(text=text, part=name) for text in (str(category), *_values(series, index))]
            for index, category in enumerate(plot.categories)
        ]
        lines.table([head, *rows], has_head=True)


def _values(series: list[Any], index: int) -> Iterator[str]:
    for each in series:
        values = each.values
        value = values[index] if index < len(values) else None
        yield "" if value is None else f"{value:.10g}"


def _image(shape: Any) -> bytes:
    """Gives the picture of a shape; empty if it has none, or only a link to one."""
    try:
        return bytes(shape.image.blob)
    except (AttributeError, KeyError, ValueError):
        return b""
