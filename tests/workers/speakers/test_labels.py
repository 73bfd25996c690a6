"""Speakers in transcripts."""

from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.workers.speakers.labels import label
from triptych.workers.speakers.turns import Turn


def turn(start_ms, end_ms, speaker):
    return Turn(start_ms=start_ms, end_ms=end_ms, speaker=speaker)


def segment(start_ms, end_ms, text, *, words=(), channel=None):
    made = TranscriptSegment(start_ms=start_ms, end_ms=end_ms, text=text, confidence=0.9, language_code="en")
    made.words.extend(TranscriptWord(start_ms=start, end_ms=end, text=word) for start, end, word in words)
    if channel is not None:
        made.channel = channel
    return made


def transcript(*segments, joint=" "):
    result = TranscriptionResult(text=joint.join(one.text for one in segments))
    at = 0
    for index, one in enumerate(segments):
        one.index, one.text_start, one.text_end = index, at, at + len(one.text)
        at = one.text_end + len(joint)
        result.segments.append(one)
    return result


def told(result):
    """Who says what; whatever was cut, the segments are parts of the text and in order."""
    assert [one.index for one in result.segments] == list(range(len(result.segments)))
    for one in result.segments:
        assert result.text[one.text_start : one.text_end] == one.text == one.text.strip() != ""
    return [(one.speaker, one.text) for one in result.segments]


def test_a_segment_is_of_whoever_speaks_most_of_it():
    result = transcript(segment(0, 2000, "Hello there."), segment(2000, 6000, "Hello. How are you?"))
    label(result, {0: [turn(0, 2500, 0), turn(2500, 6000, 1)]})
    assert told(result) == [("S1", "Hello there."), ("S2", "Hello. How are you?")]


def test_a_segment_with_words_is_cut_where_the_speaker_changes():
    words = [(0, 400, "Are"), (400, 700, "you"), (700, 1300, "there?"), (1500, 1900, "Yes,"), (2000, 2600, "hello.")]
    result = transcript(segment(0, 2700, "Are you there? Yes, hello.", words=words), segment(3000, 3500, "Good."))
    label(result, {0: [turn(0, 1450, 0), turn(1450, 2650, 1), turn(3000, 3500, 0)]})
    assert told(result) == [("S1", "Are you there?"), ("S2", "Yes, hello."), ("S1", "Good.")]
    assert result.text == "Are you there? Yes, hello. Good."
    first, second, _ = result.segments
    assert (first.start_ms, first.end_ms, second.start_ms, second.end_ms) == (0, 1300, 1500, 2700)
    assert [word.speaker for word in (*first.words, *second.words)] == ["S1"] * 3 + ["S2"] * 2
    assert (second.confidence, second.language_code) == (first.confidence, "en")


def test_languages_without_blanks_are_cut_too():
    result = transcript(segment(0, 2000, "你好你好吗", words=[(0, 900, "你好"), (1000, 2000, "你好吗")]), joint="")
    label(result, {0: [turn(0, 950, 0), turn(950, 2000, 1)]})
    assert told(result) == [("S1", "你好"), ("S2", "你好吗")]


def test_words_that_are_not_those_of_the_text_cut_nothing():
    words = [(0, 900, "Hi"), (1000, 1800, "you"), (1800, 2000, "there")]
    result = transcript(segment(0, 2000, "Hello there", words=words))
    label(result, {0: [turn(0, 950, 0), turn(950, 2000, 1)]})
    assert told(result) == [("S2", "Hello there")]
    assert [word.speaker for word in result.segments[0].words] == ["S1", "S2", "S2"]


def test_where_nobody_was_heard_the_nearest_speaker_is_taken():
    result = transcript(
        segment(0, 100, "A"), segment(2100, 2300, "b"), segment(4500, 4800, "c"), segment(9000, 9500, "d")
    )
    label(result, {0: [turn(200, 2000, 0), turn(5000, 6000, 1)]})
    assert told(result) == [("S1", "A"), ("S1", "b"), ("S2", "c"), ("S2", "d")]


def test_speakers_of_different_channels_are_different_people():
    result = transcript(segment(0, 1000, "Left.", channel=0), segment(500, 1500, "Right.", channel=1))
    label(result, {0: [turn(600, 1000, 0)], 1: [turn(500, 1500, 0)]})
    assert told(result) == [("S2", "Left."), ("S1", "Right.")]


def test_without_turns_the_speaker_is_unknown():
    result = transcript(segment(0, 1000, "Hm."))
    label(result, {0: []})
    assert told(result) == [("", "Hm.")]
