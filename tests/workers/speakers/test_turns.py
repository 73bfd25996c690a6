"""Turns out of moments."""

import numpy as np

from triptych.workers.speakers.turns import Moment, Turn, turns_of

ANNA, BEN = np.eye(2, 8, dtype=np.float32)


def moment(start_ms, end_ms, stretch=0):
    return Moment(start_ms=start_ms, end_ms=end_ms, stretch=stretch)


def turns(moments, voices):
    return turns_of(moments, np.array(voices, np.float32).reshape(-1, 8), same_speaker=0.3)


def test_no_speech_has_no_turns():
    assert turns([], []) == []


def test_a_turn_lasts_as_long_as_its_stretch():
    said = turns([moment(500, 2000), moment(1250, 2750), moment(1700, 3200)], [ANNA] * 3)
    assert said == [Turn(start_ms=500, end_ms=3200, speaker=0)]


def test_a_change_within_a_stretch_stands_between_the_middles_of_its_moments():
    said = turns([moment(750 * n, 750 * n + 1500) for n in range(6)], [ANNA] * 3 + [BEN] * 3)
    assert said == [Turn(start_ms=0, end_ms=2625, speaker=0), Turn(start_ms=2625, end_ms=5250, speaker=1)]


def test_silence_belongs_to_nobody():
    said = turns([moment(0, 1500), moment(4000, 4800, 1), moment(6000, 6900, 2)], [ANNA, BEN, ANNA])
    assert [(turn.start_ms, turn.end_ms, turn.speaker) for turn in said] == [
        (0, 1500, 0),
        (4000, 4800, 1),
        (6000, 6900, 0),
    ]
