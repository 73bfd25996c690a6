"""Windows are filled, and times lead back from them to the audio."""

import numpy as np
from workers.recordings import RATE

from triptych.workers.hearing.windows import Packer, Stretch, Window
from triptych.workers.media.sound import Sound


def packed(*spans, **options):
    """What windows become of speech between these seconds."""
    packer = Packer(**options)
    sounds = [Sound(start=a * RATE, samples=np.full((b - a) * RATE, a, np.int16)) for a, b in spans]
    return [piece for piece in (*map(packer.add, sounds), packer.rest()) if piece]


def seconds(piece):
    return [(stretch.start // RATE, stretch.end // RATE) for stretch in piece.window.stretches]


def test_windows_are_filled_up_to_30_s():
    pieces = packed((0, 12), (20, 33), (40, 50), (60, 90))
    assert [seconds(piece) for piece in pieces] == [[(0, 12), (20, 33)], [(40, 50)], [(60, 90)]]
    assert [len(piece.samples) for piece in pieces] == [25 * RATE, 10 * RATE, 30 * RATE]
    assert pieces[0].samples[12 * RATE - 1 : 12 * RATE + 1].tolist() == [0, np.float32(20 / 32768)]
    assert packed() == []


def test_a_window_can_be_kept_from_extending_over_long_silences():
    pieces = packed((0, 1), (50, 60), (61, 62), (130, 131), max_span=60 * RATE, channel=1)
    assert [seconds(piece) for piece in pieces] == [[(0, 1), (50, 60)], [(61, 62)], [(130, 131)]]


def test_a_window_is_named_by_its_place():
    stretches = (Stretch(start=RATE, end=2 * RATE), Stretch(start=10 * RATE, end=12 * RATE + 8))
    assert Window(stretches=stretches).name == "window:1000-12000"
    assert Window(stretches=stretches, channel=0).name == "window:0:1000-12000"


def test_times_lead_back_to_the_audio():
    window = Window(stretches=(Stretch(start=1 * RATE, end=3 * RATE), Stretch(start=10 * RATE, end=12 * RATE)))
    assert window.source_ms(0, 500) == (1000, 1500)
    assert window.source_ms(2500, 3000) == (10500, 11000)
    assert window.source_ms(1800, 2100) == (2800, 3000), "a word stays in the stretch that holds its middle"
    assert window.source_ms(3900, 4000) == (11900, 12000)
