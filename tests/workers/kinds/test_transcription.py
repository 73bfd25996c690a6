"""Transcription jobs from recording to result, on the real engine and the real batcher."""

import re

import pytest
from workers.documents import OneStation, encoded, picture
from workers.recordings import ENGLISH, GERMAN, noise, samples, silence, speech_attempt, speech_engine, wav

from triptych.core.errors import (
    FieldInvalid,
    InputTooLarge,
    JobCancelled,
    LanguageUnsupported,
    MediaCorrupt,
    MediaTypeMismatch,
    MediaTypeUnsupported,
    RangeOutsideSource,
)
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.transcription_pb2 import TRANSCRIPTION_TASK_TRANSLATE, VAD_MODE_OFF
from triptych.workers.kinds import transcription

pytestmark = pytest.mark.weights
KENNEDY = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.fixture
def stations(models_dir):
    with OneStation(speech_engine(models_dir), max_cost=480) as stations:
        yield stations


def segments_told(backstage):
    return [event.transcript_segment for event in backstage.events if event.HasField("transcript_segment")]


def words(text):
    """The text without case and punctuation."""
    return re.sub(r"[^\w\s]", "", text.lower())


def check(result):
    """Holds for every transcript."""
    assert [segment.index for segment in result.segments] == list(range(len(result.segments)))
    assert [result.text[segment.text_start : segment.text_end] for segment in result.segments] == [
        segment.text for segment in result.segments
    ]
    assert all(segment.text == segment.text.strip() != "" for segment in result.segments)
    times = [time for segment in result.segments for time in (segment.start_ms, segment.end_ms)]
    assert times == sorted(times)
    assert all(0 <= time <= result.audio_duration_ms for time in times)
    for segment in result.segments:
        times = [time for word in segment.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert all(segment.start_ms <= time <= segment.end_ms for time in times)
        assert 0 < segment.confidence <= 1


def test_a_recording_of_several_windows_is_joined_in_time_order(stations):
    kennedy = samples(ENGLISH)
    attempt, spec, backstage = speech_attempt(wav(silence(2), kennedy, silence(4), kennedy, kennedy, kennedy))
    result = transcription.run(attempt, spec, stations)
    check(result)
    assert words(result.text) == " ".join([KENNEDY] * 4)
    assert result.model.model == "whisper-base"
    assert (result.language_code, result.language_confidence > 0.5) == ("en", True)
    assert result.audio_duration_ms == 50_000
    assert 38_000 < result.speech_duration_ms < 46_000
    assert not result.segments[0].words
    # The second speech stands where it was spoken: behind 2 s of silence, 11 s of speech, 4 s of silence.
    starts = [segment.start_ms for segment in result.segments if words(segment.text).startswith("and so my")]
    assert starts[:2] == [pytest.approx(2300, abs=700), pytest.approx(17_300, abs=700)]
    assert not any(segment.start_ms < 13_000 and segment.end_ms > 17_000 for segment in result.segments)
    # Watchers were told the same, as it came.
    assert segments_told(backstage) == list(result.segments)
    progress = [event.progress for event in backstage.events if event.HasField("progress")]
    assert progress[0].stage == "decode"
    counts = [one.completed_unit_count for one in progress if one.stage == "transcribe"]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, result.speech_duration_ms)


def test_words_are_timed_on_the_clock_of_the_recording(stations):
    attempt, spec, _ = speech_attempt(wav(silence(3), samples(GERMAN)), language_code="de", enable_word_timestamps=True)
    result = transcription.run(attempt, spec, stations)
    check(result)
    assert result.language_code == "de"
    assert not result.HasField("language_confidence"), "it was given"
    timed = [word for segment in result.segments for word in segment.words]
    assert [word.text for word in timed] == result.text.split()
    assert timed[0].start_ms >= 2900
    assert all(0 <= word.confidence <= 1 for word in timed)


def test_clips_are_transcribed_alone_at_their_times(stations):
    data = wav(samples(ENGLISH), silence(1), samples(GERMAN))
    attempt, spec, _ = speech_attempt(data, clips=[TimeRange(start_ms=12_000)], enable_word_timestamps=True)
    result = transcription.run(attempt, spec, stations)
    check(result)
    assert "portal" in result.text.lower()
    assert "country" not in result.text
    assert result.segments[0].start_ms >= 12_000
    assert result.speech_duration_ms <= 5300
    assert result.audio_duration_ms == 17_256


