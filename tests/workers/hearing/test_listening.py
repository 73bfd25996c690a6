"""Windows are decoded while the recording is read, as many ahead as memory allows, and told in order."""

import threading

import numpy as np
import pytest
from workers.documents import OneStation
from workers.hearing.listener import LoudnessEngine
from workers.recordings import RATE, beside, silence, sound_file, speech_attempt, wav

from triptych.core.errors import ExecutionTimeout, InputTooLarge, JobCancelled, MediaCorrupt
from triptych.v1.transcription_pb2 import (
    CHANNEL_MODE_SEPARATE,
    VAD_MODE_OFF,
    WINDOW_MODE_SHORT,
    TranscriptionGuard,
)
from triptych.workers.engines.speech import Guard
from triptych.workers.hearing.listening import MAX_WINDOWS_AHEAD
from triptych.workers.kinds import transcription


def steps(*levels, seconds=30):
    """Sound that changes its loudness every so many seconds: each is a window."""
    return np.concatenate([np.full(round(seconds * RATE), level, np.int16) for level in levels])


@pytest.fixture
def engine():
    return LoudnessEngine()


@pytest.fixture
def stations(engine):
    with OneStation(engine, max_cost=8) as stations:
        yield stations


def run(data, stations, **config):
    attempt, spec, backstage = speech_attempt(data, vad_mode=VAD_MODE_OFF, **config)
    return transcription.run(attempt, spec, stations), backstage


def progress(backstage):
    return [event.progress for event in backstage.events if event.HasField("progress")]


def watched(backstage):
    """Ends of what is read of the recording, as it is read."""
    read, whole_read = [], backstage.read

    def watch(tenant, source, offset=0, limit=0):
        read.append(offset + limit)
        return whole_read(tenant, source, offset, limit)

    backstage.read = watch
    return read


def test_no_more_than_so_many_windows_wait_and_reading_waits_with_them(engine, monkeypatch):
    data = wav(steps(*range(100, 200)))
    attempt, spec, backstage = speech_attempt(data, vad_mode=VAD_MODE_OFF, language_code="en")
    read, told, made, full, found = watched(backstage), [], [], threading.Event(), []

    def tell(event):
        if event.HasField("transcript_segment"):
            told.append(event)
            engine.gate.clear()  # nothing more is heard

    def window(samples, **facts):
        made.append(LoudnessEngine.window(engine, samples, **facts))
        if len(made) - len(told) == MAX_WINDOWS_AHEAD:
            full.set()
        return made[-1]

    backstage.on_event = tell
    monkeypatch.setattr(engine, "window", window)
    with OneStation(engine, max_cost=8, max_items=1) as stations:
        run_it = threading.Thread(target=lambda: found.append(transcription.run(attempt, spec, stations)), daemon=True)
        run_it.start()
        assert full.wait(30)
        # It would go on at once, if it did not wait.
        run_it.join(0.5)
        assert len(made) - len(told) == MAX_WINDOWS_AHEAD
        assert max(read) < 0.6 * len(data)
        backstage.on_event = told.append
        engine.gate.set()
        run_it.join(30)
    assert len(found[0].segments) == len(made)
    assert found[0].audio_duration_ms == 3_000_000


def test_the_first_text_is_told_while_the_rest_is_still_to_be_read(stations):
    data = wav(steps(*range(100, 150)))
    attempt, spec, backstage = speech_attempt(data, vad_mode=VAD_MODE_OFF)
    at_first, read = [], watched(backstage)

    def told(event):
        if event.HasField("transcript_segment") and not at_first:
            at_first.append(max(read))

    backstage.on_event = told
    transcription.run(attempt, spec, stations)
    assert at_first[0] < len(data) / 10


def test_a_channels_first_window_tells_its_language(engine, stations):
    run(wav(steps(100, 200, 300)), stations)
    first, *others = [language for language, _ in engine.windows]
    assert (first, set(others)) == (None, {"en"})


def test_options_reach_the_engine(engine, stations):
    guard = TranscriptionGuard(max_compression_ratio=2.4, min_avg_logprob=-0.7)
    result, _ = run(wav(steps(100)), stations, guard=guard, window_mode=WINDOW_MODE_SHORT)
    (_, decoding), = engine.windows  # fmt: skip
    assert decoding.short
    assert decoding.guard == Guard(min_avg_logprob=-0.7)
    assert pytest.approx(0.2) == result.segments[0].temperature


