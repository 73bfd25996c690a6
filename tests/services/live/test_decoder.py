"""Audio of any shape becomes 16 kHz mono, the same however it is cut; what is no audio is a reason."""

import math
import random
import subprocess
import sys
from array import array

import av
import pytest

from triptych.core.errors import FieldInvalid, MediaCorrupt
from triptych.services.live.decoder import MAX_MESSAGE_BYTES, LiveDecoder
from triptych.services.live.sound import SAMPLE_RATE_HZ, Sound
from triptych.services.live.terms import LiveTerms
from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_OPUS,
    LIVE_ENCODING_PCM_F32LE,
    LIVE_ENCODING_PCM_S16LE,
    LiveConfig,
)

TONE_HZ, LOUDNESS, SECONDS = 440, 0.5, 2


def decoder(encoding=LIVE_ENCODING_PCM_S16LE, rate_hz=16_000, channels=1):
    return LiveDecoder(LiveTerms.of(LiveConfig(encoding=encoding, sample_rate_hz=rate_hz, channel_count=channels)))


def tone(encoding, rate_hz, channels):
    samples = (LOUDNESS * math.sin(2 * math.pi * TONE_HZ * n / rate_hz) for n in range(SECONDS * rate_hz))
    if encoding == LIVE_ENCODING_PCM_F32LE:
        return array("f", [sample for sample in samples for _ in range(channels)]).tobytes()
    return array("h", [round(32767 * sample) for sample in samples for _ in range(channels)]).tobytes()


def through(live, messages):
    return array("h", b"".join(live.decode(message) for message in messages) + live.rest())


def pieces(data, frame_bytes, frames):
    return [data[start : start + frames * frame_bytes] for start in range(0, len(data), frames * frame_bytes)]


@pytest.mark.parametrize(
    ("rate_hz", "channels", "encoding"),
    [
        (8_000, 1, LIVE_ENCODING_PCM_S16LE),
        (16_000, 1, LIVE_ENCODING_PCM_S16LE),
        (44_100, 2, LIVE_ENCODING_PCM_S16LE),
        (22_050, 5, LIVE_ENCODING_PCM_F32LE),
        (48_000, 8, LIVE_ENCODING_PCM_F32LE),
        (192_000, 1, LIVE_ENCODING_PCM_F32LE),
    ],
)
def test_a_tone_stays_a_tone_without_clicks_between_messages(rate_hz, channels, encoding):
    frame_bytes = channels * (4 if encoding == LIVE_ENCODING_PCM_F32LE else 2)
    data = tone(encoding, rate_hz, channels)
    heard = through(decoder(encoding, rate_hz, channels), pieces(data, frame_bytes, rate_hz // 77))
    assert abs(len(heard) - SECONDS * SAMPLE_RATE_HZ) <= 1
    wanted = [LOUDNESS * 32767 * math.sin(2 * math.pi * TONE_HZ * n / SAMPLE_RATE_HZ) for n in range(len(heard))]
    # At its two ends the resampler's filter sees nothing.
    inner = range(300, len(heard) - 300)
    assert max(abs(heard[n] - wanted[n]) for n in inner) < 4


def test_how_a_stream_is_cut_changes_nothing():
    data = tone(LIVE_ENCODING_PCM_S16LE, 44_100, 2)
    rng = random.Random(3)
    cuts = sorted(4 * rng.randrange(len(data) // 4) for _ in range(400))
    uneven = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = pieces(data, 4, MAX_MESSAGE_BYTES // 4)
    assert through(decoder(rate_hz=44_100, channels=2), uneven) == through(decoder(rate_hz=44_100, channels=2), whole)


@pytest.mark.parametrize("channels", range(2, 9))
def test_every_channel_is_heard(channels):
    for loud in range(channels):
        frames = array("h", [8000 if n % channels == loud else 0 for n in range(channels * 16_000)]).tobytes()
        heard = through(decoder(channels=channels), pieces(frames, 2 * channels, 1600))
        assert max(heard) > 8000 / channels / 3


def opus_packets(data_dir):
    with av.open(str(data_dir / "audio" / "en-kennedy.opus")) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_opus_packets_are_decoded(data_dir):
    packets = opus_packets(data_dir)
    heard = through(decoder(LIVE_ENCODING_OPUS, 0), packets)
    assert len(heard) / SAMPLE_RATE_HZ == pytest.approx(11.0, abs=0.05)
    assert max(heard) > 3000


def test_packets_that_are_none_are_reasons_and_nothing_breaks(data_dir):
    live, rng = decoder(LIVE_ENCODING_OPUS, 48_000, 2), random.Random(1)
    refused = 0
    for _ in range(2000):
        try:
            live.decode(rng.randbytes(rng.choice([1, 2, 3, 20, 100, 1275, 5000])))
        except MediaCorrupt:
            refused += 1
    assert refused > 500
    assert len(live.decode(opus_packets(data_dir)[100])) > 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(MediaCorrupt):
        decoder(LIVE_ENCODING_PCM_F32LE).decode(array("f", [0, 0.1, wrong, 0]).tobytes())


def test_float_samples_beyond_full_scale_are_limited():
    heard = through(decoder(LIVE_ENCODING_PCM_F32LE), [array("f", [1e30, -1e30] * 800).tobytes()])
    assert len(heard) == 1600


@pytest.mark.parametrize("data", [b"\0", bytes(6), bytes(MAX_MESSAGE_BYTES + 4)], ids=["odd", "torn", "long"])
def test_messages_that_are_torn_or_too_long_are_refused(data):
    with pytest.raises(FieldInvalid) as refused:
        decoder(channels=2).decode(data)
    assert refused.value.metadata["field"] == "audio"


def test_an_empty_message_is_nothing():
    assert decoder().decode(b"") == b""


def test_neither_numpy_nor_a_model_is_needed():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from triptych.services.live import service\n"
        "from triptych.services.live.decoder import LiveDecoder\n"
        "from triptych.services.live.terms import LiveTerms\n"
        "from triptych.v1.transcription_service_pb2 import LiveConfig\n"
        "live = LiveDecoder(LiveTerms.of(LiveConfig(encoding=1, sample_rate_hz=8000)))\n"
        "assert len(live.decode(bytes(1600)) + live.rest()) == 3200\n"
        "wrong = {'torch', 'ctranslate2', 'faster_whisper', 'onnxruntime'} & set(sys.modules)\n"
        "assert not wrong, wrong\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stretch_of_sound_is_a_file_of_its_own():
    sound = Sound()
    sound.add(bytes(32 * 1000 + 7))
    assert (sound.start_ms, sound.end_ms) == (0, 1000)
    assert sound.wav(0, 500) == sound.wav(500, 1000)
    assert sound.wav(0, 500, own=True) != sound.wav(0, 500, own=True)
    sound.drop(600)
    assert (sound.start_ms, sound.end_ms) == (600, 1000)
    sound.add(bytes(25))
    assert sound.end_ms == 1001