@pytest.mark.parametrize(
    ("clips", "error"),
    [
        ([(0, 11_001)], RangeOutsideSource),
        ([(11_000, 0)], RangeOutsideSource),
        ([(-1, 100)], RangeOutsideSource),
        ([(2000, 1000)], FieldInvalid),
        ([(0, 2000), (1999, 3000)], FieldInvalid),
        ([(0, 0), (5000, 0)], FieldInvalid),
    ],
)
def test_clips_that_are_none_are_refused(stations, clips, error):
    ranges = [TimeRange(start_ms=start, end_ms=end) for start, end in clips]
    attempt, spec, _ = speech_attempt(ENGLISH, clips=ranges)
    with pytest.raises(error):
        transcription.run(attempt, spec, stations)


@pytest.mark.parametrize("config", [{}, {"vad_mode": VAD_MODE_OFF}, {"language_code": "en"}])
def test_silence_gives_an_empty_transcript(stations, config):
    attempt, spec, backstage = speech_attempt(wav(silence(40)), **config)
    result = transcription.run(attempt, spec, stations)
    assert (result.text, len(result.segments), result.audio_duration_ms) == ("", 0, 40_000)
    assert result.speech_duration_ms == 0
    assert result.language_code == config.get("language_code", "")
    assert not segments_told(backstage)
    stations.station.stop()
    assert stations.batch_sizes == [], "nothing to hear, nothing to run"


def test_noise_gives_an_empty_transcript(stations):
    attempt, spec, _ = speech_attempt(wav(noise(8)))
    assert transcription.run(attempt, spec, stations).text == ""


def test_without_voice_detection_the_whole_recording_is_decoded(stations):
    attempt, spec, _ = speech_attempt(ENGLISH, vad_mode=VAD_MODE_OFF, beam_size=1)
    result = transcription.run(attempt, spec, stations)
    check(result)
    assert "ask not what your country can do for you" in result.text
    assert result.speech_duration_ms == result.audio_duration_ms == 11_000


def test_prompt_hotwords_and_task_reach_the_decoder(stations):
    attempt, spec, _ = speech_attempt(GERMAN, language_code="de-AT", hotwords=["Leichenhalle", "Portal"])
    result = transcription.run(attempt, spec, stations)
    assert "Leichenhalle" in result.text
    assert result.language_code == "de-AT"
    attempt, spec, _ = speech_attempt(
        GERMAN, language_code="de", initial_prompt="A morgue.", task=TRANSCRIPTION_TASK_TRANSLATE, temperature=0.0
    )
    assert "portal" in transcription.run(attempt, spec, stations).text.lower()


@pytest.mark.parametrize(
    ("data", "stated", "error"),
    [
        (b"", "", MediaCorrupt),
        (b"RIFF\x00\x00\x00\x00WAVEjunk", "", MediaCorrupt),
        (b"no audio at all", "", MediaTypeUnsupported),
        (encoded(picture("a page")), "", MediaTypeUnsupported),
        (ENGLISH, "audio/wav", MediaTypeMismatch),
    ],
    ids=["empty", "broken", "text", "image", "mismatch"],
)
def test_what_is_no_recording_is_refused(stations, data, stated, error):
    attempt, spec, _ = speech_attempt(data, media_type=stated)
    with pytest.raises(error):
        transcription.run(attempt, spec, stations)


def test_limits_and_languages_are_checked(stations):
    attempt, spec, _ = speech_attempt(ENGLISH)
    with pytest.raises(InputTooLarge):
        transcription.run(attempt, spec, stations, max_audio_s=10)
    attempt, spec, _ = speech_attempt(ENGLISH, language_code="tlh")
    with pytest.raises(LanguageUnsupported):
        transcription.run(attempt, spec, stations)


def test_a_stopped_job_ends_with_the_reason_and_runs_no_further_window(models_dir):
    attempt, spec, backstage = speech_attempt(wav(*[samples(ENGLISH)] * 6), language_code="en", beam_size=1)

    def stop_at_first_segment(event):
        if event.HasField("transcript_segment"):
            attempt.stop(JobCancelled("cancelled by its caller"))

    backstage.on_event = stop_at_first_segment
    stations = OneStation(speech_engine(models_dir), max_cost=30)
    with stations, pytest.raises(JobCancelled, match="by its caller"):
        transcription.run(attempt, spec, stations)
    # Of three windows the second may have been under way.
    assert sum(stations.batch_sizes) <= 2


def test_a_second_attempt_takes_over_the_windows_that_are_done(stations):
    data = wav(*[samples(ENGLISH)] * 3)
    attempt, spec, first = speech_attempt(data, beam_size=1)
    result = transcription.run(attempt, spec, stations)
    assert len(first.saved) == 2
    name, part = next(iter(first.saved.items()))
    attempt, spec, second = speech_attempt(data, number=2, parts={name: part}, beam_size=1)
    assert transcription.run(attempt, spec, stations) == result
    stations.station.stop()
    assert sum(stations.batch_sizes) == 3, "two windows, and of the second attempt only the missing one"
    assert segments_told(second) == list(result.segments)