def test_channels_are_told_in_the_order_of_time_and_so_is_how_far_it_is(stations):
    # The second channel speaks seldom, and the windows of the first must wait for it.
    first = steps(*range(100, 110))
    second = np.concatenate([silence(35), steps(200, seconds=1), silence(200), steps(201, seconds=1)])
    result, backstage = run(wav(beside(first, second)), stations, channel_mode=CHANNEL_MODE_SEPARATE)
    told = [event.transcript_segment for event in backstage.events if event.HasField("transcript_segment")]
    assert told == list(result.segments)
    order = [(segment.start_ms, segment.channel) for segment in told]
    assert order == sorted(order)
    assert {channel for _, channel in order} == {0, 1}
    assert result.text.split() == [segment.text for segment in told]
    counts = [one.completed_unit_count for one in progress(backstage)[1:]]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 300_000)
    # Speech of both at once counts once.
    assert result.speech_duration_ms <= 300_000
    assert all(a.end_ms <= b.start_ms for a, b in zip(result.speech, result.speech[1:], strict=False))


@pytest.mark.parametrize("language", ["ja", "en"])
def test_texts_are_joined_as_their_language_is_written(engine, stations, language):
    engine.spoken = language
    result, _ = run(wav(steps(100, 200)), stations)
    assert result.text == ("" if language == "ja" else " ").join(segment.text for segment in result.segments)
    assert [result.text[one.text_start : one.text_end] for one in result.segments] == [
        one.text for one in result.segments
    ]


def test_what_is_left_of_another_attempt_is_taken_channel_by_channel(engine, stations):
    data = wav(beside(steps(100, 200), steps(300, 400)))
    first, backstage = run(data, stations, channel_mode=CHANNEL_MODE_SEPARATE)
    count = len(engine.windows)
    kept = dict(list(backstage.saved.items())[:-1])
    attempt, spec, _ = speech_attempt(data, number=2, parts=kept, vad_mode=VAD_MODE_OFF,
                                      channel_mode=CHANNEL_MODE_SEPARATE)  # fmt: skip
    assert transcription.run(attempt, spec, stations) == first
    assert len(engine.windows) == count + 1


@pytest.mark.parametrize("suspects", [("recording",), ("window:",), ("recording", "window:")])
def test_a_recording_on_which_workers_died_is_read_alone_and_to_its_end(engine, stations, suspects):
    data = wav(steps(100, 200, 300))
    expected, first = run(data, stations, language_code="en")
    attempt, spec, backstage = speech_attempt(data, number=2, vad_mode=VAD_MODE_OFF, language_code="en")
    backstage.deaths = {unit: 1 for unit in ("recording", *first.saved) if unit.startswith(suspects)}
    assert transcription.run(attempt, spec, stations) == expected
    assert backstage.begun == []


def test_what_cannot_be_done_in_time_is_refused_before_it_is_begun(stations, monkeypatch):
    monkeypatch.setattr(stations.station, "least_s", lambda count: 6.0 * count)
    attempt, spec, _ = speech_attempt(wav(steps(*range(100, 200))), vad_mode=VAD_MODE_OFF)
    with pytest.raises(ExecutionTimeout, match="windows of speech take"):
        transcription.run(attempt, spec, stations)
    # Silence takes no time.
    attempt, spec, _ = speech_attempt(wav(silence(3000), steps(100)), vad_mode=VAD_MODE_OFF)
    assert transcription.run(attempt, spec, stations).segments


def test_a_job_that_is_stopped_while_it_is_read_leaves_nothing_behind(stations):
    attempt, spec, backstage = speech_attempt(wav(silence(3000)), vad_mode=VAD_MODE_OFF)
    backstage.on_event = lambda event: event.progress.completed_unit_count > 1000 and attempt.stop(JobCancelled("x"))
    with pytest.raises(JobCancelled):
        transcription.run(attempt, spec, stations)
    assert backstage.begun == []


def test_hours_of_silence_pass_with_progress(stations):
    result, backstage = run(wav(silence(3600)), stations)
    assert (result.text, result.audio_duration_ms, len(result.speech)) == ("", 3_600_000, 0)
    percents = [one.percent for one in progress(backstage) if one.HasField("percent")]
    assert len(set(percents)) > 90
    assert percents == sorted(percents)


def test_a_recording_that_turns_out_too_long_fails_and_leaves_nothing_running(stations):
    # It does not know its length, and its bit rate promises less than there is.
    quiet, loud = steps(20, seconds=60), (np.random.default_rng(0).standard_normal(200 * RATE) * 9000).astype(np.int16)
    data = sound_file([np.concatenate([loud, quiet, quiet])], "adts", "aac")
    attempt, spec, backstage = speech_attempt(data, vad_mode=VAD_MODE_OFF)
    with pytest.raises(InputTooLarge):
        transcription.run(attempt, spec, stations, max_audio_s=300)
    assert "recording" not in backstage.begun


def test_a_recording_of_nothing_is_corrupt(stations):
    with pytest.raises(MediaCorrupt):
        run(wav(silence(0)), stations)
