"""How transcripts are cut into cues: where, how long, and what is never done, whatever the transcript."""

import string
import unicodedata
from itertools import pairwise

import pytest
from core.transcripts import said, segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.core.cues import FRAME_MS, Limits, cues
from triptych.core.pieces import clean, pieces_by_channel, width
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.v1.transcription_service_pb2 import CueRules

KENNEDY = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."


def lines(result, **rules):
    return [list(cue.lines) for cue in cues(result, CueRules(**rules))]


def times(result, **rules):
    return [(cue.start_ms, cue.end_ms) for cue in cues(result, CueRules(**rules))]


def test_a_long_sentence_is_cut_near_the_middle_behind_a_clause():
    result = said(segment(KENNEDY, 0, 5000))
    assert lines(result) == [
        ["And so, my fellow Americans,", "ask not what your country can do for you,"],
        ["ask what you can do for your country."],
    ]


def test_a_line_rather_ends_before_a_short_word_than_behind_it():
    result = said(segment("He never came back home to the house near the river.", 0, 3000))
    assert lines(result) == [["He never came back home", "to the house near the river."]]


def test_without_word_times_a_segment_shares_its_time_by_length():
    result = said(segment("One two. Six ten.", 1000, 4600))
    assert times(result) == [(1000, 2800), (2800, 4600)]


def test_cues_follow_the_times_of_words():
    words = [("one", 100, 300), ("two.", 400, 1500), ("Three", 2000, 2200), ("four.", 2300, 3500)]
    result = said(segment("one two. Three four.", 0, 4000, words=words))
    assert times(result) == [(100, 1500), (2000, 3500)]
    assert lines(result) == [["one two."], ["Three four."]]


def test_words_that_are_not_those_of_the_text_are_not_believed():
    for words in ([("other", 3000, 3500)], [("one", 3000, 3500)], [("two.", 3000, 3500)]):
        assert times(said(segment("one two.", 0, 4000, words=words))) == [(0, 4000)]


def test_a_sentence_that_could_not_be_read_alone_joins_its_neighbour():
    result = said(segment("Yes.", 0, 300), segment("I think so too.", 300, 2500))
    assert lines(result) == [["Yes. I think so too."]]
    # With room behind it, it stays alone, and longer than it is said.
    assert times(said(segment("Yes.", 0, 300), segment("I think so.", 1100, 2500))) == [(0, 1000), (1100, 2500)]


def test_a_long_pause_ends_a_cue():
    words = [("I", 0, 200), ("have", 300, 500), ("a", 2000, 2100), ("dream.", 2200, 3500)]
    assert lines(said(segment("I have a dream.", 0, 3500, words=words))) == [["I have"], ["a dream."]]


def test_a_change_of_speaker_ends_a_cue_and_names_them_if_asked_for():
    result = said(segment("Hello.", 0, 400, speaker="S1"), segment("Hi.", 400, 900, speaker="S2"))
    assert [(cue.label, cue.lines) for cue in cues(result, CueRules(show_speakers=True))] == [
        ("S1", ["Hello."]),
        ("S2", ["Hi."]),
    ]
    assert [cue.label for cue in cues(result, CueRules())] == ["", ""]


def test_the_speaker_of_a_word_counts_before_that_of_its_segment():
    words = [("Well?", 0, 900, "S1"), ("Well.", 900, 2000, "S2")]
    result = said(segment("Well? Well.", 0, 2000, words=words, speaker="S1"))
    assert [cue.label for cue in cues(result, CueRules(show_speakers=True))] == ["S1", "S2"]


def test_channels_are_named_and_may_speak_at_a_time():
    result = said(
        segment("Hello there.", 0, 2000, channel=0),
        segment("How are you?", 1000, 3000, channel=1),
        segment("Fine.", 2500, 4000, channel=0),
    )
    assert [(cue.label, cue.start_ms, cue.end_ms) for cue in cues(result, CueRules())] == [
        ("Channel 0", 0, 2000),
        ("Channel 1", 1000, 3000),
        ("Channel 0", 2500, 4000),
    ]


def test_the_name_of_the_speaker_takes_room_in_the_first_line():
    result = said(segment("aaaa bbbb cccc", 0, 2000, speaker="S1"))
    assert lines(result, max_line_length=10, show_speakers=True) == [["aaaa", "bbbb cccc"]]


def test_wide_characters_count_twice_and_need_no_blanks_to_be_cut():
    result = said(segment("今日は天気がいいので、公園まで散歩に行きましょう。", 0, 4000))
    assert lines(result, max_line_length=28) == [["今日は天気がいいので、", "公園まで散歩に行きましょう。"]]
    for cue in cues(result, CueRules(max_line_length=20)):
        assert all(width(line) <= 20 for line in cue.lines)
        assert not any(line.startswith(("、", "。")) for line in cue.lines)


def test_texts_of_scripts_without_blanks_are_joined_without():
    assert lines(said(segment("はい。", 0, 300, language="ja"), segment("そうです。", 300, 2000))) == [
        ["はい。そうです。"]
    ]
    assert lines(said(segment("네.", 0, 300), segment("그렇습니다.", 300, 2000))) == [["네. 그렇습니다."]]


