"""Cuts the text of a window into sentences, with times on the clock of the whole audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.workers.hearing.windows import Window

_SENTENCE_ENDS = ".?!…。？！"
_CLOSING = "\"'”’»)]}」』"
# Shorter than this it is rather an abbreviation than a sentence.
_MIN_SENTENCE_MS = 1500
# A silence that voice-activity detection took out; no sentence is worth stretching over it.
_MAX_PAUSE_MS = 2000


def segments_of(window: Window, transcript: TranscriptionResult, *, words: bool) -> Iterator[TranscriptSegment]:
    """Yields the sentences of a window, without index and place in the text.

    The decoder writes a window in one go, so its confidence and its doubts are those of every sentence in it.

    Args:
        window: Where in the audio the text was heard.
        transcript: Of that window, as the engine gave it: times from the window's start.
        words: Whether the segments keep their words.
    """
    for whole in transcript.segments:
        for text, sentence in _sentences(whole, _placed(window, whole.words)):
            segment = TranscriptSegment()
            segment.CopyFrom(whole)
            del segment.words[:]
            segment.start_ms = sentence[0].start_ms if sentence else window.stretches[0].start_ms
            segment.end_ms = sentence[-1].end_ms if sentence else window.stretches[-1].end_ms
            segment.text = text
            segment.words.extend(sentence if words else ())
            if window.channel is not None:
                segment.channel = window.channel
            yield segment


def _placed(window: Window, words: Sequence[TranscriptWord]) -> list[TranscriptWord]:
    placed = []
    for word in words:
        start_ms, end_ms = window.source_ms(word.start_ms, word.end_ms)
        placed.append(TranscriptWord(start_ms=start_ms, end_ms=end_ms, text=word.text, confidence=word.confidence))
    return placed


def _sentences(
    whole: TranscriptSegment, words: Sequence[TranscriptWord]
) -> Iterator[tuple[str, Sequence[TranscriptWord]]]:
    """Yields (text, its words); together the texts are the whole text but for the blanks between them."""
    first, cut, at = 0, 0, 0
    for index, word in enumerate(words):
        found = whole.text.find(word.text, at)
        at = found + len(word.text) if found >= 0 else at
        if index + 1 < len(words) and _ends(words[first], word, words[index + 1]):
            yield whole.text[cut:at].strip(), words[first : index + 1]
            first, cut = index + 1, at
    yield whole.text[cut:].strip(), words[first:]


def _ends(first: TranscriptWord, last: TranscriptWord, following: TranscriptWord) -> bool:
    """Whether a sentence ends after `last`."""
    if following.start_ms - last.end_ms > _MAX_PAUSE_MS:
        return True
    ended = last.text.rstrip(_CLOSING).endswith(tuple(_SENTENCE_ENDS))
    return ended and last.end_ms - first.start_ms >= _MIN_SENTENCE_MS
