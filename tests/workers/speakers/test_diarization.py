"""Transcription jobs that say who speaks, on the real speaker engine and the real batcher."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from workers.documents import OneStation
from workers.hearing.listener import LoudnessEngine
from workers.recordings import (
    ENGLISH,
    GERMAN,
    RATE,
    beside,
    samples,
    silence,
    speaker_engine,
    speech_attempt,
    speech_engine,
    wav,
)

from triptych.core.errors import FeatureDisabled, FieldInvalid, JobCancelled, ModelNotFound
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.transcription_pb2 import CHANNEL_MODE_SEPARATE, VAD_MODE_OFF, SpeakerConfig
from triptych.workers.kinds import transcription
from triptych.workers.speakers.diarization import moments_in

pytestmark = pytest.mark.weights
KENNEDY, LEOPARD = samples(ENGLISH), samples(GERMAN)
MODEL = "campplus-zh-en"
SHARED = Path(__file__).parents[4] / "shared" / "data" / "public" / "audio"


class TwoStations:
    """Stations of a worker that hears with one model and tells speakers apart with another."""

    def __init__(self, speech, speakers):
        self.speech = OneStation(speech, max_cost=480)
        self.speakers = OneStation(speakers, max_cost=480)

    def get(self, name="", /):
        return (self.speakers if name == MODEL else self.speech).get()

    def __enter__(self):
        self.speech.__enter__()
        self.speakers.__enter__()
        return self

    def __exit__(self, *_):
        self.speech.__exit__()
        self.speakers.__exit__()


@pytest.fixture
def stations(models_dir):
    with TwoStations(LoudnessEngine(), speaker_engine(models_dir)) as stations:
        yield stations


def run(stations, data, *, attempt_number=1, **config):
    attempt, spec, backstage = speech_attempt(data, number=attempt_number, **config)
    return transcription.run(attempt, spec, stations, speaker_model=MODEL), backstage


def segments_told(backstage):
    return [event.transcript_segment for event in backstage.events if event.HasField("transcript_segment")]


def test_words_and_segments_say_who_speaks(models_dir):
    # A window has one language, so each speaker has windows of their own here.
    ends_ms = [len(KENNEDY) // 16, (len(KENNEDY) + len(LEOPARD)) // 16, (2 * len(KENNEDY) + len(LEOPARD)) // 16]
    clips = [TimeRange(start_ms=start, end_ms=end) for start, end in pairwise([0, *ends_ms])]
    with TwoStations(speech_engine(models_dir), speaker_engine(models_dir)) as stations:
        result, backstage = run(
            stations,
            wav(KENNEDY, LEOPARD, KENNEDY),
            clips=clips,
            language_code="en",
            enable_word_timestamps=True,
            speakers=SpeakerConfig(),
        )
    for segment in result.segments:
        is_kennedy = not ends_ms[0] <= segment.start_ms < ends_ms[1]
        assert segment.speaker == ("S1" if is_kennedy else "S2")
        assert {word.speaker for word in segment.words} == {segment.speaker}
    assert {segment.speaker for segment in result.segments} == {"S1", "S2"}
    assert result.speaker_model.model == MODEL
    # Who speaks is known at the end: what was told meanwhile does not say it.
    assert {segment.speaker for segment in segments_told(backstage)} == {""}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_words_of_a_conversation_are_given_to_who_says_them(models_dir):
    names = ("LJ001-0001.wav", "jfk.flac", "LJ001-0009.flac", "sb_spk1_snt5.wav", "LJ001-0005.opus", "jfk_cpp.mp3")
    clips = [samples((SHARED / f"en_{name}").read_bytes()) for name in names]
    said, at = [], 0
    for name, clip in zip(names, clips, strict=True):
        said.append((at // 16, (at + len(clip)) // 16, {"L": "S1", "j": "S2", "s": "S3"}[name[0]]))
        at += len(clip) + RATE // 4
    talk = wav(*(part for clip in clips for part in (clip, silence(0.25))))
    with TwoStations(speech_engine(models_dir), speaker_engine(models_dir)) as stations:
        result, _ = run(stations, talk, enable_word_timestamps=True, speakers=SpeakerConfig())
    words = [word for segment in result.segments for word in segment.words]
    truth = [next(who for _, end_ms, who in said if word.start_ms < end_ms) for word in words]
    right = sum(word.speaker == who for word, who in zip(words, truth, strict=True))
    assert right / len(words) > 0.95
    assert [segment.index for segment in result.segments] == list(range(len(result.segments)))
    assert all(result.text[one.text_start : one.text_end] == one.text for one in result.segments)


def test_nobody_is_told_apart_unless_it_is_asked_for(stations):
    result, _ = run(stations, wav(KENNEDY, LEOPARD))
    assert {segment.speaker for segment in result.segments} == {""}
    assert not result.HasField("speaker_model")
    assert stations.speakers.batch_sizes == []


def test_speakers_of_separate_channels_are_different_people(stations):
    call = wav(beside(np.concatenate([KENNEDY, silence(6)]), np.concatenate([silence(12), LEOPARD])))
    result, _ = run(stations, call, channel_mode=CHANNEL_MODE_SEPARATE, speakers=SpeakerConfig())
    assert {(segment.channel, segment.speaker) for segment in result.segments} == {(0, "S1"), (1, "S2")}
    twice, _ = run(
        stations, wav(beside(KENNEDY, KENNEDY)), channel_mode=CHANNEL_MODE_SEPARATE, speakers=SpeakerConfig()
    )
    assert {(segment.channel, segment.speaker) for segment in twice.segments} == {(0, "S1"), (1, "S2")}


def test_the_number_of_speakers_may_be_given(stations):
    talk = wav(KENNEDY, silence(1), LEOPARD, silence(1), KENNEDY)
    found, _ = run(stations, talk, speakers=SpeakerConfig(max_speaker_count=1))
    assert {segment.speaker for segment in found.segments} == {"S1"}


@pytest.mark.parametrize("vad", [0, VAD_MODE_OFF])
def test_silence_has_no_speakers(stations, vad):
    result, _ = run(stations, wav(silence(5)), vad_mode=vad, speakers=SpeakerConfig())
    assert not any(segment.speaker and not segment.text for segment in result.segments)
    assert result.speaker_model.model == MODEL


def test_the_voices_of_different_jobs_share_a_batch(stations):
    engine = stations.speakers.station.engine
    item = engine.voices([KENNEDY[:24_000].astype(np.float32) / 32768] * 8)
    futures = [stations.speakers.station.submit(item, lane=1, deadline=None) for _ in range(8)]
    assert {future.result().value.shape for future in futures} == {(8, 192)}
    assert max(stations.speakers.batch_sizes) > 1


def test_a_worker_that_cannot_says_so_before_it_reads(models_dir):
    class Nothing(OneStation):
        def get(self, name="", /):
            if name == "pull-me":
                raise ModelNotFound("the weights of pull-me are not on this machine; `triptych models pull pull-me`")
            if name == "pp-ocrv6-small":
                raise FieldInvalid("config.model", "pp-ocrv6-small does no transcription")
            return self.station

    def refusal(model):
        attempt, spec, backstage = speech_attempt(b"never read", speakers=SpeakerConfig())
        with pytest.raises(FeatureDisabled) as refused:
            transcription.run(attempt, spec, stations, speaker_model=model)
        assert not backstage.begun
        assert not backstage.events
        return str(refused.value)

    with Nothing(LoudnessEngine()) as stations:
        assert "triptych models pull pull-me" in refusal("pull-me")
        assert "TRIPTYCH_SPEAKER_MODEL is empty" in refusal("")
        assert "pp-ocrv6-small does no transcription" in refusal("pp-ocrv6-small")
        assert "loudness is no speaker model" in refusal("loudness")


def test_a_transcript_with_speakers_is_another_work_than_one_without(stations):
    attempt, spec, backstage = speech_attempt(wav(LEOPARD), speakers=SpeakerConfig())
    first = transcription.run(attempt, spec, stations, speaker_model=MODEL)
    plain, plain_spec, plain_stage = speech_attempt(wav(LEOPARD))
    plain_stage.units = backstage.units
    assert not transcription.run(plain, plain_spec, stations, speaker_model=MODEL).HasField("speaker_model")
    again, same, stage = speech_attempt(wav(LEOPARD), speakers=SpeakerConfig())
    stage.units = backstage.units
    heard = len(stations.speakers.batch_sizes)
    assert transcription.run(again, same, stations, speaker_model=MODEL) == first
    assert len(stations.speakers.batch_sizes) == heard


def test_nothing_is_left_in_hand_or_waiting(stations):
    _, backstage = run(stations, wav(KENNEDY, LEOPARD, KENNEDY, KENNEDY), speakers=SpeakerConfig())
    assert not backstage.begun
    assert not [unit for unit in backstage.saved if unit.startswith("voices:")]


def test_a_job_that_is_cancelled_while_voices_wait_ends_at_once(stations):
    attempt, spec, backstage = speech_attempt(wav(KENNEDY, LEOPARD), speakers=SpeakerConfig())
    backstage.on_event = lambda event: attempt.stop(JobCancelled("enough")) if event.HasField("progress") else None
    with pytest.raises(JobCancelled):
        transcription.run(attempt, spec, stations, speaker_model=MODEL)


@pytest.mark.parametrize(
    ("seconds", "moments"),
    [
        (0.2, []),
        (0.25, [(0, 0.25)]),
        (1.5, [(0, 1.5)]),
        (2, [(0, 1.5), (0.5, 2)]),
        (3, [(0, 1.5), (0.75, 2.25), (1.5, 3)]),
        (3.2, [(0, 1.5), (0.75, 2.25), (1.5, 3), (1.7, 3.2)]),
    ],
)
def test_moments_cover_their_stretch_half_over_each_other(seconds, moments):
    assert [(start / 16_000, end / 16_000) for start, end in moments_in(round(seconds * 16_000))] == moments
