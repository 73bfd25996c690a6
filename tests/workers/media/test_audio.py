"""Files of many kinds become 16 kHz mono samples, or a clear error."""

import io
import struct

import av
import numpy as np
import pytest
from workers.recordings import ENGLISH, RATE, samples, silence, wav

from triptych.core.errors import InputTooLarge, InvalidInput, MediaCorrupt, MediaTypeUnsupported
from triptych.workers.media.audio import decode_audio

TONE = (9000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)


def decode(data, max_audio_s=60):
    return decode_audio(data, max_audio_s=max_audio_s)


def float_wav(values):
    """A WAV file of 32-bit floats."""
    body = np.asarray(values, "<f4").tobytes()
    format_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE, 4 * RATE, 4, 32)
    header = (
        struct.pack("<4sI4s", b"RIFF", 36 + len(body), b"WAVE") + format_chunk + struct.pack("<4sI", b"data", len(body))
    )
    return header + body


def film(*, sound):
    """A one-second film, with or without a sound track."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(video.encode(None))
        if audio:
            frame = av.AudioFrame.from_ndarray(TONE.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return file.getvalue()


def test_samples_of_the_right_kind_come_through_unchanged():
    audio = decode(wav(TONE))
    assert np.array_equal(audio.samples, TONE)
    assert audio.duration_ms == 1000
    floats = audio.between(0, 100)
    assert floats.dtype == np.float32
    assert np.allclose(floats * 32768, TONE[:100])


def test_the_duration_is_rounded_up_so_that_no_sample_lies_behind_it():
    assert decode(wav(TONE[:17])).duration_ms == 2


@pytest.mark.parametrize("rate", [1000, 8000, 44100, 192000])
def test_any_sample_rate_becomes_16_khz(rate):
    assert len(decode(wav(TONE, rate=rate)).samples) == pytest.approx(RATE * RATE / rate, rel=0.01)


def test_the_first_sound_track_of_a_film_is_taken():
    audio = decode(film(sound=True))
    assert audio.duration_ms == pytest.approx(1000, abs=150)
    assert np.abs(audio.samples).max() > 5000


def test_a_film_without_sound_is_unsupported():
    with pytest.raises(MediaTypeUnsupported, match="no audio"):
        decode(film(sound=False))


def test_compressed_speech_is_decoded():
    assert decode(ENGLISH).duration_ms == 11000


def test_the_duration_limit_stops_the_decoding():
    with pytest.raises(InputTooLarge) as caught:
        decode(wav(*[silence(60)] * 10), max_audio_s=30)
    assert float(caught.value.metadata["value"]) < 120, "it should have stopped long before the end"


def test_an_audio_as_long_as_the_limit_is_read():
    assert decode(wav(silence(30)), max_audio_s=30).duration_ms == 30_000


def test_what_heed_raises_ends_the_decoding():
    def stop():
        raise InputTooLarge("enough", limit=0, value=0)

    with pytest.raises(InputTooLarge, match="enough"):
        decode_audio(ENGLISH, max_audio_s=60, heed=stop)


def test_a_buffer_that_grows_keeps_what_it_holds():
    parts = [TONE, silence(80), TONE]
    assert np.array_equal(decode(wav(*parts), max_audio_s=100).samples, np.concatenate(parts))


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf, 1e30])
def test_nonsense_in_float_samples_is_cleaned(nonsense):
    values = TONE / 32768
    values[1000:1010] = nonsense
    audio = decode(float_wav(values))
    assert len(audio.samples) == RATE
    assert np.abs(audio.samples[4000:] - TONE[4000:]).max() <= 1


def test_only_nonsense_is_corrupt():
    with pytest.raises(MediaCorrupt, match="finite"):
        decode(float_wav(np.full(RATE, np.nan)))


@pytest.mark.parametrize("data", [b"", b"\xff", b"RIFF", bytes(1000), np.random.default_rng(1).bytes(30_000)])
def test_garbage_is_corrupt(data):
    with pytest.raises(MediaCorrupt):
        decode(data)


def test_a_header_without_samples_is_corrupt():
    with pytest.raises(MediaCorrupt, match="no samples"):
        decode(wav(TONE[:0]))


def test_a_file_that_breaks_off_gives_what_it_has():
    whole = samples(ENGLISH)
    assert 0 < len(decode(ENGLISH[:20_000]).samples) < len(whole)
    assert len(decode(wav(TONE)[:10_044]).samples) == 5000


def test_damage_in_the_middle_costs_only_the_damaged_part():
    damaged = bytearray(ENGLISH)
    damaged[15_000:15_200] = bytes(200)
    assert len(decode(bytes(damaged)).samples) > 0.8 * len(samples(ENGLISH))


@pytest.mark.parametrize(
    "data",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    ],
    ids=["hls", "concat", "dash"],
)
def test_play_lists_are_not_followed(data):
    with pytest.raises(InvalidInput):
        decode(data)


def test_zero_channels_and_unknown_codecs_are_errors():
    zero_channels, unknown_codec = bytearray(wav(TONE)), bytearray(wav(TONE))
    zero_channels[22:24] = struct.pack("<H", 0)
    unknown_codec[20:22] = struct.pack("<H", 0x4242)
    with pytest.raises(MediaCorrupt):
        decode(bytes(zero_channels))
    with pytest.raises(MediaTypeUnsupported):
        decode(bytes(unknown_codec))
