"""Files of many kinds become 16 kHz mono samples, or a clear error."""

import io
import struct

import numpy as np
import pytest
from workers.recordings import ENGLISH, RATE, beside, samples, silence, sound_file, wav

from triptych.core.errors import (
    BlobNotFound,
    InputTooLarge,
    InvalidInput,
    MediaCorrupt,
    MediaTypeUnsupported,
    RangeOutsideSource,
)
from triptych.core.media import AUDIO_TYPES, HEAD_BYTES, sniff
from triptych.workers.blob_file import BlobFile
from triptych.workers.media.audio_file import AudioFile

TONE = (9000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)


def tone(hz, seconds=1, rate=RATE):
    return (9000 * np.sin(2 * np.pi * hz * np.arange(seconds * rate) / rate)).astype(np.int16)


def decode(data, start=0, end=None, *, max_audio_s=60, **options):
    """The samples of every row."""
    with AudioFile(io.BytesIO(data), max_audio_s=max_audio_s, **options) as file:
        lots = list(file.between(start, end))
    return np.concatenate(lots, axis=1) if lots else np.empty((1, 0), np.int16)


def difference(part, expected):
    """Energy of the difference, compared with that of what is expected."""
    size = min(len(part), len(expected))
    expected = expected[:size].astype(float)
    return np.sqrt(np.mean((part[:size] - expected) ** 2) / np.mean(expected**2))


def decoded_length(data, **options):
    return decode(data, **options).shape[1]


def float_wav(values):
    """A WAV file of 32-bit floats."""
    body = np.asarray(values, "<f4").tobytes()
    format_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE, 4 * RATE, 4, 32)
    header = (
        struct.pack("<4sI4s", b"RIFF", 36 + len(body), b"WAVE") + format_chunk + struct.pack("<4sI", b"data", len(body))
    )
    return header + body


def test_samples_of_the_right_kind_come_through_unchanged():
    assert np.array_equal(decode(wav(TONE)), [TONE])


@pytest.mark.parametrize("rate", [1000, 8000, 44100, 192000])
def test_any_sample_rate_becomes_16_khz(rate):
    assert decoded_length(wav(TONE, rate=rate)) == pytest.approx(RATE * RATE / rate, rel=0.01)


@pytest.mark.parametrize("rate", [1, 999, 400_000])
def test_absurd_sample_rates_are_refused_before_they_become_years_of_audio(rate):
    with pytest.raises(MediaTypeUnsupported, match="samples a second"):
        decode(wav(TONE, rate=rate))


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("au", "pcm_s16be"), ("w64", "pcm_s16le"), ("caf", "pcm_s16be"), ("aiff", "pcm_s16be"), ("flac", "flac"),
        ("wv", "wavpack"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("adts", "aac"), ("ac3", "ac3"),
        ("eac3", "eac3"), ("mp4", "aac"), ("mov", "alac"), ("webm", "libopus"), ("matroska", "pcm_s16le"),
        ("avi", "libmp3lame"), ("flv", "aac"), ("asf", "pcm_s16le"), ("mpegts", "mp2"), ("mpeg", "mp2"),
    ],
)  # fmt: skip
def test_every_container_is_recognized_and_read(kind, codec):
    data = sound_file([tone(440, 2, 48_000)], kind, codec, rate=48_000)
    assert sniff(data[:HEAD_BYTES]) in AUDIO_TYPES
    (row,) = decode(data)
    assert len(row) == pytest.approx(2 * RATE, rel=0.03)
    assert row.max() == pytest.approx(9000, rel=0.15)


def test_the_first_sound_track_of_a_film_is_taken_or_the_one_that_is_asked_for():
    film = sound_file([tone(440), tone(880, 3)], "matroska", "pcm_s16le", film=True)
    assert decoded_length(film) == RATE
    assert decoded_length(film, stream=1) == 3 * RATE
    with pytest.raises(RangeOutsideSource, match="stream 2 is asked for, but the file holds 2"):
        decode(film, stream=2)


def test_a_film_without_sound_is_unsupported():
    with pytest.raises(MediaTypeUnsupported, match="no audio"):
        decode(sound_file([], "mp4", "aac", film=True))


def test_compressed_speech_is_decoded():
    assert decoded_length(ENGLISH) == 11 * RATE


@pytest.mark.parametrize("count", range(1, 9))
def test_channels_are_mixed_and_none_is_lost(count):
    for loud in range(count):
        rows = [TONE if row == loud else silence(1) for row in range(count)]
        (mixed,) = decode(wav(beside(*rows)))
        assert mixed.max() == pytest.approx(9000 / count, rel=0.01)


@pytest.mark.parametrize("count", range(1, 9))
def test_channels_can_stay_apart(count):
    tones = beside(*(tone(200 * (row + 1)) for row in range(count)))
    assert np.array_equal(decode(wav(tones), separate=True), tones)
    with AudioFile(io.BytesIO(wav(tones)), max_audio_s=9) as file:
        assert file.channel_count == count


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "aac"), ("ogg", "libopus")])
@pytest.mark.parametrize("separate", [False, True])
def test_eight_channels_of_floats_in_planes_are_read(kind, codec, separate):
    # PyAV reads past the end of such a frame if it is asked for its planes.
    rows = beside(*([tone(440, 2, 48_000)] * 8))
    found = decode(sound_file([rows], kind, codec, layout="7.1", rate=48_000), separate=separate)
    assert found.shape == (8 if separate else 1, pytest.approx(2 * RATE, rel=0.03))
    assert np.abs(found).max() > 2000


