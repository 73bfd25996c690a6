"""How long an engine would let a new item wait."""

import pytest

from triptych.workers.outside.local_wait import LocalWait


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wait(clock):
    return LocalWait(clock)


def test_an_idle_engine_lets_nobody_wait(wait, clock):
    assert wait.estimate_s() == 0
    wait.begin()
    clock.now += 3
    wait.end()
    clock.now += 1000
    assert wait.estimate_s() == 0


def test_a_first_item_that_takes_long_makes_the_others_expect_the_same(wait, clock):
    for _ in range(4):
        wait.begin()
    assert wait.estimate_s() == 0
    clock.now += 2
    assert wait.estimate_s() == pytest.approx(4 * 2)


def test_the_wait_is_what_is_in_hand_at_the_rate_of_late(wait, clock):
    for _ in range(10):
        wait.begin()
    for _ in range(5):
        clock.now += 1
        wait.end()
    # Five are left, and one came each second.
    assert 3.5 < wait.estimate_s() < 5.5


def test_idle_time_is_no_slowness(wait, clock):
    for _ in range(20):
        wait.begin()
        clock.now += 0.1
        wait.end()
        clock.now += 100
    wait.begin()
    assert wait.estimate_s() < 0.2


def test_old_times_fade(wait, clock):
    for _ in range(10):
        wait.begin()
        clock.now += 30
        wait.end()
    for _ in range(2000):
        wait.begin()
        clock.now += 0.1
        wait.end()
    wait.begin()
    assert wait.estimate_s() < 1
