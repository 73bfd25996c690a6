"""What batches are expected to take, by what others took."""

import random

import pytest

from triptych.workers.memory_peaks import GROWTH, MARGIN, MAX_KEYS, Peaks


def peaks(*learned):
    peaks = Peaks()
    for key, cost, size_bytes in learned:
        peaks.learn(key, cost, size_bytes)
    return peaks


def test_of_a_model_that_never_ran_nothing_is_known_and_a_single_item_is_tried():
    assert Peaks().expected_bytes("key", 3) is None
    assert Peaks().max_cost("key", 1 << 40) == 0


def test_memory_grows_with_cost_beyond_what_was_measured_and_does_not_shrink_below():
    known = peaks(("key", 2, 100), ("key", 8, 300))
    assert [known.expected_bytes("key", cost) for cost in (1, 2, 4, 8, 16)] == [
        MARGIN * size for size in (100, 100, 200, 300, 600)
    ]
    assert known.expected_bytes("key", 7) == MARGIN * 300, "not more than a larger one took"


def test_a_batch_is_as_large_as_the_room_allows_and_reaches_not_far_beyond_what_was_measured():
    known = peaks(("key", 2, 100), ("key", 8, 300))
    assert known.max_cost("key", int(MARGIN * 600)) == 16
    assert known.max_cost("key", int(MARGIN * 200)) == 4
    assert known.max_cost("key", int(MARGIN * 299)) == pytest.approx(5.98, rel=0.01)
    assert known.max_cost("key", 10) == 0, "not even the smallest is known to fit"
    assert known.max_cost("key", 1 << 40) == GROWTH * 8


def test_a_key_that_never_ran_is_taken_for_as_hungry_as_the_hungriest():
    known = peaks(("small", 4, 40), ("large", 4, 400))
    assert known.expected_bytes("new", 4) == MARGIN * 400
    assert known.max_cost("new", int(MARGIN * 400)) == 4
    assert known.expected_bytes("small", 4) == MARGIN * 40


def test_what_ran_well_unmeasured_lets_batches_grow_and_says_nothing_of_memory():
    known = peaks(("key", 1, 100))
    known.note_run("key", 4)
    assert known.max_cost("key", 1 << 40) == GROWTH * 4
    assert known.max_cost("key", int(MARGIN * 800)) == 8
    known.note_run("new", 2)
    assert known.expected_bytes("new", 2) == MARGIN * 200
    assert known.max_cost("new", 1 << 40) == GROWTH * 2
    only_run = Peaks()
    only_run.note_run("key", 4)
    assert only_run.max_cost("key", 1 << 40) == 0


def test_an_estimate_rises_at_once_and_falls_slowly():
    known = peaks(("key", 4, 100), ("key", 4, 400))
    assert known.expected_bytes("key", 4) == MARGIN * 400
    known.learn("key", 4, 0)
    assert MARGIN * 300 < known.expected_bytes("key", 4) < MARGIN * 400
    for _ in range(60):
        known.learn("key", 4, 0)
    assert known.expected_bytes("key", 4) < 10


def test_what_takes_nothing_that_can_be_measured_is_bound_by_growth_alone():
    known = peaks(("key", 1, 0))
    assert known.expected_bytes("key", 4) == 0
    assert known.max_cost("key", 0) == GROWTH


def test_items_that_cost_nothing_are_no_trouble():
    known = peaks((None, 0, 50))
    assert known.expected_bytes(None, 0) == known.expected_bytes(None, 9) == pytest.approx(MARGIN * 50, abs=1)


def test_only_so_many_keys_are_kept():
    known = peaks(*((key, 1, 100 - (key > 0)) for key in range(MAX_KEYS + 1)))
    assert known.expected_bytes("new", 1) == pytest.approx(MARGIN * 99, abs=1)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_was_measured_the_largest_cost_that_fits_is_expected_to_fit(seed):
    lots = random.Random(seed)
    known = peaks(*(("key", lots.uniform(0.1, 100), lots.randrange(1, 10_000)) for _ in range(lots.randrange(1, 9))))
    costs = sorted(lots.uniform(0, 400) for _ in range(50))
    expected = [known.expected_bytes("key", cost) for cost in costs]
    assert expected == sorted(expected), "a larger batch is never expected to take less"
    for room_bytes in (lots.randrange(1, 20_000) for _ in range(50)):
        most = known.max_cost("key", room_bytes)
        if most:
            assert known.expected_bytes("key", most) <= room_bytes + 1
