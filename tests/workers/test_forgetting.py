"""A worker hears of purges."""

import threading

from triptych.core.purging import Purge
from triptych.core.store import Store
from triptych.core.testing import MemoryBlobs
from triptych.workers.forgetting import Forgetting
from triptych.workers.leases import Leases


def test_what_is_in_memory_is_forgotten_once_per_purge(redis_url):
    store, forgot = Store(redis_url), []
    forgetting = Forgetting(store, lambda: forgot.append(True))
    forgetting.look()
    assert not forgot
    for _ in range(2):
        Purge(store, MemoryBlobs(), tenant="t").remove()
        forgetting.look()
        forgetting.look()
    assert len(forgot) == 2
    store.close()


def test_a_worker_hears_of_a_purge_while_it_keeps_its_leases(redis_url):
    store, forgot = Store(redis_url), threading.Event()
    leases = Leases(
        store, kind="ocr", worker="w", models=list, lease_s=10, on_hung=lambda _: None,
        forgetting=Forgetting(store, forgot.set),
    )  # fmt: skip
    leases.start()
    Purge(store, MemoryBlobs(), tenant="t").remove()
    assert forgot.wait(30)
    leases.stop()
    store.close()
