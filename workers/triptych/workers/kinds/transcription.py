"""Transcribes one recording: finds the speech, has its windows decoded, joins their texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Protocol

from triptych.core.errors import FieldInvalid, MediaTypeUnsupported, RangeOutsideSource
from triptych.core.media import AUDIO_TYPES, HEAD_BYTES, checked_type
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.job_pb2 import PROGRESS_UNIT_AUDIO_MS, JobEvent
from triptych.v1.transcription_pb2 import (
    TRANSCRIPTION_TASK_TRANSLATE,
    VAD_MODE_OFF,
    TranscriptionConfig,
    TranscriptionResult,
    TranscriptionSpec,
)
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.whisper import DEFAULT_BEAM_SIZE, Decoding, SpeechWindow, WhisperEngine
from triptych.workers.engines.whisper_segments import segments_of
from triptych.workers.engines.whisper_windows import Window, pack, speech_stretches, whole_stretches
from triptych.workers.media.audio import SAMPLE_RATE_HZ, Audio, decode_audio
from triptych.workers.station import Station

# Windows of one job that wait or run: two full batches, and a bound on memory however long the recording is.
MAX_WINDOWS_AHEAD = 32
# Languages written without blanks between sentences.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


class Stations(Protocol):
    """Where a model's station is had."""

    def get(self, name: str = "", /) -> Station[SpeechWindow, TranscriptionResult]:
        """Gives the station of a model; empty: the default one."""


def run(
    attempt: Attempt, spec: TranscriptionSpec, stations: Stations, *, max_audio_s: float = 6 * 3600
) -> TranscriptionResult:
    """Transcribes what the specification asks for.

    Windows that an earlier attempt finished are taken from it. A window that fails, fails the job.

    Args:
        attempt: Of the job.
        spec: What to transcribe, and how.
        stations: Where the engine is.
        max_audio_s: Longest recording accepted, in seconds.

    Raises:
        LanguageUnsupported: The model does not know the language.
        FieldInvalid, RangeOutsideSource: The clips.
        MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, InputTooLarge: The recording.
        TriptychError: A window's error, or what stopped the attempt.
    """
    config = spec.config
    station = stations.get(config.model)
    engine = station.engine
    if not isinstance(engine, WhisperEngine):
        raise FieldInvalid("config.model", f"{engine.model.model} does no transcription")
    language = engine.language(config.language_code) if config.language_code else None
    decoding = Decoding(
        translate=config.task == TRANSCRIPTION_TASK_TRANSLATE,
        beam_size=config.beam_size if config.HasField("beam_size") else DEFAULT_BEAM_SIZE,
        temperature=config.temperature if config.HasField("temperature") else None,
        prompt=engine.prompt(config.initial_prompt, config.hotwords),
    )
    audio = _read(attempt, spec, max_audio_s)
    windows = _windows(audio, config, attempt)
    result = TranscriptionResult(
        model=engine.model,
        language_code=config.language_code,
        audio_duration_ms=audio.duration_ms,
        speech_duration_ms=sum(window.duration_ms for window in windows),
    )
    transcript = _Transcript(attempt, config, result)
    _Decoder(attempt, station, engine, audio, decoding).run(windows, language, transcript)
    return transcript.finished()


def _read(attempt: Attempt, spec: TranscriptionSpec, max_audio_s: float) -> Audio:
    attempt.progress("decode")
    data = attempt.read(spec.input)
    found = checked_type(data[:HEAD_BYTES], spec.input.media_type, spec.input.display_name)
    if found not in AUDIO_TYPES:
        raise MediaTypeUnsupported(f"a transcription needs audio or video, not {found}")
    return decode_audio(data, max_audio_s=max_audio_s, heed=attempt.check)


def _windows(audio: Audio, config: TranscriptionConfig, attempt: Attempt) -> list[Window]:
    """Gives the windows of all clips, in time order; none spans two clips."""
    windows: list[Window] = []
    for start, end in _clips(config.clips, audio):
        if config.vad_mode == VAD_MODE_OFF:
            windows += pack(whole_stretches(audio, start, end))
        else:
            windows += pack(speech_stretches(audio, start, end, attempt.check))
    return windows


