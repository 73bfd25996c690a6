"""Speech is found, and everything is cut at quiet moments, however the samples come."""

import numpy as np
import pytest
from workers.recordings import ENGLISH, RATE, noise, samples, silence

from triptych.core.errors import JobCancelled
from triptych.workers.media import voice
from triptych.workers.media.quiet import QuietCutter
from triptych.workers.media.voice import VoiceFinder


def edges(cutter, audio, lot):
    """Where the sounds begin and end, if samples come so many at a time; each holds what stands there."""
    sounds = [sound for at in range(0, len(audio), lot) for sound in cutter.add(audio[at : at + lot])]
    sounds += cutter.rest()
    assert cutter.reached == len(audio)
    assert all(np.array_equal(sound.samples, audio[sound.start : sound.end]) for sound in sounds)
    assert all(0 < len(sound.samples) <= 30 * RATE for sound in sounds)
    return [(sound.start, sound.end) for sound in sounds]


def test_speech_is_found_across_the_blocks_in_which_it_is_looked_for(monkeypatch):
    audio = np.concatenate([silence(7), samples(ENGLISH), silence(3), samples(ENGLISH), silence(5)])
    whole = edges(VoiceFinder(0), audio, len(audio))
    monkeypatch.setattr(voice, "_BLOCK_SAMPLES", 15 * RATE)
    blocks = edges(VoiceFinder(0), audio, len(audio))
    assert len(whole) > 1
    assert [(start / RATE, end / RATE) for start, end in blocks] == [
        (pytest.approx(start / RATE, abs=0.3), pytest.approx(end / RATE, abs=0.3)) for start, end in whole
    ]


@pytest.mark.parametrize("cutter", [VoiceFinder, QuietCutter])
def test_how_the_samples_come_changes_nothing(monkeypatch, cutter):
    monkeypatch.setattr(voice, "_BLOCK_SAMPLES", 15 * RATE)
    audio = np.concatenate([samples(ENGLISH)] * 4)
    whole = edges(cutter(0), audio, len(audio))
    assert len(whole) > 1
    for lot in (10 * RATE, 15 * RATE, 7777):
        assert edges(cutter(0), audio, lot) == whole


def test_what_is_cut_off_by_the_end_of_a_block_goes_into_the_next_one(monkeypatch):
    monkeypatch.setattr(voice, "_BLOCK_SAMPLES", 15 * RATE)
    # Nothing but the speech that the end of the first block cuts through.
    found = edges(VoiceFinder(0), np.concatenate([silence(13), samples(ENGLISH)]), RATE)
    assert 15 * RATE not in [edge for edges in found for edge in edges]


def test_no_more_begins_before_what_is_reached(monkeypatch):
    monkeypatch.setattr(voice, "_BLOCK_SAMPLES", 15 * RATE)
    finder, audio = VoiceFinder(1000), np.concatenate([samples(ENGLISH)] * 3)
    for at in range(0, len(audio), 5 * RATE):
        before = finder.reached
        assert all(sound.start >= before for sound in finder.add(audio[at : at + 5 * RATE]))
        assert finder.reached >= before


def test_hours_of_silence_are_not_even_looked_at(monkeypatch):
    monkeypatch.setattr(voice, "load_voice_detector", lambda: pytest.fail("there is nothing to detect"))
    assert edges(VoiceFinder(0), silence(600), 10 * RATE) == []


def test_the_search_can_be_left():
    def stop():
        raise JobCancelled("enough")

    finder = VoiceFinder(0, stop)
    with pytest.raises(JobCancelled):
        list(finder.add(noise(130)))


def test_without_voice_detection_pieces_end_at_quiet_moments():
    loud = noise(28)
    audio = np.concatenate([loud, np.ones(RATE // 10, np.int16), noise(10), silence(40)])
    first, second, *rest = edges(QuietCutter(0), audio, RATE)
    assert first[0] == 0
    assert first[1] == second[0]
    assert abs(first[1] - len(loud) - RATE // 20) < RATE // 20
    assert rest == [], "digital silence is left out"
