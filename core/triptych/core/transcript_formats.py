"""Writes a transcript as text, as subtitles, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict

from triptych.core.cues import Cue, cues, label_of
from triptych.core.pieces import clean
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules, TranscriptFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write it.

    Attributes:
        suffix: Of files.
        write: Gives the content, with a line feed at line ends.
    """

    media_type: str
    suffix: str
    write: Callable[[TranscriptionResult, CueRules], str]


def _text(result: TranscriptionResult, rules: CueRules) -> str:
    return "".join(f"{line}\n" for line in _text_lines(result, rules))


def _text_lines(result: TranscriptionResult, rules: CueRules) -> Iterator[str]:
    for segment in result.segments:
        label = label_of(segment.channel if segment.HasField("channel") else None, clean(segment.speaker), rules)
        if text := clean(segment.text):
            yield f"{label}: {text}" if label else text


def _srt(result: TranscriptionResult, rules: CueRules) -> str:
    return "\n".join(_srt_cue(number, cue) for number, cue in enumerate(cues(result, rules), 1))


def _srt_cue(number: int, cue: Cue) -> str:
    # SubRip has no escapes: text stands as it is.
    text = "\n".join(cue.lines)
    label = f"{cue.label}: " if cue.label else ""
    return f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{label}{text}\n"


def _vtt(result: TranscriptionResult, rules: CueRules) -> str:
    return "\n".join(["WEBVTT\n", *map(_vtt_cue, cues(result, rules))])


def _vtt_cue(cue: Cue) -> str:
    # Without "&" and "<" nothing is a tag, without ">" nothing an arrow: https://www.w3.org/TR/webvtt1/#webvtt-cue-text
    text = _escaped("\n".join(cue.lines))
    voice = f"<v {_escaped(cue.label)}>" if cue.label else ""
    return f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{voice}{text}\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{ms:03d}"


def _tsv(result: TranscriptionResult, _rules: CueRules) -> str:
    rows = (f"{segment.start_ms}\t{segment.end_ms}\t{clean(segment.text)}\n" for segment in result.segments)
    return "".join(["start\tend\ttext\n", *rows])


def _json(result: TranscriptionResult, _rules: CueRules) -> str:
    told = MessageToDict(result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


_UTF8 = "charset=utf-8"
FORMATS: Mapping[TranscriptFormat.ValueType, Format] = {
    TranscriptFormat.TRANSCRIPT_FORMAT_TEXT: Format(media_type=f"text/plain; {_UTF8}", suffix="txt", write=_text),
    TranscriptFormat.TRANSCRIPT_FORMAT_SRT: Format(media_type="application/x-subrip", suffix="srt", write=_srt),
    TranscriptFormat.TRANSCRIPT_FORMAT_VTT: Format(media_type="text/vtt", suffix="vtt", write=_vtt),
    TranscriptFormat.TRANSCRIPT_FORMAT_TSV: Format(
        media_type=f"text/tab-separated-values; {_UTF8}", suffix="tsv", write=_tsv
    ),
    TranscriptFormat.TRANSCRIPT_FORMAT_JSON: Format(media_type="application/json", suffix="json", write=_json),
}
"""Every format of the contract."""
