"""Turns a span of recognized text into its place on the page, in the recording or in the text."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.core.page_turns import turned
from triptych.v1.common_pb2 import AudioAnchor, PageAnchor, TextAnchor
from triptych.v1.reasoning_pb2 import Evidence
from triptych.workers.reasoning.layout import box_of
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.readings import Mark, Quad, Reading, bounds


def anchored(reading: Reading, span: Span) -> Evidence:
    """Makes the evidence of a span: the document's own words, their place and the weakest confidence under them."""
    marks = reading.marks_between(span.start, span.end)
    evidence = Evidence(
        document_id=reading.document_id, quote=reading.text[span.start : span.end], quote_match=span.match
    )
    confidences = [mark.confidence for mark in marks if mark.confidence is not None]
    if confidences:
        evidence.confidence = min(confidences)
    if reading.page_number:
        evidence.page.CopyFrom(
            PageAnchor(
                page_number=reading.page_number,
                polygon=turned(_polygon(marks, span), -reading.turn),
                text_start=span.start,
                text_end=span.end,
                word_indices=[mark.word for mark in marks if mark.word is not None],
                frame_ms=reading.frame_ms,
            )
        )
    elif reading.is_text:
        part = reading.part(span.start, span.end)
        evidence.text.CopyFrom(TextAnchor(part=part, text_start=span.start, text_end=span.end))
    else:
        evidence.audio.CopyFrom(
            AudioAnchor(
                start_ms=min((mark.start_ms for mark in marks), default=0),
                end_ms=max((mark.end_ms for mark in marks), default=0),
                segment_index=marks[0].line if marks else 0,
            )
        )
    return evidence


def _polygon(marks: Sequence[Mark], span: Span) -> Quad:
    """Gives the quad around the words of a span: along the line if it is one line, upright around several."""
    quads = [_part(mark, span) for mark in marks if len(mark.quad) >= 8]
    if not quads:
        return ()
    upright = all(abs(quad[1] - quad[3]) < 0.2 * (box_of(quad).bottom - box_of(quad).top) for quad in quads)
    if upright or len({mark.line for mark in marks}) > 1:
        return bounds(quads)
    first, last = quads[0], quads[-1]
    return (*first[0:2], *last[2:4], *last[4:6], *first[6:8])


def _part(mark: Mark, span: Span) -> Quad:
    """Gives the part of a word's quad that the span covers, as if its signs were equally wide."""
    length = mark.end - mark.start
    left = max(0, span.start - mark.start) / length
    right = min(length, span.end - mark.start) / length
    quad = mark.quad
    top = [_between(quad[0:2], quad[2:4], at) for at in (left, right)]
    bottom = [_between(quad[6:8], quad[4:6], at) for at in (right, left)]
    return (*top[0], *top[1], *bottom[0], *bottom[1])


def _between(start: Sequence[float], end: Sequence[float], at: float) -> tuple[float, float]:
    return (start[0] + (end[0] - start[0]) * at, start[1] + (end[1] - start[1]) * at)
