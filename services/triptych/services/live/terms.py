"""What the first message of a live call asks for, checked and with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triptych.services.fields import known_enums, need
from triptych.v1.transcription_pb2 import (
    VAD_MODE_OFF,
    WINDOW_MODE_SHORT,
    TranscriptionConfig,
)
from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_OPUS,
    LIVE_ENCODING_UNSPECIFIED,
    Endpointing,
    LiveConfig,
    LiveEncoding,
)

OPUS_RATE_HZ = 48_000
# A stream has one speech, from its beginning to its end.
_NOT_LIVE = frozenset({"clips", "audio_stream", "channel_mode", "speakers"})
# Longer utterances read a little better, but while their final is decoded nothing else of the call is.
_DEFAULT_SILENCE_MS, _DEFAULT_UTTERANCE_MS = 700, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTerms:
    """How one live call is transcribed.

    Attributes:
        config: Of final results.
        channel_count: Interleaved in the audio that comes.
        silence_ms: That ends an utterance.
        max_utterance_ms: Longest utterance.
        labels: Of the jobs that give final results.
    """

    config: TranscriptionConfig
    encoding: LiveEncoding.ValueType
    sample_rate_hz: int
    channel_count: int
    interim_results: bool
    silence_ms: int
    max_utterance_ms: int
    labels: Mapping[str, str]

    @classmethod
    def of(cls, live: LiveConfig) -> LiveTerms:
        """Checks what only a live call has; the transcription's own options are the intake's business.

        Raises:
            FieldInvalid: A field is missing, wrong, or not for live speech.
        """
        known_enums(live, "config")
        need(live.encoding != LIVE_ENCODING_UNSPECIFIED, "config.encoding", "must be set")
        opus = live.encoding == LIVE_ENCODING_OPUS
        rate_hz, channels = live.sample_rate_hz or (OPUS_RATE_HZ if opus else 0), live.channel_count or 1
        _from_to("config.sample_rate_hz", rate_hz, *((OPUS_RATE_HZ, OPUS_RATE_HZ) if opus else (8000, 192_000)))
        _from_to("config.channel_count", channels, 1, 2 if opus else 8)
        silence_ms = live.endpointing.silence_ms or _DEFAULT_SILENCE_MS
        utterance_ms = live.endpointing.max_utterance_ms or _DEFAULT_UTTERANCE_MS
        _from_to("config.endpointing.silence_ms", silence_ms, 400, 5000)
        _from_to("config.endpointing.max_utterance_ms", utterance_ms, 5000, 28_000)
        return cls(
            config=_final_config(live.config),
            encoding=live.encoding,
            sample_rate_hz=rate_hz,
            channel_count=channels,
            interim_results=live.interim_results,
            silence_ms=silence_ms,
            max_utterance_ms=utterance_ms,
            labels=dict(live.labels),
        )

    @property
    def endpointing(self) -> Endpointing:
        """The settings in force, for the caller."""
        return Endpointing(silence_ms=self.silence_ms, max_utterance_ms=self.max_utterance_ms)

    def interim_config(self) -> TranscriptionConfig:
        """Gives the options of a look at what was said so far: as cheap as can be, one hypothesis, decoded once."""
        config = TranscriptionConfig()
        config.CopyFrom(self.config)
        config.beam_size, config.temperature = 1, 0.0
        config.window_mode = WINDOW_MODE_SHORT
        config.enable_word_timestamps = True
        return config


def _final_config(config: TranscriptionConfig) -> TranscriptionConfig:
    for field, _ in config.ListFields():
        need(field.name not in _NOT_LIVE, f"config.config.{field.name}", "must not be set for live speech")
    needed = "must not be OFF: it finds where an utterance ends"
    need(config.vad_mode != VAD_MODE_OFF, "config.config.vad_mode", needed)
    final = TranscriptionConfig()
    final.CopyFrom(config)
    final.window_mode = config.window_mode or WINDOW_MODE_SHORT
    return final


def _from_to(field: str, value: int, least: int, most: int) -> None:
    allowed = f"{least}" if least == most else f"from {least} to {most}"
    need(least <= value <= most, field, f"must be {allowed}, not {value}")
