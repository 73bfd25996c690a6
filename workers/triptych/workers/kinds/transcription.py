"""Transcribes one recording: finds the speech, has its windows decoded, joins their texts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from typing import Any, Protocol

from triptych.core.errors import FieldInvalid, MediaTypeUnsupported
from triptych.core.media import AUDIO_TYPES, HEAD_BYTES, checked_type
from triptych.v1.job_pb2 import PROGRESS_UNIT_AUDIO_MS, JobEvent
from triptych.v1.transcription_pb2 import (
    CHANNEL_MODE_SEPARATE,
    TRANSCRIPTION_TASK_TRANSLATE,
    VAD_MODE_OFF,
    WINDOW_MODE_SHORT,
    TranscriptionConfig,
    TranscriptionGuard,
    TranscriptionResult,
    TranscriptionSpec,
)
from triptych.workers import works
from triptych.workers.attempt import Attempt
from triptych.workers.engines.speech import DEFAULT_BEAM_SIZE, Decoding, Guard, SpeechEngine, SpeechWindow
from triptych.workers.hearing.channel import Cutter
from triptych.workers.hearing.clips import Clips
from triptych.workers.hearing.listening import Listening
from triptych.workers.hearing.recording import Recording
from triptych.workers.hearing.transcript import Transcript
from triptych.workers.media.audio_file import AudioFile
from triptych.workers.media.quiet import QuietCutter
from triptych.workers.media.voice import VoiceFinder
from triptych.workers.speakers.diarization import diarization
from triptych.workers.station import Station


class Stations(Protocol):
    """Where a model's station is had."""

    def get(self, name: str = "", /) -> Station[Any, Any]:
        """Gives the station of a model; empty: the default speech model."""


def run(
    attempt: Attempt,
    spec: TranscriptionSpec,
    stations: Stations,
    *,
    max_audio_s: float = 6 * 3600,
    speaker_model: str = "",
) -> TranscriptionResult:
    """Transcribes what the specification asks for, while it is still being read.

    Windows that an earlier attempt finished are taken from it, and a whole transcript from another job that has it or
    is about to. A window that fails, fails the job; one on which workers died is decoded alone.

    Args:
        attempt: Of the job.
        spec: What to transcribe, and how.
        stations: Where the engine is.
        max_audio_s: Longest recording accepted, in seconds.
        speaker_model: Name of the model that tells speakers apart; empty: nobody does.

    Raises:
        FeatureDisabled: Speakers are to be told apart, and this worker cannot.
        LanguageUnsupported: The model does not know the language.
        FieldInvalid: The model cannot do what is asked.
        FieldInvalid, RangeOutsideSource: The clips, or the audio stream.
        MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, InputTooLarge: The recording.
        TriptychError: A window's error, or what stopped the attempt.
    """
    config = spec.config
    station: Station[SpeechWindow, TranscriptionResult] = stations.get(config.model)
    engine = station.engine
    if not isinstance(engine, SpeechEngine):
        raise FieldInvalid("config.model", f"{engine.model.model} does no transcription")
    language = engine.language(config.language_code) if config.language_code else None
    decoding = _decoding(config, engine)
    engine.check(decoding)
    speakers = diarization(attempt, stations.get, speaker_model, config)
    flight = attempt.flight(works.hearing(spec, engine.model, decoding, speakers.model if speakers else None))
    if (known := flight.find()) is not None:
        return _told(attempt, TranscriptionResult.FromString(known))
    clips = Clips(config.clips)
    with attempt.hand.unit("recording"):
        file = _opened(attempt, spec, max_audio_s)
    with file, closing(speakers) if speakers else nullcontext():
        recording = Recording(file, clips, _cutter(config, attempt))
        transcript = Transcript(attempt, recording, config, engine.model)
        Listening(attempt, station, engine, decoding, language, speakers).run(recording, transcript)
        result = transcript.finished()
        if speakers:
            speakers.label(result)
    flight.keep(result.SerializeToString())
    return result


def _told(attempt: Attempt, known: TranscriptionResult) -> TranscriptionResult:
    """Tells watchers what another job heard, as if it were heard now."""
    attempt.cached = True
    for segment in known.segments:
        attempt.emit(JobEvent(transcript_segment=segment))
    total_ms = known.audio_duration_ms
    attempt.progress("transcribe", total_ms, total_ms, PROGRESS_UNIT_AUDIO_MS)
    return known


def _decoding(config: TranscriptionConfig, engine: SpeechEngine) -> Decoding:
    return Decoding(
        translate=config.task == TRANSCRIPTION_TASK_TRANSLATE,
        beam_size=config.beam_size if config.HasField("beam_size") else DEFAULT_BEAM_SIZE,
        temperature=config.temperature if config.HasField("temperature") else None,
        prompt=engine.prompt(config.initial_prompt, config.hotwords),
        short=config.window_mode == WINDOW_MODE_SHORT,
        guard=_guard(config.guard),
    )


def _guard(given: TranscriptionGuard) -> Guard:
    # Rounded, as the contract's 32 bits make 2.4 a little more than that.
    return Guard(**{field.name: round(value, 6) for field, value in given.ListFields()})


def _opened(attempt: Attempt, spec: TranscriptionSpec, max_audio_s: float) -> AudioFile:
    attempt.progress("decode")
    file = attempt.open(spec.input)
    found = checked_type(file.read(HEAD_BYTES), spec.input.media_type, spec.input.display_name)
    if found not in AUDIO_TYPES:
        raise MediaTypeUnsupported(f"a transcription needs audio or video, not {found}")
    return AudioFile(
        file,
        stream=spec.config.audio_stream,
        separate=spec.config.channel_mode == CHANNEL_MODE_SEPARATE,
        max_audio_s=max_audio_s,
        heed=attempt.check,
    )


def _cutter(config: TranscriptionConfig, attempt: Attempt) -> Callable[[int], Cutter]:
    return QuietCutter if config.vad_mode == VAD_MODE_OFF else partial(VoiceFinder, heed=attempt.check)
