"""Recordings made up for tests from the clips in tests/data/audio, and the engine that hears them."""

import functools
import io
import wave
from pathlib import Path

import av
import numpy as np
from workers.documents import Backstage, attempt_at

from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionSpec
from triptych.workers.engines.campplus import CampPlusEngine
from triptych.workers.engines.whisper import WhisperEngine
from triptych.workers.hearing.clips import Clips
from triptych.workers.hearing.recording import Recording
from triptych.workers.media.audio_file import AudioFile
from triptych.workers.media.voice import VoiceFinder

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


@functools.cache
def speaker_engine(models_dir):
    """The engine that tells speakers apart, loaded once."""
    ref = ModelRef(model="campplus-zh-en", revision="of the test", engine="torch/2")
    engine = CampPlusEngine(models_dir / "campplus-zh-en", ref, device="cpu", threads=1)
    engine.load()
    return engine


def samples(data):
    """A file's samples, int16."""
    with AudioFile(io.BytesIO(data), max_audio_s=60) as file:
        return np.concatenate(list(file.between()), axis=1)[0]


def speech(data):
    """What is left of a short clip after voice-activity detection, float32."""
    [piece] = pieces(data)
    return piece.samples


def pieces(data, cutter=VoiceFinder, **options):
    """The windows of a recording with their samples, in the order in which they are found."""
    with AudioFile(io.BytesIO(data), **{"max_audio_s": 600, **options}) as file:
        return [piece for found in Recording(file, Clips([]), cutter).pieces() for piece in found]


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


def noise(seconds):
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 1600).astype(np.int16)


def wav(*parts, rate=RATE):
    """A WAV file of the parts, one after the other; a part of shape (channels, samples) has several channels."""
    file, joined = io.BytesIO(), np.concatenate([np.atleast_2d(part) for part in parts], axis=1)
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(joined))
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(joined.T.tobytes())
    return file.getvalue()


def beside(*parts):
    """Parts as channels, the shorter ones silent at their end."""
    length = max(len(part) for part in parts)
    return np.stack([np.pad(part, (0, length - len(part))) for part in parts])


def sound_file(parts, kind, codec, *, layout="mono", rate=RATE, film=False, **options):
    """A file of any kind; every part, shape (channels, samples) at `rate`, is an audio stream of it."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind, container_options=options) as container:
        picture = container.add_stream("mpeg4", rate=10) if film else None
        if picture:
            picture.width = picture.height = 64
        streams = [container.add_stream(codec, rate=rate, layout=layout) for _ in parts]
        for stream, part in zip(streams, parts, strict=True):
            for packet in _packets(stream, np.atleast_2d(part), layout, rate):
                container.mux(packet)
        if picture:
            for _ in range(10):
                container.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(picture.encode(None))
    return file.getvalue()


def _packets(stream, part, layout, rate):
    frame = av.AudioFrame.from_ndarray(part.T.reshape(1, -1).copy(), format="s16", layout=layout)
    frame.sample_rate = rate
    fifo, resampler = av.AudioFifo(), av.AudioResampler(stream.codec_context.format.name, layout, rate)
    for one in (*resampler.resample(frame), *resampler.resample(None)):
        one.pts = None
        fifo.write(one)
    while fifo.samples:
        size = stream.codec_context.frame_size or 1024
        yield from stream.encode(fifo.read(size) or fifo.read())
    yield from stream.encode(None)


def speech_attempt(data, *, number=1, parts=None, media_type="", **config):
    """An attempt at transcribing a recording, its specification, and what stands behind it."""
    backstage = Backstage(data, parts)
    spec = TranscriptionSpec(
        input=InputSource(blob="blobs/sha256-0", media_type=media_type), config=TranscriptionConfig(**config)
    )
    attempt = attempt_at(JobSpec(transcription=spec), backstage, number)
    return attempt, spec, backstage
