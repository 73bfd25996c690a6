"""Whatever sound it is sent, a real worker gives a result or a reason, in bounded memory and time, and lives on."""

import urllib.request
from pathlib import Path

import numpy as np
import pytest
from workers.recordings import beside, samples, silence, sound_file

from triptych.core.errors import LanguageUnsupported, MediaTypeUnsupported, RangeOutsideSource, TriptychError
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.transcription_pb2 import CHANNEL_MODE_SEPARATE, TranscriptionConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]

HOSTILE = Path(__file__).parents[3] / "shared" / "data" / "public" / "hostile"
SOUNDS = {".wav", ".mp3", ".ogg", ".opus", ".flac", ".m4a", ".mp4", ".m3u8", ".bin", ".webm"}
# The contract's reasons for what is wrong with an input.
REASONS = {"MEDIA_CORRUPT", "MEDIA_TYPE_UNSUPPORTED", "INPUT_TOO_LARGE", "FIELD_INVALID"}
MAX_MEMORY_BYTES = 1_500_000_000


def peak_bytes(process):
    """The most that a worker ever held; the kernel's own mark is reset at each batch."""
    with urllib.request.urlopen(f"http://{process['ready']['metrics']}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("triptych_most_resident_bytes "))


@pytest.fixture(autouse=True)
def the_worker_lives_on(stack):
    before = stack.process("worker-transcription")
    yield
    after = stack.process("worker-transcription")
    assert (after["pid"], after["state"]) == (before["pid"], "ready")
    assert peak_bytes(after) < MAX_MEMORY_BYTES


def test_all_hostile_sound_ends_in_a_result_or_a_reason(client):
    if not HOSTILE.is_dir():
        pytest.skip("there is no ../shared")
    ends = {}
    for path in sorted(path for path in HOSTILE.iterdir() if path.suffix in SOUNDS):
        try:
            result = client.transcribe(path, timeout_s=120)
        except TriptychError as error:
            ends[path.name] = error.reason
        else:
            ends[path.name] = ""
            assert result.audio_duration_ms > 0, path.name
    assert len(ends) > 25
    assert {end for end in ends.values() if end} <= REASONS, ends
    # These hold sound.
    for name in ("wav_8ch.wav", "wav_192k.wav", "mp3_named.wav", "silence_3h.flac", "silence_3h.opus"):
        assert ends[name] == "", ends
    for name in ("zero_bytes.wav", "playlist_named.mp3", "concat_named.wav", "video_no_audio.mp4", "random_bytes.mp3"):
        assert ends[name], ends


def test_what_is_asked_of_a_recording_that_it_has_not_is_said(client, data_dir):
    recording = (data_dir / "audio" / "en-kennedy.opus").read_bytes()
    for config, error in (
        (TranscriptionConfig(language_code="tlh"), LanguageUnsupported),
        (TranscriptionConfig(audio_stream=3), RangeOutsideSource),
        (TranscriptionConfig(clips=[TimeRange(start_ms=60_000, end_ms=61_000)]), RangeOutsideSource),
    ):
        with pytest.raises(error):
            client.transcribe(recording, config, timeout_s=60)
    with pytest.raises(MediaTypeUnsupported):
        client.transcribe(sound_file([], "mp4", "aac", film=True), timeout_s=60)


def test_channels_of_a_film_have_their_own_transcripts(client, data_dir):
    spoken = samples((data_dir / "audio" / "en-kennedy.opus").read_bytes())
    # Its first audio stream is silent, the second has speech on the left.
    left = beside(np.concatenate([silence(1), spoken]), silence(12))
    film = sound_file([left * 0, left], "matroska", "pcm_s16le", layout="stereo", film=True)
    config = TranscriptionConfig(channel_mode=CHANNEL_MODE_SEPARATE, audio_stream=1)
    result = client.transcribe(film, config, timeout_s=120)
    assert result.channel_count == 2
    assert {segment.channel for segment in result.segments} == {0}
    assert "country" in result.text
