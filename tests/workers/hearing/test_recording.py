"""A recording gives its windows while it is read: the same, however much is here already."""

import io

import numpy as np
import pytest
from workers.recordings import ENGLISH, RATE, beside, noise, pieces, samples, silence, wav

from triptych.core.errors import FieldInvalid, RangeOutsideSource
from triptych.v1.common_pb2 import TimeRange
from triptych.workers.hearing.clips import Clips
from triptych.workers.hearing.recording import Recording
from triptych.workers.media.audio_file import AudioFile
from triptych.workers.media.quiet import QuietCutter
from triptych.workers.media.voice import VoiceFinder


def clips(*spans):
    return Clips([TimeRange(start_ms=start, end_ms=end) for start, end in spans])


def recording(data, cutter=QuietCutter, wanted=None, **options):
    file = AudioFile(io.BytesIO(data), max_audio_s=36_000, **options)
    return Recording(file, wanted or clips(), cutter)


def test_windows_come_while_the_rest_is_still_to_be_read():
    one = recording(wav(noise(300)))
    steps = one.pieces()
    first = next(found for found in steps if found)
    assert first[0].window.start == 0
    assert one.file.length is None
    assert 25 * RATE < one.reached < 60 * RATE
    rest = [piece for found in steps for piece in found]
    assert len(rest) >= 9
    assert (one.file.length, one.reached) == (300 * RATE, 300 * RATE)


def test_windows_are_those_of_the_same_samples_decoded_at_once():
    speech = np.concatenate([samples(ENGLISH), silence(3)] * 20)
    whole = VoiceFinder(0)
    expected = [(sound.start, sound.end) for sound in (*whole.add(speech), *whole.rest())]
    found = pieces(wav(speech))
    assert [(one.start, one.end) for piece in found for one in piece.window.stretches] == expected
    assert all(len(piece.samples) <= 30 * RATE for piece in found)


def test_clips_are_read_alone_and_no_window_spans_two():
    one = recording(wav(noise(100)), wanted=clips((10_000, 12_000), (12_500, 13_000), (90_000, 0)))
    found = [piece for step in one.pieces() for piece in step]
    spans = [(piece.window.start / RATE, len(piece.samples) / RATE) for piece in found]
    assert spans == [(10, 2), (12.5, 0.5), (90, 10)]
    assert (one.asked, one.length) == (12.5 * RATE, 100 * RATE)
    assert [one.asked_before(second * RATE) / RATE for second in (5, 11, 50, 95, 100)] == [0, 1, 2.5, 7.5, 12.5]


@pytest.mark.parametrize(
    ("spans", "error"),
    [
        ([(0, 11_001)], RangeOutsideSource),
        ([(11_000, 0)], RangeOutsideSource),
        ([(3_000_000, 0)], RangeOutsideSource),
        ([(-1, 100)], RangeOutsideSource),
        ([(2000, 1000)], FieldInvalid),
        ([(0, 2000), (1999, 3000)], FieldInvalid),
        ([(0, 0), (5000, 0)], FieldInvalid),
    ],
)
def test_clips_that_are_none_are_refused(spans, error):
    with pytest.raises(error):
        list(recording(ENGLISH, wanted=clips(*spans)).pieces())


def test_clips_that_are_far_outside_are_refused_before_anything_is_read():
    with pytest.raises(RangeOutsideSource, match="an audio of 11000 ms"):
        recording(wav(noise(11)), wanted=clips((0, 5000), (20_000, 30_000)))


def test_every_channel_has_windows_of_its_own():
    one = recording(wav(beside(noise(40), silence(40), noise(5))), separate=True)
    found = [piece for step in one.pieces() for piece in step]
    assert [(piece.window.channel, piece.window.start == 0) for piece in found] == [(0, True), (2, True), (0, False)]
    assert one.reached == 40 * RATE


def test_how_many_windows_there_will_be_is_guessed_from_what_was_read():
    one = recording(wav(noise(60), silence(3600)))
    steps = one.pieces()
    next(found for found in steps if found)
    # All that was searched is sound, so all is taken for it.
    assert one.window_count() == pytest.approx(3660 / 30, abs=2)
    for _ in steps:
        pass
    assert one.window_count() <= 3
