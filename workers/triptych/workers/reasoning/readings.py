"""What was recognized on one page or in one recording, with the place of every word."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.transcription_pb2 import TranscriptionResult

Quad = tuple[float, ...]
"""Corners x0, y0, ... x3, y3, normalized to the upright page, clockwise in reading direction from the text's own top
left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One recognized word (a whole line or segment where the engine gives no words) and where it is.

    Attributes:
        start: Start in `Reading.text`, in code points.
        end: End in `Reading.text`, exclusive.
        line: Index of its line (page) or segment (recording).
        confidence: Of its recognition, 0 to 1; None if the engine gives none.
        quad: Corners on the page; empty in a recording.
        start_ms: Start in the recording; 0 on a page.
        end_ms: End in the recording, exclusive; 0 on a page.
        word: Index among all words of the page; None where the engine gives no words, and in a recording.
    """

    start: int
    end: int
    line: int
    confidence: float | None
    quad: Quad = ()
    start_ms: int = 0
    end_ms: int = 0
    word: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The recognized text of one page or one recording.

    Attributes:
        document_id: Key of its document in the request.
        title: Name of the document for people and models.
        page_number: 1-based page; 0 for a recording.
        text: The text, as `OcrPage.text` or `TranscriptionResult.text` has it.
        marks: Words in order of `start`.
        lines: Span in `text` of every line or segment.
        quads: Corners of every line; empty for a recording.
        aspect: Width of the upright page over its height.
        turn: Degrees clockwise by which the page as shown has to be turned to stand upright.
    """

    document_id: str
    title: str
    page_number: int
    text: str
    marks: Sequence[Mark]
    lines: Sequence[tuple[int, int]]
    quads: Sequence[Quad] = field(default=())
    aspect: float = 1.0
    turn: int = 0

    def marks_between(self, start: int, end: int) -> list[Mark]:
        """Gives the words that a span of the text touches."""
        return list(self.marks[self.mark_at(start) : bisect_left(self.marks, end, key=lambda mark: mark.start)])

    def mark_at(self, start: int) -> int:
        """Gives the index of the first word that ends after `start`."""
        return bisect_right(self.marks, start, key=lambda mark: mark.end)


def read_page(document_id: str, page: OcrPage, *, title: str = "") -> Reading:
    """Makes a reading of a recognized page."""
    turn = page.applied_rotation_degrees
    width, height = (page.width_px, page.height_px) if turn % 180 == 0 else (page.height_px, page.width_px)
    quads: list[Quad] = [tuple(turned(line.polygon, turn)) for line in page.lines]
    marks: list[Mark] = []
    before = 0
    for index, line in enumerate(page.lines):
        first, before = before, before + len(line.words)
        span = (line.text_start, line.text_end)
        confidence = line.confidence if line.HasField("confidence") else None
        places = _word_spans(page.text, span, [word.text for word in line.words])
        if places is None or not all(len(word.polygon) >= 8 for word in line.words):
            marks.append(Mark(start=span[0], end=span[1], line=index, confidence=confidence, quad=quads[index]))
            continue
        marks += [
            Mark(
                start=start,
                end=end,
                line=index,
                confidence=word.confidence if word.HasField("confidence") else confidence,
                quad=tuple(turned(word.polygon, turn)),
                word=first + place,
            )
            for place, (word, (start, end)) in enumerate(zip(line.words, places, strict=True))
        ]
    return Reading(
        document_id=document_id,
        title=title or document_id,
        page_number=page.page_number,
        text=page.text,
        marks=marks,
        lines=[(line.text_start, line.text_end) for line in page.lines],
        quads=quads,
        aspect=width / height if width and height else 1.0,
        turn=turn,
    )


def read_recording(document_id: str, transcript: TranscriptionResult, *, title: str = "") -> Reading:
    """Makes a reading of a transcript."""
    marks: list[Mark] = []
    for index, segment in enumerate(transcript.segments):
        span = (segment.text_start, segment.text_end)
        confidence = segment.confidence if segment.HasField("confidence") else None
        places = _word_spans(transcript.text, span, [word.text for word in segment.words])
        if places is None:
            start_ms, end_ms = segment.start_ms, segment.end_ms
            marks.append(
                Mark(start=span[0], end=span[1], line=index, confidence=confidence, start_ms=start_ms, end_ms=end_ms)
            )
            continue
        marks += [
            Mark(
                start=start,
                end=end,
                line=index,
                confidence=word.confidence if word.HasField("confidence") else confidence,
                start_ms=word.start_ms,
                end_ms=word.end_ms,
            )
            for word, (start, end) in zip(segment.words, places, strict=True)
        ]
    return Reading(
        document_id=document_id,
        title=title or document_id,
        page_number=0,
        text=transcript.text,
        marks=marks,
        lines=[(segment.text_start, segment.text_end) for segment in transcript.segments],
    )


def bounds(quads: Sequence[Quad]) -> Quad:
    """Gives the upright quad around some quads."""
    xs = [x for quad in quads for x in quad[0::2]]
    ys = [y for quad in quads for y in quad[1::2]]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left, top, right, top, right, bottom, left, bottom)


def _word_spans(text: str, line: tuple[int, int], words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Finds a line's words in its text; None if there are none, or they are not the line's."""
    spans = list(_walk(text, line, words))
    return spans if words and len(spans) == len(words) else None


def _walk(text: str, line: tuple[int, int], words: Sequence[str]) -> Iterator[tuple[int, int]]:
    cursor, end = line
    for word in words:
        found = text.find(word, cursor, end)
        if found < 0:
            return
        cursor = found + len(word)
        yield found, cursor
