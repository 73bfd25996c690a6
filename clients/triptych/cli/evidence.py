"""Evidence as lines: file, page and box in percent, span in minutes and seconds or part of a text, and the quote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from triptych.cli.printing import clock, enum_word

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import Evidence


def bounds(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    """Gives x_min, y_min, x_max, y_max of corners x0, y0, x1, y1, ..."""
    return min(polygon[0::2]), min(polygon[1::2]), max(polygon[0::2]), max(polygon[1::2])


def percent_box(polygon: Sequence[float]) -> str:
    """Gives a polygon's box as "x 10-35% y 62-65%" of the page."""
    if not polygon:
        return "whole page"
    left, top, right, bottom = (round(100 * value, 1) for value in bounds(polygon))
    return f"x {left:g}-{right:g}% y {top:g}-{bottom:g}%"


def place(evidence: Evidence) -> str:
    """Gives where in its document a piece of evidence is."""
    anchor = evidence.WhichOneof("anchor")
    if anchor == "audio":
        return f"{clock(evidence.audio.start_ms)} - {clock(evidence.audio.end_ms)}"
    if anchor == "text":
        return evidence.text.part or f"characters {evidence.text.text_start}-{evidence.text.text_end}"
    if anchor is None:
        return "in no document"
    page = evidence.page
    where = f"frame at {clock(page.frame_ms)}" if page.HasField("frame_ms") else f"page {page.page_number}"
    return f"{where}, {percent_box(page.polygon)}"


def line(evidence: Evidence, names: Mapping[str, str]) -> str:
    """Gives one piece of evidence as one line; documents have their names by id."""
    from triptych.v1.reasoning_pb2 import QuoteMatch

    name = names.get(evidence.document_id, evidence.document_id)
    parts = [f"[{evidence.evidence_id}]", *([name] if name else []), place(evidence)]
    if evidence.quote:
        # The quote stays one line, whatever line breaks the document has.
        parts.append(f'"{" ".join(evidence.quote.split())}"')
        parts.append(f"({enum_word(QuoteMatch, evidence.quote_match)})")
    return "  ".join(parts)
