"""Whatever callers, workers and the sweeper do, in whatever order: the job store does what a simple model does."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from triptych.core import jobs, load, lookup
from triptych.core.errors import (
    JobCancelled,
    JobNotFound,
    JobNotTerminal,
    MediaCorrupt,
    RequestIdReused,
    from_status,
)
from triptych.core.events import EventHub
from triptych.core.history import violations
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.store import PREFIX, AsyncStore, Store
from triptych.v1.job_pb2 import JobEvent, JobProgress, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrResult

PENDING, RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED = (
    JobState.Value(f"JOB_STATE_{name}")
    for name in ("PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED")
)
HELD = (RUNNING, CANCELLING)
# Few places, so that jobs meet in them.
KIND, TENANTS, LANES = "ocr", ("acme", "bolt"), (0, 1)
RESULT = JobResult(ocr=OcrResult())
# A time limit that is over at once, or far away: nothing here depends on how fast the test runs.
OVER, NEVER = -1000, 0
PICK = st.integers(0, 1000)


@dataclass(kw_only=True)
class Modelled:
    """What the model knows of a job."""

    id: str
    tenant: str
    lane: int
    queue_timeout_ms: int
    call_timeout_ms: int
    parent: "Modelled | None"
    due_ms: int = 0
    state: int = PENDING
    attempt: int = 0
    lease_over: bool = False
    percent: int = 0
    parts: dict[str, bytes] = field(default_factory=dict)
    children: set[str] = field(default_factory=set)

    @property
    def terminal(self):
        return self.state in (SUCCEEDED, FAILED, CANCELLED)

    @property
    def late(self):
        return OVER in (self.queue_timeout_ms, self.call_timeout_ms)

    @property
    def doomed(self):
        """Whether a claim that comes across it ends it."""
        return self.late or (self.parent is not None and self.parent.state not in (PENDING, RUNNING))

    def end(self, state):
        self.state, self.parts = state, {}


class JobStore(RuleBasedStateMachine):
    """A real job store beside its model."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.store = Store(url)
        self.store.redis.flushall()
        self.jobs = {}
        self.deleted = set()
        self.requests = {}
        # Every (job, attempt) that a worker was ever given: it may speak up at any time.
        self.tokens = []

    def teardown(self):
        self.store.redis.flushall()
        self.store.close()

    @initialize()
    def first_sweep(self):
        self.sweep()

    def run(self, op):
        return self.store.run(op)

    def record(self, job):
        return self.run(lookup.get(job.id, job.tenant))

    def waiting(self):
        return [job for job in self.jobs.values() if job.state == PENDING]

    def held(self):
        return [job for job in self.jobs.values() if job.state in HELD]

    def token(self, pick):
        """Somebody who holds the job, or once did."""
        job, attempt = self.tokens[pick % len(self.tokens)]
        return job, attempt, job.attempt == attempt and job.id in self.jobs

    # Callers.

    @rule(
        tenant=st.sampled_from(TENANTS), lane=st.sampled_from(LANES),
        limits_ms=st.sampled_from([(60_000, NEVER), (120_000, NEVER), (120_000, 30_000)]),
    )  # fmt: skip
    def create_some(self, tenant, lane, limits_ms):
        for _ in range(3):
            self.create_one(tenant, lane, *limits_ms)

    @rule(
        tenant=st.sampled_from(TENANTS), lane=st.sampled_from(LANES),
        limits_ms=st.sampled_from([(60_000, NEVER), (60_000, 30_000), (60_000, OVER), (OVER, NEVER)]),
        request_id=st.sampled_from(["", "r1", "r2"]), digest=st.sampled_from("aab"),
    )  # fmt: skip
    def create(self, tenant, lane, limits_ms, request_id, digest):
        self.create_one(tenant, lane, *limits_ms, request_id=request_id, digest=digest)

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, lane=st.sampled_from(LANES))
    def create_child(self, pick, lane):
        parent, _, _ = self.token(pick)
        self.create_one(parent.tenant, lane, 60_000, NEVER, parent=parent)

    def create_one(self, tenant, lane, queue_timeout_ms, call_timeout_ms, *, request_id="", digest="", parent=None):
        new = NewJob(
            id=new_job_id(), tenant=tenant, kind=KIND, lane=lane, spec=b"", ttl_ms=600_000, request_id=request_id,
            request_digest=digest, parent=parent.id if parent else "", queue_timeout_ms=queue_timeout_ms,
            call_timeout_ms=call_timeout_ms, execution_timeout_ms=60_000,
        )  # fmt: skip
        known_id, known_digest = self.requests.get((tenant, request_id), ("", ""))
        try:
            outcome, job_id = self.run(jobs.create(new, max_pending=1000))
        except RequestIdReused:
            assert known_id in self.jobs
            assert known_digest != digest
            return
        except JobCancelled:
            assert parent.state != RUNNING or parent.id in self.deleted
            return
        if request_id and known_id in self.jobs:
            assert (outcome, job_id, known_digest) == ("joined", known_id, digest)
            self.patience(self.jobs[job_id], call_timeout_ms)
            return
        assert (outcome, job_id) == ("created", new.id)
        job = Modelled(
            id=job_id, tenant=tenant, lane=lane, parent=parent, queue_timeout_ms=queue_timeout_ms,
            call_timeout_ms=call_timeout_ms,
        )  # fmt: skip
        job.due_ms = self.record(job).create_ms + min(queue_timeout_ms, call_timeout_ms or queue_timeout_ms)
        self.jobs[job_id] = job
        if parent:
            parent.children.add(job_id)
        if request_id:
            self.requests[tenant, request_id] = (job_id, digest)

    def patience(self, job, call_timeout_ms):
        """A job that somebody else joins has as long as the most patient of its callers."""
        order = [OVER, 30_000, NEVER]
        job.call_timeout_ms = max(job.call_timeout_ms, call_timeout_ms, key=order.index)

    @precondition(lambda self: self.held())
    @rule(pick=PICK)
    def cancel(self, pick):
        job = list(self.jobs.values())[pick % len(self.jobs)]
        assert set(self.run(jobs.cancel(job.id, job.tenant))) == job.children
        if job.state == PENDING:
            job.end(CANCELLED)
        elif job.state == RUNNING:
            job.state = CANCELLING

    @precondition(lambda self: self.held())
    @rule(pick=PICK)
    def delete(self, pick):
        job = list(self.jobs.values())[pick % len(self.jobs)]
        try:
            self.run(jobs.delete(job.id, job.tenant))
        except JobNotTerminal:
            assert not job.terminal
        else:
            assert job.terminal
            del self.jobs[job.id]
            self.deleted.add(job.id)

    # Workers.

    @precondition(lambda self: self.waiting())
    @rule(lives=st.booleans())
    def claim_some(self, lives):
        for _ in range(3):
            self.claim(lowest=2, away=(), lives=lives)

    @precondition(lambda self: self.waiting())
    @rule(lowest=st.sampled_from([0, 2]), away=st.sampled_from([(), ("acme",)]), lives=st.booleans())
    def claim(self, lowest, away, lives):
        waiting = self.waiting()
        fit = [job for job in waiting if not job.doomed and job.tenant not in away and job.lane <= lowest]
        found = self.run(jobs.claim(KIND, "w", 60 if lives else -1, lowest_lane=lowest, held_back=away))
        self.see_ends(job for job in waiting if job.doomed)
        if not fit:
            assert found in ("none", "held")
            assert found == "held" or not [job for job in waiting if job.state == PENDING]
            return
        job = self.jobs[found.id]
        assert job in fit
        # Nothing here is old enough to overtake a lane.
        assert job.lane == min(each.lane for each in fit)
        assert job.due_ms == min(each.due_ms for each in fit if (each.tenant, each.lane) == (job.tenant, job.lane))
        job.state, job.attempt, job.lease_over, job.percent = RUNNING, job.attempt + 1, not lives, 0
        assert found.attempt == job.attempt
        self.tokens.append((job, job.attempt))

    def see_ends(self, doomed):
        """Those that may have been come across."""
        for job in doomed:
            record = self.record(job)
            if record.state != PENDING:
                self.must_end(job, record)

    def must_end(self, job, record):
        assert job.doomed
        reason = from_status(record.to_job().error).reason
        if job.queue_timeout_ms == OVER:
            assert (record.state, reason) == (FAILED, "QUEUE_TIMEOUT")
        elif job.call_timeout_ms == OVER:
            assert (record.state, reason) == (FAILED, "CALL_TIMEOUT")
        else:
            assert (record.state, reason) == (CANCELLED, "JOB_CANCELLED")
        job.end(record.state)

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, lives=st.booleans())
    def renew(self, pick, lives):
        job, attempt, holds = self.token(pick)
        standing = self.run(jobs.renew(job.id, attempt, 60 if lives else -1)).standing
        if holds and job.state in HELD:
            assert standing == ("ok" if job.state == RUNNING else "cancel")
            job.lease_over = not lives
        else:
            assert standing == "lost"

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, step=st.integers(0, 40))
    def emit(self, pick, step):
        job, attempt, holds = self.token(pick)
        percent = min(100, job.percent + step)
        told = self.run(jobs.emit(job.id, attempt, JobEvent(progress=JobProgress(stage="ocr", percent=percent))))
        assert told == (holds and job.state == RUNNING)
        job.percent = percent if told else job.percent

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, unit=st.sampled_from(["page:1", "page:2"]), begins=st.booleans())
    def save_part(self, pick, unit, begins):
        job, attempt, holds = self.token(pick)
        standing = holds and job.state == RUNNING
        if begins:
            assert self.run(jobs.begin(job.id, attempt, [unit])) == standing
        value = f"{unit} by {attempt}".encode()
        assert self.run(jobs.save_part(job.id, attempt, unit, value)) == standing
        if standing:
            job.parts[unit] = value

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, how=st.sampled_from([SUCCEEDED, FAILED, CANCELLED]))
    def finish(self, pick, how):
        job, attempt, holds = self.token(pick)
        if how == SUCCEEDED:
            done = self.run(jobs.succeed(job.id, attempt, RESULT))
        else:
            error = MediaCorrupt("half a page") if how == FAILED else JobCancelled("its caller is gone")
            done = self.run(jobs.fail(job.id, attempt, error))
        assert done == (holds and job.state in HELD)
        if done:
            job.end(how)

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK)
    def release(self, pick):
        job, attempt, holds = self.token(pick)
        back = self.run(jobs.release(job.id, attempt))
        assert back == (holds and job.state == RUNNING)
        if back:
            job.state = PENDING
        elif holds and job.state == CANCELLING:
            job.end(CANCELLED)

    # The sweeper.

    @precondition(lambda self: [job for job in self.held() if job.lease_over])
    @rule()
    def sweep(self):
        found = self.run(jobs.sweep((KIND,), "s", term_s=60, lease_s=0))
        over = [job for job in self.held() if job.lease_over]
        assert {job_id for _kind, job_id in found.back} == {job.id for job in over if job.state == RUNNING}
        for job in over:
            if job.state == CANCELLING:
                job.end(CANCELLED)
            else:
                job.state = PENDING
        for job in self.jobs.values():
            if job.state == PENDING and job.late and job not in over:
                self.must_end(job, self.record(job))
        assert found.waiting == {KIND: len(self.waiting())}

    # What always holds.

    @invariant()
    def records_are_as_modelled(self):
        for job in self.jobs.values():
            record = self.record(job)
            assert (record.state, record.attempt) == (job.state, job.attempt), job
            assert self.run(lookup.parts(job.id)) == job.parts
        for job_id in self.deleted:
            try:
                self.run(lookup.get(job_id, lookup.ANY_TENANT))
            except JobNotFound:
                continue
            raise AssertionError(f"{job_id} was deleted")

    @invariant()
    def every_job_is_where_it_will_be_found(self):
        redis = self.store.redis
        leases = {member.decode() for member in redis.zrange(f"{PREFIX}leases", 0, -1)}
        assert leases == {job.id for job in self.jobs.values() if job.state in HELD}
        limited = {member.decode() for member in redis.zrange(f"{PREFIX}deadlines", 0, -1)}
        assert limited == {job.id for job in self.jobs.values() if job.state == PENDING}
        for tenant in TENANTS:
            listed = self.run(lookup.list_page(tenant, offset=0, limit=1000)).records
            assert {record.id for record in listed} == {job.id for job in self.jobs.values() if job.tenant == tenant}
        for lane in self.run(load.lanes((KIND,))):
            here = [job for job in self.jobs.values() if job.lane == lane.lane]
            waiting = [job for job in here if job.state == PENDING]
            assert (lane.pending, lane.running) == (len(waiting), sum(job.state in HELD for job in here))
            place = f"{lane.kind}:{lane.lane}"
            turns = {member.decode() for member in redis.zrange(f"{PREFIX}turns:{place}", 0, -1)}
            assert turns == {job.tenant for job in waiting}
            for tenant in TENANTS:
                queue = [member.decode() for member in redis.zrange(f"{PREFIX}waiting:{place}:{tenant}", 0, -1)]
                assert sorted(queue) == sorted(job.id for job in waiting if job.tenant == tenant)

    @precondition(lambda self: self.held())
    @rule()
    def all_come_to_an_end(self):
        """Everything can always be ended, and every history is in order."""
        for job in self.jobs.values():
            if job.state == PENDING:
                self.run(jobs.cancel(job.id, job.tenant))
                job.end(CANCELLED)
            elif job.state in HELD:
                assert self.run(jobs.succeed(job.id, job.attempt, RESULT))
                job.end(SUCCEEDED)
        assert asyncio.run(self.broken_histories()) == []

    async def broken_histories(self):
        store = AsyncStore(self.url)
        hub, found = EventHub(store, self.url), []
        for job in self.jobs.values():
            events = [event async for event in hub.watch(job.id, job.tenant)]
            found += violations(events, self.record(job).to_job())
        await store.close()
        return found


def test_the_store_does_what_the_model_does(redis_url):
    run_state_machine_as_test(
        lambda: JobStore(redis_url),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
