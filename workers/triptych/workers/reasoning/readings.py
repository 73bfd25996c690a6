"""What was recognized on one page or in one recording, with the place of every word."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import OcrPage, OcrTable
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.workers.converters.contents import Contents

T = TypeVar("T")

Quad = tuple[float, ...]
"""Corners x0, y0, ... x3, y3, normalized to the upright page, clockwise in reading direction from the text's own top
left."""

# Measured: a word with its mark, its quad and what searches make of its signs; a reading without any; a table, by
# what it takes on the wire.
_WORD_BYTES, _SIGN_BYTES, _READING_BYTES, _TABLE_FACTOR = 520, 40, 1600, 4
_WORD = re.compile(r"\S+")


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
    """The recognized text of one page or one recording, or the text of a document that has neither.

    Attributes:
        document_id: Key of its document in the request.
        title: Name of the document for people and models.
        page_number: 1-based page, of a video the number of its key frame; 0 for a recording or a text.
        text: The text, as `OcrPage.text` or `TranscriptionResult.text` has it.
        marks: Words in order of `start`.
        lines: Span in `text` of every line or segment.
        quads: Corners of every line; empty for a recording or a text.
        aspect: Width of the upright page over its height.
        speakers: Who speaks each segment, "" if that is not known; empty for a page.
        turn: Degrees clockwise by which the page as shown has to be turned to stand upright.
        parts: Of a text: from where on which part of its document it is, (start, name for people), ascending.
        frame_ms: Of a video's key frame: when it is shown, in milliseconds.
        tables: Tables of the page, on the upright page; empty unless layout was asked for.
    """

    document_id: str
    title: str
    page_number: int
    text: str
    marks: Sequence[Mark]
    lines: Sequence[tuple[int, int]]
    quads: Sequence[Quad] = field(default=())
    speakers: Sequence[str] = ()
    aspect: float = 1.0
    turn: int = 0
    tables: Sequence[OcrTable] = ()
    parts: Sequence[tuple[int, str]] = ()
    frame_ms: int | None = None
    _made: dict[Callable[[Any], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[[Reading], T]) -> T:
        """Gives what `make` makes of this reading: made once, and as long there as the reading, for further questions.

        Args:
            make: A function of a module; what it gives must not be changed.
        """
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    def nbytes(self) -> int:
        """Estimates the memory that it takes with all that is made of it."""
        tables = _TABLE_FACTOR * sum(table.ByteSize() for table in self.tables)
        return _READING_BYTES + _WORD_BYTES * len(self.marks) + _SIGN_BYTES * len(self.text) + tables

    @property
    def is_text(self) -> bool:
        """Whether it is the text of a document that has neither pages nor sound."""
        return not self.page_number and bool(self.parts)

    def part(self, start: int, end: int) -> str:
        """Names the parts of the document that a span of a text touches: "slide 3", "sheet 'Costs', B7 to B9"."""
        first = self._part_at(start)
        last = self._part_at(max(start, end - 1))
        group, comma, place = last.rpartition(", ")
        if comma and first.startswith(f"{group}, "):
            last = place
        return first if last in {first, first.rpartition(", ")[2]} else f"{first} to {last}"

    def _part_at(self, place: int) -> str:
        at = bisect_right(self.parts, place, key=lambda part: part[0]) - 1
        return self.parts[max(0, at)][1]

    def marks_between(self, start: int, end: int) -> list[Mark]:
        """Gives the words that a span of the text touches."""
        return list(self.marks[self.mark_at(start) : bisect_left(self.marks, end, key=lambda mark: mark.start)])

    def mark_at(self, start: int) -> int:
        """Gives the index of the first word that ends after `start`."""
        return bisect_right(self.marks, start, key=lambda mark: mark.end)


def read_page(document_id: str, page: OcrPage, *, title: str = "", frame_ms: int | None = None) -> Reading:
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
        frame_ms=frame_ms,
        tables=[_upright(table, turn) for table in page.tables],
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
        speakers=[segment.speaker for segment in transcript.segments],
    )


def read_text(document_id: str, contents: Contents, *, title: str = "") -> Reading:
    """Makes a reading of the text of a document that has neither pages nor sound."""
    text = contents.text or ""
    return Reading(
        document_id=document_id,
        title=title or document_id,
        page_number=0,
        text=text,
        marks=[
            Mark(start=start + word.start(), end=start + word.end(), line=index, confidence=None)
            for index, (start, end) in enumerate(contents.lines)
            for word in _WORD.finditer(text[start:end])
        ],
        lines=contents.lines,
        parts=contents.parts or [(0, "body")],
    )


def bounds(quads: Sequence[Quad]) -> Quad:
    """Gives the upright quad around some quads."""
    xs = [x for quad in quads for x in quad[0::2]]
    ys = [y for quad in quads for y in quad[1::2]]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left, top, right, top, right, bottom, left, bottom)


def _upright(table: OcrTable, turn: int) -> OcrTable:
    copy = OcrTable()
    copy.CopyFrom(table)
    copy.polygon[:] = turned(table.polygon, turn)
    for cell in copy.cells:
        cell.polygon[:] = turned(cell.polygon, turn)
    return copy


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