def test_more_than_eight_channels_are_refused():
    with pytest.raises(InputTooLarge, match="9 channels"):
        decode(wav(beside(*([TONE] * 9))))


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 22_050), ("flac", "flac", 16_000), ("ogg", "libopus", 48_000), ("mp4", "aac", 44_100),
        ("webm", "libopus", 48_000), ("mp3", "libmp3lame", 16_000), ("adts", "aac", 16_000),
        ("mpegts", "mp2", 48_000), ("mpeg", "mp2", 48_000),
    ],
)  # fmt: skip
def test_a_part_is_what_stands_there_in_the_whole(kind, codec, rate):
    # Loudness that changes at random tells one place from another.
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0, 1, 900) ** 2, rate // 10)
    data = sound_file([(loudness * tone(300, 90, rate)).astype(np.int16)], kind, codec, rate=rate)
    (whole,) = decode(data, max_audio_s=100)
    with AudioFile(io.BytesIO(data), max_audio_s=100) as file:
        for start, end in ((40 * RATE, 45 * RATE), (46 * RATE, 47 * RATE), (85 * RATE + 7, None)):
            part = np.concatenate(list(file.between(start, end)), axis=1)[0]
            assert len(part) == pytest.approx(len(whole[start:end]), abs=16)
            # Some clocks count milliseconds, 16 samples.
            lags = range(-16, 17)
            assert min(difference(part, whole[max(0, start + lag) :]) for lag in lags) < 0.1
        assert file.length == pytest.approx(len(whole), abs=16)


def test_what_is_far_ahead_is_sought_and_not_read_up_to():
    asked = []

    def read(offset, limit):
        asked.append(limit)
        return data[offset : offset + limit]

    data = wav(silence(3000), TONE)
    with AudioFile(BlobFile(read, len(data)), max_audio_s=4000) as file:
        (lot,) = file.between(3000 * RATE, 3001 * RATE)
    assert np.array_equal(lot, [TONE])
    assert sum(asked) < 0.05 * len(data)


def test_a_file_is_never_in_memory_as_a_whole():
    asked = []

    def read(offset, limit):
        asked.append(limit)
        return data[offset : offset + limit]

    data = wav(silence(600), TONE)
    with AudioFile(BlobFile(read, len(data)), max_audio_s=4000) as file:
        sizes = [lot.shape[1] for lot in file.between()]
    assert sum(sizes) == 601 * RATE
    assert max(sizes) <= 11 * RATE
    assert max(asked) <= 1 << 18


def test_a_claim_is_not_believed_if_it_is_over_the_limit():
    # The header of the first speaks of hours, and there is a second; the second keeps still.
    flac = bytearray(sound_file([TONE], "flac", "flac"))
    flac[21] |= 0x0F
    assert decoded_length(bytes(flac), max_audio_s=5) == RATE
    live = sound_file([tone(440, 40, 48_000)], "webm", "libopus", rate=48_000, live="1")
    with AudioFile(io.BytesIO(live), max_audio_s=60) as file:
        assert file.claimed == pytest.approx(40 * RATE, abs=RATE / 10)
    with pytest.raises(InputTooLarge):
        AudioFile(io.BytesIO(live), max_audio_s=30)


def test_what_the_file_raises_comes_out_as_it_is_and_nothing_is_left_behind():
    data = wav(silence(600))

    def read(offset, limit):
        if offset > 1_000_000:
            raise BlobNotFound("it expired")
        return data[offset : offset + limit]

    with AudioFile(BlobFile(read, len(data)), max_audio_s=4000) as file, pytest.raises(BlobNotFound):
        for _ in file.between():
            pass
    assert decoded_length(ENGLISH) == 11 * RATE


def test_the_duration_limit_stops_the_decoding():
    # The file does not say how long it is.
    endless = sound_file([np.concatenate([TONE] * 100)], "adts", "aac")
    with pytest.raises(InputTooLarge) as caught:
        decode(endless, max_audio_s=30)
    assert float(caught.value.metadata["value"]) < 45, "it should have stopped long before the end"


def test_an_audio_as_long_as_the_limit_is_read():
    assert decoded_length(wav(silence(30)), max_audio_s=30) == 30 * RATE


def test_what_heed_raises_ends_the_decoding():
    def stop():
        raise InputTooLarge("enough", limit=0, value=0)

    with pytest.raises(InputTooLarge, match="enough"):
        decode(ENGLISH, heed=stop)


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf, 1e30])
def test_nonsense_in_float_samples_is_cleaned(nonsense):
    values = TONE / 32768
    values[1000:1010] = nonsense
    (row,) = decode(float_wav(values))
    assert len(row) == RATE
    assert np.abs(row[4000:] - TONE[4000:]).max() <= 1


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
    assert 0 < decoded_length(ENGLISH[:20_000]) < len(samples(ENGLISH))
    assert decoded_length(wav(TONE)[:10_044]) == 5000


def test_damage_in_the_middle_costs_only_the_damaged_part():
    damaged = bytearray(ENGLISH)
    damaged[15_000:15_200] = bytes(200)
    assert decoded_length(bytes(damaged)) > 0.8 * len(samples(ENGLISH))


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
