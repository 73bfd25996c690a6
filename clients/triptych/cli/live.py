"""`triptych live`: speech to text while it is spoken."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.live_source import file_pieces, paced, stdin_pieces
from triptych.cli.printing import as_dict, clock, echo_json

if TYPE_CHECKING:
    from triptych.v1.transcription_service_pb2 import LiveInterim, LiveTranscribeResponse


@click.command()
@click.argument("source", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@options.model_option
@options.language_option
@options.words_option
@click.option("--translate", is_flag=True, help="Translate into English.")
@click.option("--rate", default=16_000, show_default=True, metavar="HZ", help="Of samples on standard input.")
@click.option("--channels", default=1, show_default=True, metavar="N", help="Interleaved, on standard input.")
@click.option("--float", "as_float", is_flag=True, help="Samples on standard input have 32-bit floats, not 16 bits.")
@click.option("--silence", "silence_ms", default=0, metavar="MS", help="That ends an utterance; default: the server's.")
@click.option("--fast", is_flag=True, help="Send a file as fast as it is heard, not as it would be spoken.")
@options.server_options
@options.json_option
def live(
    *,
    source: str,
    model: str,
    language: str,
    words: bool,
    translate: bool,
    rate: int,
    channels: int,
    as_float: bool,
    silence_ms: int,
    fast: bool,
    server: Server,
    as_json: bool,
) -> None:
    """Writes what is said in FILE, or in samples on standard input (-), while it is spoken: a line per segment.

    On a terminal what may still change is shown below. Ctrl-C ends the speech, and what was said is still written.
    """
    from triptych.v1 import transcription_pb2 as speech
    from triptych.v1 import transcription_service_pb2 as pb

    task = speech.TRANSCRIPTION_TASK_TRANSLATE if translate else speech.TRANSCRIPTION_TASK_UNSPECIFIED
    config = pb.LiveConfig(
        config=speech.TranscriptionConfig(model=model, language_code=language, enable_word_timestamps=words, task=task),
        encoding=pb.LIVE_ENCODING_PCM_F32LE if as_float else pb.LIVE_ENCODING_PCM_S16LE,
        sample_rate_hz=rate,
        channel_count=channels,
        interim_results=as_json or sys.stderr.isatty(),
        endpointing=pb.Endpointing(silence_ms=silence_ms),
    )
    if source == "-":
        pieces, fast = stdin_pieces((4 if as_float else 2) * max(1, channels)), True
    else:
        pieces = file_pieces(Path(source), config)
    with server.connect() as client:
        for event in client.live_transcribe(paced(pieces, _stopped_by_interrupt(), fast=fast), config):
            _show(event, as_json=as_json)


def _stopped_by_interrupt() -> Event:
    """Is set by the first Ctrl-C; the next one interrupts as ever."""
    stop, before = Event(), signal.getsignal(signal.SIGINT)

    def end_speech(_number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, end_speech)
    return stop


def _show(event: LiveTranscribeResponse, *, as_json: bool) -> None:
    what = event.WhichOneof("event")
    if as_json:
        if what in ("started", "interim", "final"):
            echo_json(as_dict(event), one_line=True)
    elif what == "interim":
        _show_interim(event.interim)
    elif what == "final":
        _clear_interim()
        for segment in event.final.result.segments:
            click.echo(f"{clock(segment.start_ms)} - {clock(segment.end_ms)}  {segment.text}")
            for word in segment.words:
                click.echo(f"    {clock(word.start_ms)} - {clock(word.end_ms)}  {word.text}")


def _show_interim(interim: LiveInterim) -> None:
    """Replaces the line that may change: its end, as far as there is room."""
    if sys.stderr.isatty():
        room = shutil.get_terminal_size().columns - 1
        stable, unstable = interim.stable_text.strip(), interim.unstable_text
        text = f"{stable}{unstable}"[-room:]
        dim = len(text) - min(len(text), len(unstable))
        _clear_interim()
        click.echo(text[:dim] + click.style(text[dim:], dim=True), nl=False, err=True)


def _clear_interim() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
