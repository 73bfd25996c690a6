"""Utterances begin with speech and end with silence, and no later than they may."""

import dataclasses

import pytest

from triptych.services.live.utterance import Look, Utterance
from triptych.services.live.words import HeardWord

SILENCE_MS, MAX_MS = 700, 20_000


@pytest.fixture
def utterance():
    return Utterance(0, silence_ms=SILENCE_MS, max_ms=MAX_MS)


def words(until_ms, *, start_ms=0, step_ms=500):
    return [
        HeardWord(start_ms=at, end_ms=at + step_ms - 100, text=f" w{at}") for at in range(start_ms, until_ms, step_ms)
    ]


def take(utterance, end_ms, *speech, said=(), last=False):
    utterance.take(Look(end_ms=end_ms, speech=speech, words=said, last=last))


def test_silence_is_dropped_but_for_its_last_second(utterance):
    take(utterance, 5000)
    assert (utterance.begun, utterance.start_ms, utterance.look_start_ms) == (False, 4000, 4000)
    take(utterance, 5300)
    assert utterance.start_ms == 4300


def test_it_begins_with_the_speech(utterance):
    take(utterance, 5000, (3600, 5000))
    assert (utterance.begun, utterance.start_ms, utterance.end_ms) == (True, 3600, None)


def test_it_goes_on_while_the_silence_may_be_short(utterance):
    # The margin of 400 ms counts as silence: here are 699 ms of it.
    take(utterance, 5299, (1000, 5000))
    assert utterance.end_ms is None


def test_it_ends_when_the_silence_is_long_enough(utterance):
    take(utterance, 5300, (1000, 5000))
    assert (utterance.end_ms, utterance.heard_ms) == (5000, 5300)


def test_speech_up_to_the_end_goes_on(utterance):
    take(utterance, 5000, (1000, 5000))
    assert utterance.end_ms is None


def test_the_last_look_ends_it_where_speech_ends(utterance):
    take(utterance, 5100, (1000, 5000), last=True)
    assert utterance.end_ms == 5000


def test_a_stream_that_ends_after_the_last_look_ends_it_there_too(utterance):
    take(utterance, 5100, (1000, 5000))
    utterance.finish()
    assert utterance.end_ms == 5000


def test_nothing_ends_that_has_not_begun(utterance):
    take(utterance, 5000, last=True)
    utterance.finish()
    assert utterance.end_ms is None


def test_a_pause_within_a_look_ends_it_and_leaves_the_rest_to_the_next(utterance):
    said = words(2900, start_ms=1000) + words(7000, start_ms=4200)
    take(utterance, 7000, (1000, 3000), (4000, 7000), said=said)
    assert (utterance.end_ms, utterance.heard_ms) == (3000, 3000)
    assert utterance.agreement.unstable_text.split() == ["w1000", "w1500", "w2000", "w2500"]


def test_margins_that_meet_are_no_pause(utterance):
    take(utterance, 7000, (1000, 3000), (3000, 7000))
    assert utterance.end_ms is None


def test_longer_silence_can_be_asked_for():
    utterance = Utterance(0, silence_ms=3000, max_ms=MAX_MS)
    take(utterance, 9000, (1000, 3000), (4000, 7000))
    assert utterance.end_ms is None
    take(utterance, 9600, (1000, 3000), (4000, 7000))
    assert utterance.end_ms == 7000


def test_one_that_goes_on_is_cut_behind_its_last_settled_word(utterance):
    take(utterance, 20_000, (0, 20_000), said=words(18_000))
    take(utterance, 20_400, (0, 20_400), said=words(20_400))
    # The word from 17500 on is the last one that both decodings have.
    assert (utterance.end_ms, utterance.heard_ms) == (17_950, 20_400)
    rest = utterance.following()
    assert (rest.begun, rest.start_ms, rest.heard_ms) == (True, 17_950, 20_400)
    assert rest.agreement.unstable_text.split() == ["w18000", "w18500", "w19000", "w19500", "w20000"]


def test_settled_words_behind_a_cut_stay_settled(utterance):
    said = words(20_400)
    said[30] = dataclasses.replace(said[30], text=" w15000.")
    for end_ms in (20_000, 20_400):
        take(utterance, end_ms, (0, end_ms), said=said)
    assert utterance.end_ms == 15_450
    rest = utterance.following().agreement
    assert rest.stable_text.split()[0] == "w15500"
    assert rest.unstable_text == " w20000"


def test_settled_words_behind_a_cut_are_not_lost_when_nothing_follows(utterance):
    for end_ms in (20_000, 20_400):
        take(utterance, end_ms, (0, end_ms), said=words(19_000) + words(20_000, start_ms=19_100, step_ms=450))
    rest = utterance.following()
    assert rest.agreement.stable_text
    rest.take(Look(end_ms=21_500, speech=(), words=()))
    assert rest.end_ms == rest.agreement.settled_ms > rest.start_ms


def test_one_without_words_is_cut_where_it_becomes_too_long(utterance):
    take(utterance, 20_400, (0, 20_400))
    assert utterance.end_ms == MAX_MS


def test_a_backlog_of_speech_is_cut_too(utterance):
    take(utterance, 30_000, (1000, 30_000), said=words(30_000, start_ms=1000))
    assert 11_000 <= utterance.end_ms <= 21_000
    assert utterance.following().begun


def test_a_look_sees_no_more_than_a_window_holds(utterance):
    assert utterance.look_end_ms(4000) == 4000
    assert utterance.look_end_ms(90_000) == 30_000


def test_long_looks_begin_later_and_later(utterance):
    for end_ms in range(1000, 19_000, 500):
        start_ms = utterance.look_start_ms
        take(utterance, end_ms, (start_ms, end_ms), said=words(end_ms, start_ms=-(-start_ms // 500) * 500))
        assert end_ms - start_ms <= 10_000
    assert utterance.start_ms == 0
    assert utterance.look_start_ms >= 9_000
    assert utterance.agreement.stable_text.split()[:2] == ["w0", "w500"]
    assert len(utterance.agreement.stable_text.split()) == 36


def test_silence_behind_a_trimmed_look_ends_it_behind_its_last_settled_word(utterance):
    for end_ms in (8000, 9500):
        take(utterance, end_ms, (0, end_ms), said=words(end_ms))
    assert 0 < utterance.look_start_ms < utterance.agreement.settled_ms == 7900
    take(utterance, 7900 + 699)
    assert utterance.end_ms is None
    take(utterance, 7900 + 700)
    assert utterance.end_ms == 7900
