"""Writes transcripts as subtitles, tables and the like: those of jobs, and those that callers send."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from triptych.core.errors import InputTooLarge
from triptych.core.transcript_formats import FORMATS
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.results import ended_job, raw_result
from triptych.v1.job_pb2 import JobResult
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import (
    CueRules,
    FormatTranscriptRequest,
    FormatTranscriptResponse,
    TranscriptFormat,
)

# Length of a line, lines, and longest time: 0 is the default, otherwise from and to.
_RANGES = {"max_line_length": (10, 200), "max_line_count": (1, 5), "max_duration_ms": (1000, 30_000)}


class Transcripts:
    """Finds what is to be written, and writes it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # Writing takes 5 µs of a processor a word: one at a time, so that a caller with millions of them holds up only
        # those who want the same. Whoever leaves before it is their turn is forgotten.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="transcripts")

    async def format(self, request: FormatTranscriptRequest) -> FormatTranscriptResponse:
        """Gives the content of a file.

        Raises:
            FieldInvalid: The format or a rule; or the job is no transcription.
            JobNotFound, JobNotTerminal, BlobNotFound: There is no transcript, not yet, or no more.
            TriptychError: The error with which the job ended.
            InputTooLarge: What is written exceeds a message.
        """
        _check(request)
        result = request.result if request.WhichOneof("source") == "result" else await self._result(request.job)
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._writer, _written, result, request.format, request.cue_rules)
        most, size = self._backend.settings.max_message_bytes, response.ByteSize()
        if size > most:
            raise InputTooLarge(
                f"the transcript would have {size} bytes, and a message has at most {most}; fetch the job's result and "
                "write it where you are",
                limit=most,
                value=size,
            )
        return response

    async def _result(self, name: str) -> TranscriptionResult:
        record = await ended_job(self._backend, name, "transcription")
        return JobResult.FromString(await raw_result(self._backend, record)).transcription


def _check(request: FormatTranscriptRequest) -> None:
    fields.known_enums(request, "")
    fields.need(request.WhichOneof("source") is not None, "source", "exactly one of job and result must be set")
    fields.need(request.format != TranscriptFormat.TRANSCRIPT_FORMAT_UNSPECIFIED, "format", "must be set")
    rules = request.cue_rules
    for name, (least, most) in _RANGES.items():
        value = getattr(rules, name)
        fields.need(
            value == 0 or least <= value <= most,
            f"cue_rules.{name}",
            f"must be from {least} to {most}, or 0, not {value}",
        )
    fields.in_range(rules, "min_duration_ms", 0, 5000, "cue_rules")


def _written(
    result: TranscriptionResult, format_: TranscriptFormat.ValueType, rules: CueRules
) -> FormatTranscriptResponse:
    found = FORMATS[format_]
    return FormatTranscriptResponse(content=found.write(result, rules), media_type=found.media_type)
