"""What a purge removes from a real Redis and a real blob store, what it leaves alone, and what its search finds."""

import threading

import pytest

from triptych.core import jobs, lookup, purging, spending, units
from triptych.core.blob_choice import open_blobs
from triptych.core.blobs import digest_of
from triptych.core.errors import JobNotFound, MediaCorrupt
from triptych.core.jobs import NewJob
from triptych.core.policy import TenantPolicy
from triptych.core.purging import Purge, Removed, purge_count
from triptych.core.records import new_job_id
from triptych.core.spending import Leaving
from triptych.core.store import PREFIX, Store
from triptych.core.units import Holder, Work
from triptych.v1.job_pb2 import JobEvent, JobResult, TextDelta
from triptych.v1.vision_pb2 import VisionResult

MARKER = "words that only this document has"
DOCUMENT = MARKER.encode()
WORK = Work(kind="ocr", key="a" * 64)


class Deployment:
    """Redis, blobs, and jobs whose worker the test plays."""

    def __init__(self, settings):
        self.settings = settings
        self.store, self.blobs = Store(settings.redis_url), open_blobs(settings)

    def document(self, data=DOCUMENT, tenant="t"):
        return self.blobs.put(tenant, data).name

    def job(self, *names, tenant="t", **facts):
        """A job that was claimed; gives its holder."""
        documents = tuple(digest_of(name) for name in names)
        job = NewJob(
            id=new_job_id(), tenant=tenant, kind="ocr", lane=1, spec=MARKER.encode(), queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000, documents=documents, **facts,
        )  # fmt: skip
        self.store.run(jobs.create(job, max_pending=9999))
        assert self.store.run(jobs.claim(job.kind, "w", 60)).id == job.id
        return Holder(tenant=tenant, job_id=job.id, attempt=1, documents=documents)

    def leave_traces(self, holder, work=WORK):
        """What a job leaves behind: an event, a part, a unit, a result."""
        self.store.run(jobs.emit(holder.job_id, 1, JobEvent(text_delta=TextDelta(text=MARKER))))
        self.store.run(jobs.save_part(holder.job_id, 1, "page:1", MARKER.encode()))
        unit = self.blobs.put(holder.tenant, f"{work.key} {MARKER}".encode()).name
        self.store.run(units.derive(holder, [work.key, unit], note_ttl_s=60))
        self.store.run(units.keep(work, holder, "page:1", unit, ttl_s=60))
        self.end(holder)
        return unit

    def end(self, holder):
        self.store.run(jobs.succeed(holder.job_id, 1, JobResult(vision=VisionResult(text=MARKER))))

    def is_there(self, holder):
        try:
            self.store.run(lookup.get(holder.job_id, holder.tenant))
        except JobNotFound:
            return False
        return True

    def one(self, tenant="t", document=""):
        return Purge(self.store, self.blobs, tenant=tenant, document=document)

    def purge(self, tenant="t", document=""):
        one = self.one(tenant, document)
        return one.remove(), one.traces()

    def found(self, text=MARKER):
        """Keys and files that hold the text: an own search, which trusts nothing of the suite."""
        keys = self.store.redis.keys("*")
        held = [key for key in keys if text.encode() in key + self.store.redis.dump(key) + self.value(key)]
        root = self.settings.blobs_path
        return held + [path for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]

    def value(self, key):
        read = {
            b"string": self.store.redis.get, b"hash": self.store.redis.hgetall, b"set": self.store.redis.smembers,
            b"zset": lambda key: self.store.redis.zrange(key, 0, -1), b"stream": self.store.redis.xrange,
            b"list": lambda key: self.store.redis.lrange(key, 0, -1),
        }  # fmt: skip
        return repr(read[self.store.redis.type(key)](key)).encode()


@pytest.fixture(params=["directory", "redis"])
def deployment(request, settings):
    deployment = Deployment(settings.model_copy(update={"blob_store": request.param}))
    yield deployment
    deployment.store.close()


def test_nothing_of_a_document_is_left(deployment):
    name = deployment.document()
    holder = deployment.job(name, request_id="again", request_digest="d")
    deployment.leave_traces(holder)
    assert len(deployment.found()) >= 4
    assert deployment.purge(document=name) == (Removed(job_count=1, unit_count=1, blob_count=2), 0)
    for text in (MARKER, holder.job_id, digest_of(name), WORK.key):
        assert deployment.found(text) == []


