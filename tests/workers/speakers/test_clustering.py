"""Groups of moments, on made-up voices whose likeness is known."""

import tracemalloc

import numpy as np
import pytest

from triptych.workers.speakers import clustering
from triptych.workers.speakers.clustering import cluster

SIZE = 64


def voices(count, *, likeness=0.0, seed=0):
    """Directions with the given cosine between any two."""
    base = np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, count + 1)))[0].T
    return np.sqrt(likeness) * base[0] + np.sqrt(1 - likeness) * base[1:]


def moments(voice, count, *, own=0.6, seed=0):
    """Moments of a voice, which have that cosine with each other on average."""
    noise = np.random.default_rng(seed).standard_normal((count, SIZE)) / np.sqrt(SIZE)
    made = np.sqrt(own) * voice + np.sqrt(1 - own) * noise
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def conversation(likeness=0.0):
    anna, ben = voices(2, likeness=likeness)
    return np.concatenate([moments(anna, 8, seed=1), moments(ben, 6, seed=2), moments(anna, 5, seed=3)])


def test_speakers_are_found_and_numbered_by_first_appearance():
    assert cluster(conversation(), same_speaker=0.32).tolist() == [0] * 8 + [1] * 6 + [0] * 5


def test_one_voice_is_one_speaker():
    assert not cluster(moments(voices(1)[0], 40), same_speaker=0.32).any()


def test_nothing_gives_nothing_and_one_moment_is_a_speaker():
    assert cluster(np.zeros((0, SIZE), np.float32), same_speaker=0.32).shape == (0,)
    assert cluster(conversation()[:1], same_speaker=0.32, fewest=3).tolist() == [0]


def test_like_voices_are_told_apart_where_the_number_is_given():
    alike = conversation(likeness=0.7)
    assert not cluster(alike, same_speaker=0.32).any()
    assert cluster(alike, same_speaker=0.32, fewest=2).tolist() == [0] * 8 + [1] * 6 + [0] * 5


def test_there_are_no_more_speakers_than_the_caller_knows_of():
    three = voices(4, likeness=0.1)
    three[1] = 0.6 * three[0] + 0.8 * three[3]  # the first two are the most alike
    talk = np.concatenate([moments(voice, 10, seed=seed) for seed, voice in enumerate(three[:3])])
    assert cluster(talk, same_speaker=0.5).tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert cluster(talk, same_speaker=0.5, most=2).tolist() == [0] * 20 + [1] * 10
    assert not cluster(talk, same_speaker=0.5, most=1).any()


def test_an_odd_moment_is_no_speaker_but_a_short_recording_has_some():
    anna, ben = voices(2)
    talk = np.concatenate([moments(anna, 9), moments(ben, 1)])
    assert not cluster(talk, same_speaker=0.32).any()
    short = np.concatenate([moments(anna, 2), moments(ben, 2)])
    assert cluster(short, same_speaker=0.32).tolist() == [0, 0, 1, 1]


def test_a_silent_vector_harms_nobody():
    talk = np.concatenate([conversation(), np.zeros((1, SIZE), np.float32)])
    assert cluster(talk, same_speaker=0.32)[:-1].tolist() == [0] * 8 + [1] * 6 + [0] * 5


def test_hours_of_speech_take_bounded_memory():
    people = voices(3)
    turns = [moments(people[turn % 3], 75, seed=turn) for turn in range(384)]  # six hours
    talk = np.concatenate(turns)
    tracemalloc.start()
    found = cluster(talk, same_speaker=0.32)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tolist() == [turn % 3 for turn in range(384) for _ in range(75)]
    assert peak_bytes < 400e6


@pytest.mark.parametrize("fewest", [0, 5])
def test_hours_of_noise_come_to_an_end(monkeypatch, fewest):
    monkeypatch.setattr(clustering, "MAX_POINTS", 100)
    noise = np.random.default_rng(0).standard_normal((1000, SIZE)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    found = cluster(noise, same_speaker=0.32, fewest=fewest)
    assert max(1, fewest) <= found.max() + 1 <= clustering.MAX_SPEAKERS