def _clips(clips: Sequence[TimeRange], audio: Audio) -> Iterable[tuple[int, int]]:
    """Yields (start, end) in samples.

    Raises:
        FieldInvalid: A clip is empty, or begins before the one before it ends.
        RangeOutsideSource: A clip is not within the audio.
    """
    if not clips:
        yield 0, len(audio.samples)
    before_ms = 0
    for index, clip in enumerate(clips):
        end_ms = clip.end_ms or audio.duration_ms
        if clip.start_ms < 0 or clip.start_ms >= audio.duration_ms or end_ms > audio.duration_ms:
            raise RangeOutsideSource(
                f"clip {index} is {clip.start_ms} to {end_ms} ms of an audio of {audio.duration_ms} ms"
            )
        if end_ms <= clip.start_ms or clip.start_ms < before_ms:
            raise FieldInvalid(f"config.clips[{index}]", "clips must be in order, not empty and not overlapping")
        before_ms = end_ms
        yield clip.start_ms * SAMPLE_RATE_HZ // 1000, min(end_ms * SAMPLE_RATE_HZ // 1000, len(audio.samples))


class _Transcript:
    """The result as it grows, window by window, in time order."""

    def __init__(self, attempt: Attempt, config: TranscriptionConfig, result: TranscriptionResult) -> None:
        self._attempt = attempt
        self._config = config
        self._result = result
        self._read_ms = 0
        self._tell_progress()

    def add(self, window: Window, heard: TranscriptionResult) -> None:
        """Appends what was heard in the next window, and tells watchers."""
        result = self._result
        if heard.segments and not result.language_code:
            result.language_code = heard.language_code
            result.language_confidence = heard.language_confidence
        joint = "" if self._unspaced() else " "
        for segment in segments_of(window, heard, words=self._config.enable_word_timestamps):
            segment.index = len(result.segments)
            segment.text_start = result.segments[-1].text_end + len(joint) if result.segments else 0
            segment.text_end = segment.text_start + len(segment.text)
            result.segments.append(segment)
            self._attempt.emit(JobEvent(transcript_segment=segment))
        self._read_ms += window.duration_ms
        self._tell_progress()

    def finished(self) -> TranscriptionResult:
        """Gives the result with its text."""
        joint = "" if self._unspaced() else " "
        self._result.text = joint.join(segment.text for segment in self._result.segments)
        return self._result

    def _unspaced(self) -> bool:
        primary = self._result.language_code.replace("_", "-").split("-", 1)[0].lower()
        return primary in _UNSPACED and self._config.task != TRANSCRIPTION_TASK_TRANSLATE

    def _tell_progress(self) -> None:
        total_ms = self._result.speech_duration_ms
        self._attempt.progress("transcribe", self._read_ms, total_ms, PROGRESS_UNIT_AUDIO_MS)


class _Decoder:
    """Has windows decoded, a few ahead of the one whose text is waited for."""

    def __init__(
        self,
        attempt: Attempt,
        station: Station[SpeechWindow, TranscriptionResult],
        engine: WhisperEngine,
        audio: Audio,
        decoding: Decoding,
    ) -> None:
        self._attempt = attempt
        self._station = station
        self._engine = engine
        self._audio = audio
        self._decoding = decoding
        self._parts = attempt.parts()

    def run(self, windows: Iterable[Window], language: str | None, transcript: _Transcript) -> None:
        """Adds the text of every window, in order."""
        waiting = deque(windows)
        ahead: deque[tuple[Window, Future[Done[TranscriptionResult]] | None]] = deque()
        try:
            while waiting or ahead:
                # The first window with speech tells the language, and the others wait for it.
                while waiting and len(ahead) < (MAX_WINDOWS_AHEAD if language else 1):
                    window = waiting.popleft()
                    ahead.append((window, None if window.name in self._parts else self._submit(window, language)))
                window, future = ahead.popleft()
                heard = self._heard(window, future)
                if heard.segments and not language:
                    language = self._engine.language(heard.language_code)
                transcript.add(window, heard)
        finally:
            for _, future in ahead:
                if future is not None:
                    future.cancel()

    def _submit(self, window: Window, language: str | None) -> Future[Done[TranscriptionResult]]:
        samples = window.samples(self._audio)
        item = self._engine.window(samples, language=language, decoding=self._decoding, stopped=self._attempt.stopped)
        return self._attempt.submit(self._station, item)

    def _heard(self, window: Window, future: Future[Done[TranscriptionResult]] | None) -> TranscriptionResult:
        if future is None:
            return TranscriptionResult.FromString(self._parts[window.name])
        heard = self._attempt.result(future).value
        self._attempt.save_part(window.name, heard.SerializeToString())
        return heard
