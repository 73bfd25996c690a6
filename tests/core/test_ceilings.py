"""Ceilings of batches, kept in Redis for the next worker."""

import contextlib

import pytest

from triptych.core import ceilings
from triptych.core.ceilings import Ceiling
from triptych.core.store import PREFIX, Store
from triptych.core.testing import ThrowawayRedis
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.ceiling_book import CeilingBook

CEILING = Ceiling(safe_cost=2.5, failed_cost=8, probe_after_s=600)
WHERE = ceilings.place(ModelRef(model="m", revision="r", engine="e/1"), "cuda", 24 << 30)


@pytest.fixture
def store(redis_url):
    store = Store(redis_url)
    yield store
    store.close()


def test_the_place_names_weights_engine_and_device():
    assert WHERE == "m@r e/1 cuda 24 GiB"


def test_what_one_worker_notes_the_next_one_reads(store):
    book = CeilingBook(store)
    book.note("m", WHERE, "('page', 5)", CEILING)
    book.note("m", WHERE, "None", CEILING.raised(2))
    assert CeilingBook(store).read("m", WHERE) == {}, "nothing is written before flush"
    book.flush()
    assert CeilingBook(store).read("m", WHERE) == {"('page', 5)": CEILING, "None": CEILING.raised(2)}
    assert CeilingBook(store).read("m", "another device") == {}
    book.note("m", WHERE, "None", None)
    book.flush()
    assert CeilingBook(store).read("m", WHERE) == {"('page', 5)": CEILING}
    assert 0 < store.redis.ttl(f"{PREFIX}ceilings:{WHERE}") <= ceilings.TTL_S


def test_what_cannot_be_written_is_written_when_redis_is_back():
    with contextlib.closing(ThrowawayRedis().start()) as server:
        store = Store(server.url)
        book = CeilingBook(store)
        server.kill()
        assert book.read("m", WHERE) == {}
        book.note("m", WHERE, "None", CEILING)
        book.note("m", WHERE, "True", CEILING)
        book.flush()
        book.note("m", WHERE, "True", CEILING.raised(2))
        server.start()
        book.flush()
        assert book.read("m", WHERE) == {"None": CEILING, "True": CEILING.raised(2)}
        store.close()
