"""Words are settled when two decodings in a row agree, and stay so."""

import pytest

from triptych.services.live.agreement import Agreement
from triptych.services.live.words import HeardWord


def heard(text, *, start_ms=0, word_ms=500):
    """Words one after the other, as a decoding times them."""
    return [
        HeardWord(start_ms=start_ms + n * word_ms, end_ms=start_ms + (n + 1) * word_ms - 100, text=f" {word}")
        for n, word in enumerate(text.split())
    ]


@pytest.fixture
def agreement():
    return Agreement()


def test_one_decoding_settles_nothing(agreement):
    agreement.hear(heard("ask not what"))
    assert (agreement.stable_text, agreement.unstable_text) == ("", "ask not what")


def test_what_two_decodings_begin_with_is_settled(agreement):
    agreement.hear(heard("ask not watt"))
    agreement.hear(heard("ask not what your"))
    assert (agreement.stable_text, agreement.unstable_text) == ("ask not", " what your")


def test_marks_and_case_do_not_part_words(agreement):
    agreement.hear(heard("ask not."))
    agreement.hear(heard("Ask not, what"))
    assert (agreement.stable_text, agreement.unstable_text) == ("Ask not,", " what")


def test_agreement_counts_between_neighbours_only(agreement):
    agreement.hear(heard("one two"))
    agreement.hear(heard("won two"))
    agreement.hear(heard("one two"))
    assert agreement.stable_text == ""


def test_settled_words_stay_whatever_comes_later(agreement):
    agreement.hear(heard("ask not what"))
    agreement.hear(heard("ask not what your"))
    agreement.hear(heard("fast knot what your country"))
    # The second and the third agree on what follows the settled words, wherever they do not.
    assert (agreement.stable_text, agreement.unstable_text) == ("ask not what your", " country")
    agreement.hear(heard("ask not what your country"))
    assert agreement.stable_text == "ask not what your country"


def test_a_word_that_came_in_between_leaves_the_rest_to_the_times(agreement):
    agreement.hear(heard("ask not what"))
    agreement.hear(heard("ask not what"))
    more = heard("ask uh not what your", word_ms=400)
    agreement.hear(more)
    assert agreement.unstable_text == "".join(word.text for word in more if word.middle_ms >= 1400)


def test_a_cut_lies_behind_a_settled_word(agreement):
    agreement.hear(heard("one two three four"))
    agreement.hear(heard("one two three five six"))
    # Three words end at 1400, the next one begins at 1500.
    assert agreement.cut(0, 9000) == 1450
    assert agreement.cut(0, 1200) == 950
    assert agreement.cut(1451, 9000) == 1950


def test_a_cut_lies_at_the_end_of_a_sentence_or_in_the_widest_pause(agreement):
    words = [*heard("one two"), *heard("three four", start_ms=1300), *heard("five. six seven", start_ms=2300)]
    agreement.hear(words)
    agreement.hear(words)
    assert agreement.cut(0, 9000) == 2750
    assert agreement.cut(0, 2500) == (900 + 1300) // 2


def test_a_cut_lies_in_a_silence_if_there_is_one(agreement):
    words = heard("one two three. four five")
    agreement.hear(words)
    agreement.hear(words)
    # Behind a sentence rather than later, and rather than where only times of words tell of a pause.
    assert agreement.cut(0, 9000, [480, 1500, 2000]) == 1500
    assert agreement.cut(0, 1400, [480, 1500, 2000]) == 480
    assert agreement.cut(0, 9000, [2600]) == 2600


def test_looks_are_trimmed_in_a_silence_behind_settled_words(agreement):
    words = heard("one two three four five")
    agreement.hear(words)
    agreement.hear(words)
    assert agreement.trim(700, [500, 980, 2700]) == 980
    agreement.hear([*words[2:], *heard("six", start_ms=2500)])
    assert (agreement.stable_text, agreement.unstable_text) == ("one two three four five", " six")


def test_without_settled_words_a_cut_lies_in_the_widest_pause(agreement):
    agreement.hear([*heard("one two"), *heard("three four", start_ms=2000)])
    assert agreement.cut(0, 9000) == (900 + 2000) // 2


def test_a_single_word_is_not_cut(agreement):
    agreement.hear(heard("one"))
    assert agreement.cut(0, 9000) is None
    assert Agreement().cut(0, 9000) is None


def test_looks_are_trimmed_at_the_end_of_a_sentence(agreement):
    words = heard("this is one. this is two and three")
    agreement.hear(words)
    agreement.hear(words)
    assert agreement.trim(500) == 1450
    # What follows is decoded alone, and goes on where the sentence ended.
    agreement.hear([*words[3:], *heard("four", start_ms=4000)])
    assert (agreement.stable_text, agreement.unstable_text) == ("this is one. this is two and three", " four")


def test_looks_are_not_trimmed_behind_words_that_may_change(agreement):
    agreement.hear(heard("one two three"))
    assert agreement.trim(0) is None
    agreement.hear(heard("one two four"))
    assert agreement.trim(0) == 450
    assert agreement.trim(901) is None
