"""`triptych transcribe`: speech to text."""

from __future__ import annotations

from pathlib import Path

import click

from triptych.cli import options
from triptych.cli.connection import connect
from triptych.cli.printing import as_dict, clock, echo_json
from triptych.cli.run import quiet, run_job


@click.command()
@click.argument("file", type=options.file_type)
@options.model_option
@options.language_option
@options.words_option
@click.option("--translate", is_flag=True, help="Translate into English.")
@click.option("--text", "text_only", is_flag=True, help="Write the text only, without times.")
@options.timeout_option
@options.server_options
@options.json_option
def transcribe(
    *,
    file: Path,
    model: str,
    language: str,
    words: bool,
    translate: bool,
    text_only: bool,
    timeout_s: float,
    target: str,
    api_key: str,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Writes what is said in FILE (audio or video), a line per segment."""
    from triptych.client import specs
    from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionTask

    config = TranscriptionConfig(
        model=model,
        language_code=language,
        enable_word_timestamps=words,
        task=TranscriptionTask.TRANSCRIPTION_TASK_TRANSLATE
        if translate
        else TranscriptionTask.TRANSCRIPTION_TASK_UNSPECIFIED,
    )
    with connect(target, api_key, state_dir) as client:
        (audio,) = client.sources([file])
        spec = specs.transcription(audio, config)
        job, outcome = run_job(client, spec, timeout_s=timeout_s, quiet=quiet(as_json))
    result = outcome.transcription
    if as_json:
        echo_json({"job": job.name, **as_dict(result)})
    elif text_only and result.text:
        click.echo(result.text)
    else:
        if not (result.segments or result.text):
            click.echo("no speech was found", err=True)
        for segment in result.segments:
            click.echo(f"{clock(segment.start_ms)} - {clock(segment.end_ms)}  {segment.text}")
            for word in segment.words:
                click.echo(f"    {clock(word.start_ms)} - {clock(word.end_ms)}  {word.text}")
