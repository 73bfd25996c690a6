"""`triptych transcribe`: speech to text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.outputs import checked, format_of, output_options
from triptych.cli.printing import as_dict, echo_json
from triptych.cli.run import quiet, run_job
from triptych.cli.speech_options import cue_options, speech_options
from triptych.cli.transcript import FORMAT_NAMES, LiveTranscript, format_named

if TYPE_CHECKING:
    from triptych.v1.transcription_pb2 import TranscriptionConfig
    from triptych.v1.transcription_service_pb2 import CueRules


@click.command()
@click.argument("file", type=options.file_type)
@speech_options
@output_options(FORMAT_NAMES, ".txt .srt .vtt .tsv .json", instead_of="lines with times for people")
@cue_options
@options.timeout_option
@options.server_options
@options.json_option
def transcribe(
    *,
    file: Path,
    config: TranscriptionConfig,
    format_name: str | None,
    outputs: tuple[Path, ...],
    rules: CueRules,
    timeout_s: float,
    server: Server,
    as_json: bool,
) -> None:
    """Writes what is said in FILE (audio or video), a line per segment, on a terminal as soon as it is heard."""
    from triptych.client import specs

    if as_json and format_name:
        raise click.UsageError("--json is a format by itself; leave --format out")
    chosen = format_named(format_name) if format_name else None
    known = {found.suffix: found for found in map(format_named, FORMAT_NAMES)}
    files = [(path, chosen or format_of(path, known)) for path in checked(outputs, file, "heard")]
    if any(found.suffix in ("srt", "vtt") for found in [*(found for _, found in files), *([chosen] if chosen else [])]):
        # Subtitles are far closer to what is said with the times of words.
        config.enable_word_timestamps = True
    rules.show_speakers = config.HasField("speakers")
    # Who speaks is known at the end only.
    by_and_by = not (as_json or chosen or files or rules.show_speakers)
    transcript = LiveTranscript(live=sys.stdout.isatty() and by_and_by)
    with server.connect() as client:
        (audio,) = client.sources([file])
        spec = specs.transcription(audio, config)
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quiet(as_json), heed=transcript.heed)
    result = outcome.transcription
    for path, found in files:
        path.write_text(found.write(result, rules), encoding="utf-8", newline="\n")
        click.echo(f"written: {path}", err=True)
    if as_json:
        echo_json({"job": job.name, **as_dict(result)})
    elif chosen and not files:
        click.echo(chosen.write(result, rules), nl=False)
    elif not files:
        transcript.finish(result)
