"""Writes a transcript as text, as subtitles, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from triptych.core.cues import Cue, cues, label_of
from triptych.core.file_formats import UTF8, FileFormat, as_json
from triptych.core.pieces import clean
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules, TranscriptFormat


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


Format: TypeAlias = FileFormat[[TranscriptionResult, CueRules]]
FORMATS: Mapping[TranscriptFormat.ValueType, Format] = {
    TranscriptFormat.TRANSCRIPT_FORMAT_TEXT: FileFormat(media_type=f"text/plain; {UTF8}", suffix="txt", write=_text),
    TranscriptFormat.TRANSCRIPT_FORMAT_SRT: FileFormat(media_type="application/x-subrip", suffix="srt", write=_srt),
    TranscriptFormat.TRANSCRIPT_FORMAT_VTT: FileFormat(media_type="text/vtt", suffix="vtt", write=_vtt),
    TranscriptFormat.TRANSCRIPT_FORMAT_TSV: FileFormat(
        media_type=f"text/tab-separated-values; {UTF8}", suffix="tsv", write=_tsv
    ),
    TranscriptFormat.TRANSCRIPT_FORMAT_JSON: FileFormat(
        media_type="application/json", suffix="json", write=lambda result, _rules: as_json(result)
    ),
}
"""Every format of the contract."""
