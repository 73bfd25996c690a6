"""What a worker looks after: unused models, ceilings, and its own size."""

import threading
from types import SimpleNamespace

import pytest

from triptych.core.errors import PreconditionFailed
from triptych.workers.ceiling_book import CeilingBook
from triptych.workers.upkeep import Upkeep

PATIENCE_S = 60


class Stations:
    """Says how large the worker is, and takes note of what is asked of it."""

    def __init__(self):
        self.size_bytes = 100
        self.freed = []
        self.looked = threading.Semaphore(0)
        self.ceilings = SimpleNamespace(flush=self.looked.release)

    def resident_bytes(self):
        return self.size_bytes

    def free_unused(self, ttl_s):
        self.freed.append(ttl_s)
        raise RuntimeError("a bug")


@pytest.fixture
def stations():
    return Stations()


@pytest.fixture
def keep(stations):
    """Gives a function that starts it."""
    running = []

    def keep(**options):
        recycled = threading.Semaphore(0)
        defaults = {"model_ttl_s": 0, "max_rss_bytes": 0, "recycle": recycled.release, "every_s": 0.001}
        upkeep = Upkeep(stations, **(defaults | options))
        upkeep.start()
        running.append(upkeep)
        return upkeep, recycled

    yield keep
    for upkeep in running:
        upkeep.stop()


def looks(stations, count):
    for _ in range(count):
        assert stations.looked.acquire(timeout=PATIENCE_S)


def test_a_worker_that_grows_beyond_its_bound_recycles_once(stations, keep):
    upkeep, recycled = keep(max_rss_bytes=1000)
    looks(stations, 3)
    assert not upkeep.recycling
    stations.size_bytes = 1001
    assert recycled.acquire(timeout=PATIENCE_S)
    looks(stations, 5)
    assert upkeep.recycling
    assert not recycled.acquire(blocking=False)


def test_without_a_bound_it_never_does(stations, keep):
    stations.size_bytes = 1 << 60
    upkeep, _ = keep()
    looks(stations, 3)
    assert not upkeep.recycling


def test_a_bound_below_what_the_worker_takes_at_rest_stops_its_start(stations, keep):
    with pytest.raises(PreconditionFailed, match="TRIPTYCH_WORKER_MAX_RSS_BYTES is 99, but the worker takes 100"):
        keep(max_rss_bytes=99)


def test_unused_models_are_looked_for_and_a_bug_there_stops_nothing(stations, keep):
    keep(model_ttl_s=7)
    looks(stations, 5)
    assert set(stations.freed) == {7}


def test_the_last_look_keeps_what_was_learned(stations, keep):
    upkeep, _ = keep(every_s=3600)
    upkeep.stop()
    looks(stations, 1)


def test_a_book_without_a_store_keeps_nothing_and_harms_nobody():
    book = CeilingBook()
    assert book.read("model", "where") == {}
    book.note("model", "where", "key", None)
    book.flush()