def test_a_word_is_never_cut():
    address = "https://example.org/" + "a" * 60
    assert lines(said(segment(f"See {address} now.", 0, 3000))) == [["See", address], ["now."]]
    # Nor one that the engine heard as one in a script without blanks.
    words = [("図書館", 0, 500), ("で本を", 500, 1000)]
    result = said(segment("図書館で本を", 0, 1000, words=words))
    assert lines(result, max_line_length=10) == [["図書館", "で本を"]]


@pytest.mark.parametrize("name", ["Mr. Smith", "J. Smith", "the no. four"])
def test_an_abbreviation_ends_no_sentence(name):
    assert lines(said(segment(f"I met {name} there.", 0, 5000))) == [[f"I met {name} there."]]


def test_cues_end_with_the_audio_and_the_longest_time():
    result = said(segment("Bye.", 9800, 9900), duration_ms=10_000)
    assert times(result) == [(9800, 10_000)]
    assert times(said(segment("Slow.", 0, 60_000))) == [(0, 7000)]
    assert times(said(segment("Slow.", 0, 60_000)), max_duration_ms=30_000) == [(0, 30_000)]
    assert times(said(segment("Quick.", 0, 100)), min_duration_ms=0) == [(0, 100)]


def test_nothing_said_is_no_cue():
    assert cues(TranscriptionResult(), CueRules()) == []
    assert cues(said(segment("", 0, 10), segment(" \u200b\u0301 \x00", 0, 10)), CueRules()) == []


# Letters, marks, wide and wild characters, blanks of all kinds, and what subtitle files are made of.
TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet=string.ascii_letters + " .,?!<>&-\n", max_size=200),
    st.text(alphabet="日本語です、。「」かきくけこ กขคะาำเแ. \u00a0\u2028", max_size=120),
    st.lists(st.sampled_from(["a", "word", "-->", "&lt;", "1", "longer" * 20, "Mr.", "é", "한국어"]), max_size=60).map(
        " ".join
    ),
)
MOMENTS = st.integers(-1000, 100_000) | st.integers(-(2**31), 2**31 - 1)


@st.composite
def transcripts(draw):
    """Any transcript that a caller could send, its times in no order at all."""
    result = TranscriptionResult(audio_duration_ms=draw(st.sampled_from([0, 50_000])))
    for _ in range(draw(st.integers(0, 6))):
        text = draw(TEXTS)
        found = TranscriptSegment(
            text=text, start_ms=draw(MOMENTS), end_ms=draw(MOMENTS), speaker=draw(st.sampled_from(["", "S1", "S\n2"]))
        )
        if draw(st.booleans()):
            found.channel = draw(st.integers(0, 1))
        if draw(st.booleans()):
            for word in text.split():
                found.words.append(TranscriptWord(text=word, start_ms=draw(MOMENTS), end_ms=draw(MOMENTS)))
        result.segments.append(found)
    return result


RULES = st.builds(
    CueRules,
    max_line_length=st.sampled_from([0, 10, 37, 200]),
    max_line_count=st.integers(0, 5),
    max_duration_ms=st.sampled_from([0, 1000, 30_000]),
    min_duration_ms=st.sampled_from([None, 0, 5000]),
    show_speakers=st.booleans(),
)


def visible(text):
    """What is left of a text without blanks and marks."""
    return "".join(
        char for char in clean(text) if not char.isspace() and unicodedata.category(char) not in {"Mn", "Me", "Cf"}
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(transcripts(), RULES)
def test_whatever_the_transcript_every_word_is_shown_once_and_in_order(result, rules):
    found = cues(result, rules)
    by_channel = {None: "", 0: "", 1: ""}
    for each in result.segments:
        by_channel[each.channel if each.HasField("channel") else None] += visible(each.text)
    for channel, text in by_channel.items():
        name = "" if channel is None else f"Channel {channel}"
        shown = [cue for cue in found if cue.label.split(", ")[0].removeprefix("S1").removeprefix("S 2") == name]
        assert "".join(visible("".join(cue.lines)) for cue in shown) == text
        # Cues of one channel never overlap.
        assert all(one.end_ms <= other.start_ms for one, other in pairwise(shown))
    assert [cue.start_ms for cue in found] == sorted(cue.start_ms for cue in found)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(transcripts(), RULES)
def test_whatever_the_transcript_the_rules_are_kept(result, rules):
    limits = Limits.of(rules)
    for cue in cues(result, rules):
        assert 0 <= cue.start_ms < cue.end_ms
        assert cue.end_ms - cue.start_ms <= max(FRAME_MS, limits.max_ms)
        assert 1 <= len(cue.lines) <= limits.line_count
        for number, line in enumerate(cue.lines):
            assert line.strip()
            taken = width(line) + (0 if number or not cue.label else width(cue.label) + 2)
            assert taken <= limits.line_length or is_one_word(line, result)


def is_one_word(line, result):
    words = {clean(word.text) for each in result.segments for word in each.words}
    # Blanks that hold words together are in the line still.
    held = " " not in line and any(part in words for part in line.split())
    return held or len(pieces_by_channel(said(segment(line, 0, 1000)))[None]) == 1
