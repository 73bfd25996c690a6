"""A transcript on its way out: to the terminal as it comes, or into files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from triptych.cli.printing import clock

if TYPE_CHECKING:
    from triptych.cli.progress import JobDisplay
    from triptych.core.transcript_formats import Format
    from triptych.v1.job_pb2 import JobEvent
    from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment

FORMAT_NAMES = ("text", "srt", "vtt", "tsv", "json")


def format_named(name: str) -> Format:
    """Gives one of `FORMAT_NAMES`."""
    from triptych.core.transcript_formats import FORMATS
    from triptych.v1.transcription_service_pb2 import TranscriptFormat

    return FORMATS[TranscriptFormat.Value(f"TRANSCRIPT_FORMAT_{name.upper()}")]


def segment_lines(segment: TranscriptSegment) -> Sequence[str]:
    """Gives a segment as lines for people: its time and its text, then its words if there are any."""
    names = [f"channel {segment.channel}"] if segment.HasField("channel") else []
    who = ", ".join([*names, segment.speaker] if segment.speaker else names)
    said = f"[{who}] {segment.text}" if who else segment.text
    words = [f"    {clock(word.start_ms)} - {clock(word.end_ms)}  {word.text}" for word in segment.words]
    return [f"{clock(segment.start_ms)} - {clock(segment.end_ms)}  {said}", *words]


class LiveTranscript:
    """Writes segments to the terminal while the job still runs.

    Args:
        live: Whether somebody looks; otherwise all is written at the end, when nothing can change any more.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._written: list[Sequence[str]] = []

    def heed(self, event: JobEvent, display: JobDisplay) -> None:
        """Writes the segment of an event, if it has one that is new."""
        # A job that lost its worker tells again what it had told.
        if self._live and event.HasField("transcript_segment") and event.transcript_segment.index == len(self._written):
            self._written.append(segment_lines(event.transcript_segment))
            display.say("\n".join(self._written[-1]))

    def finish(self, result: TranscriptionResult) -> None:
        """Writes what is missing."""
        lines = [segment_lines(segment) for segment in result.segments]
        if self._written != lines[: len(self._written)]:
            click.echo("it was heard anew, and not all the same; the whole transcript:", err=True)
            self._written = []
        for segment in lines[len(self._written) :]:
            click.echo("\n".join(segment))
        if not lines:
            click.echo("no speech was found", err=True)
