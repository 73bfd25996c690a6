"""Has transcripts written as subtitles, tables and the like."""

from __future__ import annotations

from triptych.client.steps import Flow, call
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import (
    CueRules,
    FormatTranscriptRequest,
    FormatTranscriptResponse,
    TranscriptFormat,
)


def format_transcript(
    transcript: str | TranscriptionResult, transcript_format: TranscriptFormat.ValueType, cue_rules: CueRules | None
) -> Flow[str]:
    """Gives the content of the file; a name is that of a job."""
    request = FormatTranscriptRequest(format=transcript_format, cue_rules=cue_rules)
    if isinstance(transcript, str):
        request.job = transcript
    else:
        request.result.CopyFrom(transcript)
    return (yield from call("TranscriptionService", "FormatTranscript", request, FormatTranscriptResponse)).content
