"""What running batches teaches: ceilings of cost where memory ran out, and how they rise again."""

import math

import pytest

from triptych.core.ceilings import Ceiling
from triptych.workers.batch_history import MAX_PROBE_AFTER_S, PROBE_AFTER_S, BatchHistory

KEY = ("page", 5, 0.0)


@pytest.fixture
def told():
    return []


@pytest.fixture
def history(told):
    history = BatchHistory(on_ceiling=lambda key, ceiling: told.append((key, ceiling)))
    history.learn_safe_cost(KEY, 4, failed_cost=8, now=0)
    return history


def run(history, cost, now):
    """A batch runs well."""
    history.learn_runtime(KEY, cost, 1, now)
    return history.safe_cost(KEY)


def test_a_ceiling_is_what_fitted_and_is_told(history, told):
    assert history.safe_cost(KEY) == 4
    assert history.safe_cost("other") == math.inf
    assert told == [(repr(KEY), Ceiling(safe_cost=4, failed_cost=8, probe_after_s=PROBE_AFTER_S))]


def test_halves_that_fail_lower_the_ceiling_and_count_as_one_failure(history, told):
    history.learn_safe_cost(KEY, 2, failed_cost=4, now=1)
    history.learn_safe_cost(KEY, 4, failed_cost=8, now=1)
    assert told[-1][1] == Ceiling(safe_cost=2, failed_cost=4, probe_after_s=PROBE_AFTER_S)


def test_a_ceiling_rises_by_a_quarter_when_a_batch_near_it_runs_well_after_a_while(history):
    assert run(history, 4, now=PROBE_AFTER_S - 1) == 4, "too soon"
    assert run(history, 1, now=PROBE_AFTER_S) == 4, "a small batch proves nothing"
    assert run(history, 4, now=PROBE_AFTER_S) == 5
    assert run(history, 5, now=PROBE_AFTER_S + 1) == 5, "the next step takes as long"
    assert run(history, 5, now=2 * PROBE_AFTER_S) == 6.25


def test_a_try_that_fails_doubles_the_time_until_the_next(history, told):
    now = PROBE_AFTER_S
    for doubled in range(1, 12):
        before = history.safe_cost(KEY)
        assert run(history, before, now) > before
        history.learn_safe_cost(KEY, before / 2, failed_cost=before * 1.25, now=now)
        assert told[-1][1].probe_after_s == min(MAX_PROBE_AFTER_S, PROBE_AFTER_S * 2**doubled)
        assert run(history, before / 2, now + told[-1][1].probe_after_s - 1) == before / 2
        now += told[-1][1].probe_after_s


def test_a_ceiling_is_forgotten_when_what_failed_runs_well(history, told):
    assert run(history, 8, now=1) == math.inf
    assert told[-1] == (repr(KEY), None)


def test_what_an_earlier_process_learned_holds_and_rises_by_the_same_rule():
    remembered = {repr(KEY): Ceiling(safe_cost=2, failed_cost=4, probe_after_s=1200)}
    history = BatchHistory(remembered)
    assert history.safe_cost("other") == math.inf
    assert history.safe_cost(KEY) == 2
    assert run(history, 2, now=50_000) == 2, "the time begins anew"
    assert run(history, 2, now=50_000 + 1199) == 2
    assert run(history, 2, now=50_000 + 1200) == 2.5
