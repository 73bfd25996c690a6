"""Pages and transcripts as the engines give them, set in a fixed-width face so that every box is known."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.v1.ocr_pb2 import OcrPage, TextLine, TextOrigin
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord

CHAR_WIDTH = 0.01
LINE_HEIGHT = 0.02
Placed = tuple[float, float, str]
"""x and y of the top left, normalized, and the text of a line."""


def quad(x: float, y: float, chars: int) -> list[float]:
    right, bottom = x + chars * CHAR_WIDTH, y + LINE_HEIGHT
    return [x, y, right, y, right, bottom, x, bottom]


def page(*placed: Placed, number: int = 1, words: bool = True, confidence: float | None = 0.9) -> OcrPage:
    """Sets lines on a page; each word gets its box and 0.01 less confidence than the word before."""
    lines, start = [], 0
    for x, y, text in placed:
        line = TextLine(text=text, polygon=quad(x, y, len(text)), text_start=start, text_end=start + len(text))
        if confidence is not None:
            line.confidence = confidence
        at = 0
        for index, word in enumerate(text.split() if words else ()):
            at = text.index(word, at)
            entry = line.words.add(text=word, polygon=quad(x + at * CHAR_WIDTH, y, len(word)))
            if confidence is not None:
                entry.confidence = confidence - 0.01 * index
            at += len(word)
        lines.append(line)
        start += len(text) + 1
    return OcrPage(
        page_number=number,
        width_px=1000,
        height_px=1400,
        text_origin=TextOrigin.TEXT_ORIGIN_RECOGNIZED,
        text="\n".join(line.text for line in lines),
        lines=lines,
    )


def paragraph(*texts: str, number: int = 1) -> OcrPage:
    """Sets lines below each other."""
    return page(*((0.1, 0.05 + 0.03 * index, text) for index, text in enumerate(texts)), number=number)


def recording(*texts: str, words: bool = True) -> TranscriptionResult:
    """Speaks one segment after the other, half a second a word."""
    segments, start, now = [], 0, 0
    for index, text in enumerate(texts):
        segment = TranscriptSegment(
            index=index, start_ms=now, text=text, text_start=start, text_end=start + len(text), confidence=0.8
        )
        for word in text.split():
            if words:
                segment.words.append(TranscriptWord(start_ms=now, end_ms=now + 500, text=word, confidence=0.7))
            now += 500
        segment.end_ms = now
        segments.append(segment)
        start += len(text) + 1
    return TranscriptionResult(language_code="en", audio_duration_ms=now, text=" ".join(texts), segments=segments)


def boxes(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    """Gives left, top, right, bottom."""
    return min(polygon[0::2]), min(polygon[1::2]), max(polygon[0::2]), max(polygon[1::2])