def test_the_ledger_of_what_left_outlives_the_document_and_counts_as_no_trace_of_it(deployment):
    name = deployment.document()
    holder = deployment.job(name)
    deployment.leave_traces(holder)
    call = Leaving(
        id="c" * 32, tenant="t", job_id=holder.job_id, data_class="public", model="far", host="far.example",
        documents=(digest_of(name),), body_digest="0" * 64, body_bytes=1, image_count=0, redaction_count=0, why="named",
    )  # fmt: skip
    deployment.store.run(spending.reserve(call, 5, TenantPolicy(budget=1), ttl_s=60, kept_s=3600))
    deployment.store.run(spending.settle(call.id, "ok", 5))
    assert deployment.purge(document=name)[1] == 0
    [entry] = deployment.store.run(spending.list_page("t", after="", limit=9))
    assert entry.leaving == call


def test_what_other_documents_and_tenants_have_stays(deployment):
    name = deployment.document()
    other, theirs = deployment.document(b"another document"), deployment.document(tenant="u")
    kept = [deployment.job(other), deployment.job(theirs, tenant="u")]
    blobs = [
        deployment.leave_traces(holder, Work(kind="ocr", key=key * 64)) for holder, key in zip(kept, "bc", strict=True)
    ]
    deployment.leave_traces(deployment.job(name))
    removed, left = deployment.purge(document=name)
    assert (removed.job_count, left) == (1, 0)
    assert [deployment.is_there(holder) for holder in kept] == [True, True]
    for holder, blob, document in zip(kept, blobs, (other, theirs), strict=True):
        assert deployment.blobs.read(holder.tenant, blob)
        assert deployment.blobs.read(holder.tenant, document)


def test_a_job_that_read_it_beside_others_goes_too(deployment):
    name, other = deployment.document(), deployment.document(b"another document")
    both = deployment.job(name, other)
    deployment.leave_traces(both)
    assert deployment.purge(document=name)[1] == 0
    assert not deployment.is_there(both)
    assert deployment.blobs.read("t", other)


def test_a_document_that_is_gone_already_can_be_purged(deployment):
    name = deployment.document()
    deployment.leave_traces(deployment.job(name))
    deployment.blobs.delete("t", name)
    removed, left = deployment.purge(document=name)
    assert (removed.job_count, removed.blob_count, left) == (1, 1, 0)
    assert deployment.purge(document=name) == (Removed(job_count=0, unit_count=0, blob_count=0), 0)


@pytest.mark.parametrize("outlived", [False, True])
def test_messages_about_its_jobs_go_too_even_if_they_outlived_them(deployment, outlived):
    name, other = deployment.document(), deployment.document(b"another document")
    url = {"webhook": "https://hooks.example.com/x"}
    told, kept, theirs = (
        deployment.job(name, **url),
        deployment.job(other, **url),
        deployment.job(name, tenant="u", **url),
    )
    for holder in (told, kept, theirs):
        deployment.end(holder)
    if outlived:
        for holder in (told, theirs):
            deployment.store.run(jobs.delete(holder.job_id, holder.tenant))
    assert deployment.purge(document=name)[1] == 0
    left = set(deployment.store.redis.keys(f"{PREFIX}delivery:*"))
    assert left == {f"{PREFIX}delivery:{holder.job_id}".encode() for holder in (kept, theirs)}
    assert deployment.found(told.job_id) == []
    assert deployment.purge()[1] == 0
    assert deployment.store.redis.keys(f"{PREFIX}delivery:*") == [f"{PREFIX}delivery:{theirs.job_id}".encode()]


def test_a_blob_whose_writer_died_before_it_was_known_is_found(deployment):
    name = deployment.document()
    holder = deployment.job(name)
    orphan = deployment.blobs.put("t", f"result of {MARKER}".encode()).name
    deployment.store.run(units.derive(holder, [orphan], note_ttl_s=60))
    deployment.store.run(jobs.fail(holder.job_id, 1, MediaCorrupt("no page")))
    assert deployment.purge(document=name)[1] == 0
    assert deployment.found() == []


