"""The bench that says zero can also count: what was done twice stands in Redis' append-only file."""

from pathlib import Path

import pytest
import redis
from chaos_run.ledger import Ledger

from triptych.core import jobs
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import Store
from triptych.core.testing import ThrowawayRedis
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrResult

RESULT = JobResult(ocr=OcrResult())


@pytest.fixture
def server():
    server = ThrowawayRedis().start()
    yield server
    server.close()


@pytest.fixture
def store(server):
    store = Store(server.url)
    yield store
    store.close()


def folder(server):
    with redis.Redis.from_url(server.url) as admin:
        return Path(admin.config_get("dir")["dir"]) / "appendonlydir"


def create(store):
    new = NewJob(
        id=new_job_id(), tenant="acme", kind="ocr", lane=0, spec=b"", ttl_ms=600_000, request_id="", request_digest="",
        parent="", queue_timeout_ms=60_000, call_timeout_ms=0, execution_timeout_ms=60_000,
    )  # fmt: skip
    return store.run(jobs.create(new, max_pending=10))[1]


def claim(store):
    return store.run(jobs.claim("ocr", "w", 60, lowest_lane=2, held_back=())).attempt


def test_a_job_that_went_on_in_a_second_attempt_is_in_order(server, store):
    job = create(store)
    first = claim(store)
    store.run(jobs.save_part(job, first, "page:1", b"one"))
    # Where an answer was lost on the way, a worker repeats itself.
    store.run(jobs.save_part(job, first, "page:1", b"one"))
    store.run(jobs.release(job, first))
    second = claim(store)
    store.run(jobs.save_part(job, second, "page:2", b"two"))
    assert store.run(jobs.succeed(job, second, RESULT))
    assert not store.run(jobs.succeed(job, second, RESULT))
    ledger = Ledger.read(folder(server))
    assert (ledger.created[job], ledger.ends[job]) == (1, 1)
    assert ledger.units == {(job, "page:1"): {1}, (job, "page:2"): {2}}


def test_a_finished_page_that_is_done_again_and_a_second_end_are_seen(server, store):
    job = create(store)
    first = claim(store)
    store.run(jobs.save_part(job, first, "page:1", b"one"))
    store.run(jobs.release(job, first))
    second = claim(store)
    store.run(jobs.save_part(job, second, "page:1", b"one"))
    assert store.run(jobs.succeed(job, second, RESULT))
    store.redis.hset(f"triptych:job:{job}", "state", 5)
    ledger = Ledger.read(folder(server))
    assert ledger.units[job, "page:1"] == {1, 2}
    assert ledger.ends[job] == 2


def test_what_a_kill_cut_off_is_no_command(server, store):
    first, last = create(store), create(store)
    (file,) = (path for path in folder(server).glob("*.incr.aof"))
    whole = file.read_bytes()
    cut = whole.rindex(b"HSET\r\n", 0, whole.rindex(b"tenant")) + len(b"HSET\r\n$1")
    file.write_bytes(whole[:cut])
    ledger = Ledger.read(file.parent)
    assert (ledger.created[first], ledger.created[last]) == (1, 0)
