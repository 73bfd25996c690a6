"""What is kept within a bound of bytes, until a document is purged."""

from dataclasses import dataclass

from triptych.workers.bounded_cache import BoundedCache


@dataclass
class Blob:
    size: int

    def nbytes(self):
        return self.size


def test_the_longest_unused_make_room_and_what_is_larger_than_all_is_not_kept():
    looks = []
    cache = BoundedCache(10, looks.append)
    for key, size in [("a", 4), ("b", 4), ("huge", 11)]:
        cache.keep(key, Blob(size), purges=0)
    assert cache.find("a").size == 4
    cache.keep("c", Blob(6), purges=0)
    assert [cache.find(key) is not None for key in ("a", "b", "c", "huge")] == [True, False, True, False]
    assert cache.nbytes() == 10
    assert looks == [True, True, False, True, False]


def test_what_came_before_a_purge_is_not_kept_after_it():
    cache = BoundedCache(10)
    before = cache.purges
    cache.keep("a", Blob(1), purges=before)
    cache.forget()
    cache.keep("b", Blob(1), purges=before)
    assert cache.find("a") is None
    assert cache.find("b") is None
    assert cache.nbytes() == 0