def test_everything_of_a_tenant_goes_and_nothing_of_another(deployment):
    for tenant in ("t", "t2"):
        deployment.leave_traces(deployment.job(deployment.document(tenant=tenant), tenant=tenant, request_id="r"))
        deployment.job(tenant=tenant)
        deployment.end(deployment.job(tenant=tenant))
        deployment.blobs.append(tenant, "u1", 0, MARKER.encode())
    before = len(deployment.found())
    assert [len(one.running()) for one in map(deployment.one, ("t", "t2"))] == [1, 1]
    for job_id in deployment.one("t").running():
        deployment.store.run(jobs.fail(job_id, 1, MediaCorrupt("no page")))
    removed, left = deployment.purge()
    assert (removed.job_count, removed.unit_count, removed.blob_count, left) == (3, 1, 2, 0)
    assert not [key for key in deployment.store.redis.keys("*") if b":t:" in key or key.endswith(b":t")]
    assert deployment.store.redis.zrange(f"{PREFIX}rests:ocr:1", 0, -1) == [b"t2"]
    assert len(deployment.found()) == before / 2
    assert deployment.blobs.upload_size("t2", "u1")


def test_a_job_that_still_runs_stays_and_the_search_says_so(deployment):
    name = deployment.document()
    holder = deployment.job(name)
    removed, left = deployment.purge(document=name)
    assert removed.job_count == 0
    assert left > 0
    assert deployment.is_there(holder)
    deployment.end(holder)
    assert deployment.purge(document=name)[1] == 0


def test_the_search_finds_what_the_purge_did_not_know_of(deployment):
    name = deployment.document()
    holder = deployment.job(name)
    deployment.end(holder)
    one = deployment.one(document=name)
    one.remove()
    assert one.traces() == 0
    redis = deployment.store.redis
    redis.set(f"{PREFIX}stray", f"<{digest_of(name)}>")
    redis.hset(f"{PREFIX}box", "key", f"jobs/{holder.job_id}0")
    redis.xadd(f"{PREFIX}events:{holder.job_id}", {"event": b"\x0a24" + digest_of(name).encode() + b"2x"})
    redis.lpush(f"{PREFIX}list", holder.job_id)
    redis.sadd(f"{PREFIX}set", digest_of(name))
    redis.zadd(f"{PREFIX}zset:{digest_of(name)}", {"x": 1})
    assert one.traces() == 6
    deployment.document()
    assert one.traces() > 6


@pytest.mark.parametrize("key", ["waiting:ocr:1:t", "dead:t", "turns:ocr:1", "rests:ocr:1", "weights:ocr:1"])
def test_a_tenant_that_still_stands_in_a_lane_is_found(deployment, key):
    one = deployment.one()
    one.remove()
    assert one.traces() == 0
    redis = deployment.store.redis
    if key.startswith("weights"):
        redis.hset(f"{PREFIX}{key}", "t", 1)
    else:
        redis.zadd(f"{PREFIX}{key}", {"t" if key.endswith("1") else new_job_id(): 1})
    assert one.traces() == 1
    assert deployment.one("t2").traces() == 0


def test_jobs_are_found_however_many_there_are(deployment, monkeypatch):
    monkeypatch.setattr(purging, "PAGE", 3)
    name = deployment.document()
    late, *_ = [deployment.job() for _ in range(7)]
    holder = deployment.job(name)
    deployment.end(holder)
    deployment.end(late)
    assert deployment.purge(document=name)[0].job_count == 1
    assert not deployment.is_there(holder)
    assert deployment.is_there(late)


def test_workers_learn_of_a_purge_by_a_counter(deployment):
    assert deployment.store.run(purge_count()) == 0
    deployment.purge(document=deployment.document())
    assert deployment.store.run(purge_count()) == 1


def test_the_append_only_file_forgets_too(deployment, redis_server):
    name = deployment.document()
    deployment.leave_traces(deployment.job(name))
    assert DOCUMENT in redis_server.append_only_file()
    assert deployment.purge(document=name)[1] == 0
    while DOCUMENT in redis_server.append_only_file():
        threading.Event().wait(0.01)
