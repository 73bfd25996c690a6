"""Text from tokens: whole characters, cut before stop sequences. A token is a few bytes here."""

from triptych.workers.engines.generated_text import GeneratedText


def grown(pieces, stop_sequences=()):
    """The text, and what was settled after each piece."""
    text = GeneratedText(
        lambda tokens: b"".join(pieces[token] for token in tokens).decode("utf-8", "replace"), stop_sequences
    )
    settled = []
    for token in range(len(pieces)):
        text.add(token)
        settled.append(text.settled())
        if text.stopped:
            return text, settled
    text.close()
    return text, settled


def test_a_character_is_shown_when_its_last_byte_is_there():
    text, settled = grown([b"a", b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80b"])
    assert text.text == "a€😀b"
    assert settled == ["a", "a", "a", "a€", "a€", "a€😀b"]


def test_a_character_that_never_ends_is_shown_as_such_at_the_end():
    text, settled = grown([b"a", b"\xe2", b"\x82"])
    assert settled == ["a", "a", "a"]
    assert text.text == "a\ufffd"


def test_a_broken_byte_does_not_hold_back_what_follows():
    text, _ = grown([b"a", b"\xff", b"b", b"c"])
    assert text.text == "a\ufffdbc"


def test_the_text_ends_before_a_stop_sequence_that_comes_in_pieces():
    text, settled = grown([b"one\n", b"EN", b"D two"], ["END"])
    assert (text.text, text.stopped) == ("one\n", True)
    assert settled == ["one\n", "one\n", "one\n"]


def test_a_false_alarm_is_let_go():
    text, settled = grown([b"one\nEN", b"TER", b"EN"], ["END"])
    assert settled == ["one\n", "one\nENTER", "one\nENTER"]
    assert (text.text, text.stopped) == ("one\nENTEREN", False)


def test_the_first_of_several_stop_sequences_counts():
    text, _ = grown([b"a;b.c"], [".", ";"])
    assert text.text == "a"


def test_an_old_place_is_not_searched_again_but_its_end_is():
    text, _ = grown([b"x" * 50, b"#", b"#", b"#"], ["###"])
    assert text.text == "x" * 50
    assert text.stopped
