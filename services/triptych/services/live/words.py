"""Words of a transcript, and a transcript on the clock of the call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from triptych.v1.common_pb2 import TimeRange
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord

_Timed = TranscriptSegment | TranscriptWord | TimeRange
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """A word as one decoding gave it, in milliseconds from the beginning of the call."""

    start_ms: int
    end_ms: int
    text: str
    """With what stands before it: texts of words in a row make the text."""

    @property
    def key(self) -> str:
        """What two decodings must have in common: the word without case and marks."""
        return _MARKS.sub("", self.text).casefold() or self.text.strip()

    @property
    def middle_ms(self) -> int:
        """Tells to which side of a cut it belongs."""
        return (self.start_ms + self.end_ms) // 2

    @property
    def ends_sentence(self) -> bool:
        """Whether a sentence ends with it."""
        return self.text.rstrip("\"'”’»)]}」』").endswith((".", "?", "!", "…", "。", "？", "！"))


def words_of(result: TranscriptionResult, shift_ms: int) -> Iterator[HeardWord]:
    """Yields the words of a transcript; a segment of which no words are timed counts as one.

    Args:
        result: Times from the beginning of what was decoded.
        shift_ms: Where in the call that begins.
    """
    at = 0
    for segment in result.segments:
        for word in segment.words or (segment,):
            found = result.text.find(word.text, at)
            end = found + len(word.text) if found >= 0 else at
            text = result.text[at:end] if found >= 0 else f" {word.text}"
            at = end
            yield HeardWord(start_ms=shift_ms + word.start_ms, end_ms=shift_ms + word.end_ms, text=text)


def shifted(result: TranscriptionResult, shift_ms: int, first_index: int) -> TranscriptionResult:
    """Gives a transcript with times from the beginning of the call.

    Args:
        result: Times from the beginning of what was decoded.
        shift_ms: Where in the call that begins.
        first_index: Segments of the call before it.
    """
    moved = TranscriptionResult()
    moved.CopyFrom(result)
    for segment in moved.segments:
        segment.index += first_index
    timed: Iterable[_Timed] = (
        *moved.segments,
        *(word for each in moved.segments for word in each.words),
        *moved.speech,
    )
    for each in timed:
        each.start_ms += shift_ms
        each.end_ms += shift_ms
    return moved
