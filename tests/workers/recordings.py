"""Recordings made up for tests from the clips in tests/data/audio, and the engine that hears them."""

import functools
import io
import wave
from pathlib import Path

import numpy as np
from workers.documents import Backstage, attempt_at

from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionSpec
from triptych.workers.engines.whisper import WhisperEngine
from triptych.workers.engines.whisper_windows import pack, speech_stretches
from triptych.workers.media.audio import decode_audio

CLIPS = Path(__file__).parent.parent / "data" / "audio"
ENGLISH, GERMAN, SPANISH = (
    (CLIPS / f"{name}.opus").read_bytes() for name in ("en-kennedy", "de-leopard", "es-leopard")
)
RATE = 16000


@functools.cache
def speech_engine(models_dir):
    """The real engine, loaded once."""
    ref = ModelRef(model="whisper-base", revision="of the test", engine="faster-whisper/1.2.1")
    engine = WhisperEngine(models_dir / "whisper-base", ref, device="cpu", threads=2)
    engine.load()
    engine.warm_up()
    return engine


def samples(data):
    """A file's samples, int16."""
    return decode_audio(data, max_audio_s=60).samples


def speech(data):
    """What is left of a short clip after voice-activity detection, float32."""
    audio = decode_audio(data, max_audio_s=60)
    [window] = pack(speech_stretches(audio, 0, len(audio.samples)))
    return window.samples(audio)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


def noise(seconds):
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 1600).astype(np.int16)


def wav(*parts, rate=RATE):
    """A WAV file of the parts, one after the other."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.concatenate(parts).tobytes())
    return file.getvalue()


def speech_attempt(data, *, number=1, parts=None, media_type="", **config):
    """An attempt at transcribing a recording, its specification, and what stands behind it."""
    backstage = Backstage(data, parts)
    spec = TranscriptionSpec(
        input=InputSource(blob="blobs/sha256-0", media_type=media_type), config=TranscriptionConfig(**config)
    )
    attempt = attempt_at(JobSpec(transcription=spec), backstage, number)
    return attempt, spec, backstage
