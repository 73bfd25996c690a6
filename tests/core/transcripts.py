"""Transcripts for tests."""

from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord


def segment(text, start_ms, end_ms, *, words=(), speaker="", channel=None, language=""):
    """A segment; words are (text, start_ms, end_ms) or those with a speaker."""
    found = TranscriptSegment(text=text, start_ms=start_ms, end_ms=end_ms, speaker=speaker, language_code=language)
    if channel is not None:
        found.channel = channel
    for said_word, word_start_ms, word_end_ms, *who in words:
        found.words.append(
            TranscriptWord(text=said_word, start_ms=word_start_ms, end_ms=word_end_ms, speaker="".join(who))
        )
    return found


def said(*segments, duration_ms=0):
    """A transcript of these segments."""
    text = " ".join(each.text for each in segments)
    return TranscriptionResult(segments=segments, text=text, audio_duration_ms=duration_ms)
