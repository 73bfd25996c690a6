"""What is written, read back by parsers that are not ours."""

import json
from datetime import timedelta

import pytest
import srt
import webvtt
from core.test_cues import RULES, transcripts
from core.transcripts import said, segment
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings

from triptych.core.cues import cues
from triptych.core.transcript_formats import FORMATS
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules, TranscriptFormat

TEXT = TranscriptFormat.TRANSCRIPT_FORMAT_TEXT
SRT = TranscriptFormat.TRANSCRIPT_FORMAT_SRT
VTT = TranscriptFormat.TRANSCRIPT_FORMAT_VTT
TSV = TranscriptFormat.TRANSCRIPT_FORMAT_TSV
JSON = TranscriptFormat.TRANSCRIPT_FORMAT_JSON
CALL = said(
    segment("Fish & chips <please>?", 0, 1500, channel=0, speaker="S1"),
    segment("No --> way\n\nman", 3_725_250, 3_727_000, channel=1),
)


def write(result, format_, **rules):
    return FORMATS[format_].write(result, CueRules(**rules))


def test_every_format_of_the_contract_can_be_written():
    assert set(FORMATS) == set(TranscriptFormat.values()) - {TranscriptFormat.TRANSCRIPT_FORMAT_UNSPECIFIED}


def test_subrip():
    assert write(CALL, SRT) == (
        "1\n00:00:00,000 --> 00:00:01,500\nChannel 0: Fish & chips <please>?\n\n"
        "2\n01:02:05,250 --> 01:02:07,000\nChannel 1: No --> way man\n"
    )


def test_webvtt_escapes_what_would_be_a_tag_an_entity_or_an_arrow():
    assert write(CALL, VTT, show_speakers=True) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.500\n<v Channel 0, S1>Fish &amp; chips &lt;please&gt;?\n\n"
        "01:02:05.250 --> 01:02:07.000\n<v Channel 1>No --&gt; way man\n"
    )


def test_text_and_table_have_a_line_per_segment():
    assert write(CALL, TEXT) == "Channel 0: Fish & chips <please>?\nChannel 1: No --> way man\n"
    assert write(CALL, TSV) == ("start\tend\ttext\n0\t1500\tFish & chips <please>?\n3725250\t3727000\tNo --> way man\n")
    assert write(said(segment("Hi.", 0, 10, speaker="S1")), TEXT, show_speakers=True) == "S1: Hi.\n"


def test_json_has_everything_under_the_names_of_the_contract():
    told = json.loads(write(CALL, JSON))
    assert told["segments"][0]["start_ms"] == 0
    assert json_format.ParseDict(told, TranscriptionResult()) == CALL


@pytest.mark.parametrize(
    ("format_", "content"), [(TEXT, ""), (SRT, ""), (VTT, "WEBVTT\n"), (TSV, "start\tend\ttext\n")]
)
def test_silence(format_, content):
    assert write(TranscriptionResult(), format_) == content


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(transcripts(), RULES)
def test_another_parser_reads_the_same_cues_from_subrip(result, rules):
    wanted = cues(result, rules)
    content = FORMATS[SRT].write(result, rules)
    found = list(srt.parse(content))
    assert [each.index for each in found] == list(range(1, len(wanted) + 1))
    for each, cue in zip(found, wanted, strict=True):
        assert (each.start, each.end) == (timedelta(milliseconds=cue.start_ms), timedelta(milliseconds=cue.end_ms))
        assert each.start < each.end
        text = "\n".join(cue.lines)
        assert each.content == (f"{cue.label}: {text}" if cue.label else text)
    # Its own order, which it would mend, is ours; no block is empty or broken.
    assert list(srt.sort_and_reindex(found, skip=False)) == found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(transcripts(), RULES)
def test_another_parser_reads_the_same_cues_from_webvtt(result, rules):
    wanted = cues(result, rules)
    found = webvtt.from_string(FORMATS[VTT].write(result, rules))
    assert len(found) == len(wanted)
    for caption, cue in zip(found, wanted, strict=True):
        assert ms(caption.start) == cue.start_ms
        assert ms(caption.end) == cue.end_ms
        assert unescaped(caption.text) == "\n".join(cue.lines)
        assert unescaped(caption.voice or "") == cue.label


def ms(clock):
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + int(seconds.replace(".", ""))


def unescaped(text):
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(transcripts(), RULES)
def test_every_segment_has_one_line_in_a_table(result, rules):
    heading, *rows = FORMATS[TSV].write(result, rules).splitlines()
    assert heading == "start\tend\ttext"
    assert [row.split("\t")[:2] for row in rows] == [[str(one.start_ms), str(one.end_ms)] for one in result.segments]
