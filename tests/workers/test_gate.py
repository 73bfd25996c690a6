"""Units side by side, and one alone."""

import threading

import pytest

from triptych.core.errors import JobCancelled
from triptych.workers.gate import Gate


def no_reason():
    """Nothing ends the wait."""


class Waiter:
    """Enters in a thread of its own, and says when it is inside."""

    def __init__(self, gate, *, alone, check=no_reason):
        self.gate, self.inside, self.error = gate, threading.Event(), None
        self.asked = threading.Event()
        self._check = check
        self.thread = threading.Thread(target=self._enter, args=(alone,))
        self.thread.start()

    def _enter(self, alone):
        def check():
            self.asked.set()
            self._check()

        try:
            self.gate.enter(alone=alone, check=check)
        except JobCancelled as error:
            self.error = error
        else:
            self.inside.set()

    def leave(self):
        assert self.inside.wait(5)
        self.gate.leave()
        self.thread.join()


def test_units_run_side_by_side():
    gate = Gate()
    for _ in range(3):
        gate.enter(alone=False, check=no_reason)
    for _ in range(3):
        gate.leave()


def test_one_that_is_alone_waits_for_the_others_and_keeps_new_ones_out():
    gate = Gate()
    gate.enter(alone=False, check=no_reason)
    alone = Waiter(gate, alone=True)
    assert alone.asked.wait(5)
    later = Waiter(gate, alone=False)
    assert later.asked.wait(5)
    assert not alone.inside.is_set()
    gate.leave()
    assert alone.inside.wait(5)
    assert not later.inside.is_set()
    alone.leave()
    later.leave()


def test_two_that_are_alone_run_one_after_the_other():
    gate = Gate()
    gate.enter(alone=True, check=no_reason)
    second = Waiter(gate, alone=True)
    assert second.asked.wait(5)
    assert not second.inside.is_set()
    gate.leave()
    second.leave()


def test_who_is_stopped_while_it_waits_lets_others_in():
    gate = Gate()
    gate.enter(alone=False, check=no_reason)

    def stopped():
        raise JobCancelled("enough")

    waiter = Waiter(gate, alone=True, check=stopped)
    waiter.thread.join(5)
    assert isinstance(waiter.error, JobCancelled)
    gate.enter(alone=False, check=no_reason)


@pytest.mark.parametrize("alone", [True, False])
def test_another_thread_may_leave(alone):
    gate = Gate()
    gate.enter(alone=alone, check=no_reason)
    leaver = threading.Thread(target=gate.leave)
    leaver.start()
    leaver.join()
    gate.enter(alone=True, check=no_reason)
