"""The life of a job: every change of state, each one atomic operation.

    PENDING ──claim──▶ RUNNING ──finish──▶ SUCCEEDED | FAILED
       ▲ │               │ │
       │ ├─cancel────────┼─┼──────────────▶ CANCELLED
       │ └─claim, sweep──┼─┼──────────────▶ FAILED (over a deadline)
       └──release, sweep─┘ └─cancel─▶ CANCELLING ──finish, release, sweep──▶ CANCELLED
                                           └─finish──▶ SUCCEEDED | FAILED (it was done before it heard)

The transitions stand in the Lua scripts beside this module and nowhere else. An attempt's number is its fencing token:
a worker that lost its lease can still speak, but nobody listens.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from triptych.core.errors import (
    CallTimeout,
    JobCancelled,
    JobNotTerminal,
    QueueFull,
    QueueTimeout,
    RequestIdReused,
    TriptychError,
    WorkerLost,
)
from triptych.core.lookup import job_not_found
from triptych.core.records import JobRecord
from triptych.core.store import Op, Script
from triptych.v1.job_pb2 import CachePolicy, JobEvent, JobResult, JobState

REQUEST_TTL_S = 24 * 3600
# Events of one job that are kept; a watch that is further behind gets CURSOR_EXPIRED.
KEPT_EVENTS = 10_000

# Deaths in a row that no unit explains and between which the job did not get on: then it is set aside.
MAX_UNEXPLAINED_LOSSES = 10
LOWEST_LANE = 2

_create, _claim, _renew, _emit, _begin, _settle, _save_part, _finish, _cancel, _release, _sweep, _delete = (
    Script(name)
    for name in (
        "create", "claim", "renew", "emit", "begin", "settle", "save_part", "finish", "cancel", "release", "sweep",
        "delete",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a job starts with. Times are durations in ms.

    Attributes:
        options: JobOptions as the caller gave them, for a retry.
        call_timeout_ms: Until the deadline of the call that waits for it; 0: nobody waits.
        weight: Its tenant's share of each lane, relative to others'.
        documents: Digests of what it and its parent read, 64 hex digits each.
    """

    id: str
    tenant: str
    kind: str
    lane: int
    spec: bytes
    queue_timeout_ms: int
    execution_timeout_ms: int
    ttl_ms: int
    options: bytes = b""
    call_timeout_ms: int = 0
    weight: float = 1.0
    parent: str = ""
    trace_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    webhook: str = ""
    request_id: str = ""
    request_digest: str = ""
    cache_policy: CachePolicy.ValueType = CachePolicy.CACHE_POLICY_UNSPECIFIED
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What a worker hears when it renews a lease.

    Attributes:
        cancelled_ms: Since when the job is to be cancelled.
        call_left_ms: Until the deadline of whoever waits for the job; None: nobody does.
    """

    standing: Literal["ok", "cancel", "lost"]
    cancelled_ms: int = 0
    call_left_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep found.

    Attributes:
        waiting: Kind -> jobs that wait for a worker.
        back: (kind, job id) of jobs whose worker died, waiting again.
    """

    waiting: Mapping[str, int]
    back: Sequence[tuple[str, str]]


def create(job: NewJob, *, max_pending: int) -> Op[tuple[Literal["created", "joined"], str]]:
    """Records a job. Gives its id: the given one, or that of the job which the request_id already started.

    Raises:
        RequestIdReused: request_id belongs to another request.
        QueueFull: The lane has max_pending jobs, and the tenant its share of them.
        JobCancelled: The parent does not run any more.
    """

    def parse(answer: list[Any]) -> tuple[Literal["created", "joined"], str]:
        outcome = answer[0].decode()
        if outcome == "reused":
            raise RequestIdReused(f"request_id {job.request_id} was used for another request")
        if outcome == "orphan":
            raise JobCancelled(f"jobs/{job.parent}, which wanted this job, does not run any more")
        if outcome == "full":
            message = f"{answer[1]} {job.kind} jobs wait already, and your share of the places is taken"
            raise QueueFull(f"{message}; try again later", retry_after_s=answer[2] / 1000)
        return outcome, answer[1].decode()

    fields: dict[str, bytes | str | int] = {
        "spec": job.spec,
        "options": job.options,
        "execution_timeout_ms": job.execution_timeout_ms,
        "ttl_ms": job.ttl_ms,
        "labels": json.dumps(dict(job.labels)),
        "trace_id": job.trace_id,
        "webhook": job.webhook,
        "request_id": job.request_id,
        "cache_policy": job.cache_policy,
        "documents": " ".join(job.documents),
    }
    return _create(
        parse, job.id, job.tenant, job.kind, job.lane, job.request_id, job.request_digest, REQUEST_TTL_S,
        max_pending, job.parent, job.queue_timeout_ms, job.call_timeout_ms, job.weight,
        *itertools.chain.from_iterable(fields.items()),
    )  # fmt: skip


def claim(
    kind: str, worker: str, lease_s: float, *, lowest_lane: int = LOWEST_LANE, held_back: Collection[str] = ()
) -> Op[JobRecord | Literal["none", "held"]]:
    """Takes the next job of a kind: by lane, then by its tenant's turn, then by when it is due.

    Run again because the answer was lost, it gives the job that it took then, as long as the lease lasts.

    Args:
        kind: Of the worker.
        worker: Its name.
        lease_s: How long the job is its own without a renewal.
        lowest_lane: Jobs of later lanes are left where they are.
        held_back: Tenants whose jobs are left where they are.

    Returns:
        "none" if nothing waits, "held" if what waits is not for this worker now.
    """

    def parse(answer: list[Any]) -> JobRecord | Literal["none", "held"]:
        if answer[0] != b"claimed":
            return "held" if answer[0] == b"held" else "none"
        found = {key.decode(): value for key, value in zip(answer[2::2], answer[3::2], strict=True)}
        return JobRecord.from_hash(answer[1].decode(), found)

    return _claim(
        parse, kind, worker, int(lease_s * 1000), lowest_lane, _late_error(), _call_error(), _cancelled_error(),
        secrets.token_hex(8), *held_back,
    )  # fmt: skip


def renew(job_id: str, attempt: int, lease_s: float) -> Op[Renewal]:
    """Keeps the lease; says whether the job is to be cancelled or was lost to another attempt."""

    def parse(answer: list[Any]) -> Renewal:
        match answer:
            case [b"ok", left]:
                return Renewal(standing="ok", call_left_ms=None if left == b"" else int(left))
            case [b"cancel", since]:
                return Renewal(standing="cancel", cancelled_ms=int(since))
            case _:
                return Renewal(standing="lost")

    return _renew(parse, job_id, attempt, int(lease_s * 1000))


def emit(job_id: str, attempt: int, event: JobEvent) -> Op[bool]:
    """Appends an event; sent again, it is the same one. False: the lease was lost, or the job is being cancelled."""
    progress = event.progress.SerializeToString() if event.HasField("progress") else b""
    return _emit(bool, job_id, attempt, event.SerializeToString(), progress, KEPT_EVENTS, secrets.token_hex(8))


def begin(job_id: str, attempt: int, units: Collection[str]) -> Op[bool]:
    """Says that units are in hand: should the worker die, they are to blame. False: fenced off."""
    return _begin(bool, job_id, attempt, *units)


def settle(job_id: str, attempt: int, unit: str, *, set_aside: bool = False) -> Op[bool]:
    """Says that a unit is no longer in hand, or is not tried any more. False: fenced off."""
    return _settle(bool, job_id, attempt, unit, int(set_aside))


def save_part(job_id: str, attempt: int, unit: str, value: bytes) -> Op[bool]:
    """Keeps a finished unit for the next attempt; it is no longer in hand. False: fenced off."""
    return _save_part(bool, job_id, attempt, unit, value)


def succeed(job_id: str, attempt: int, result: JobResult | str, *, cached: bool = False) -> Op[bool]:
    """Ends a job with its result, or the name of the blob that holds it. False: the lease was lost.

    Args:
        job_id: Of the job.
        attempt: That holds the lease.
        result: Or the name of its blob.
        cached: Whether nothing of it had to be computed.
    """
    blob = isinstance(result, str)
    value = result if isinstance(result, str) else result.SerializeToString()
    field = "result_blob" if blob else "result"
    state = JobState.JOB_STATE_SUCCEEDED
    return _finish(bool, job_id, attempt, state, field, value, int(cached), _cancelled_error())


def fail(job_id: str, attempt: int, error: TriptychError) -> Op[bool]:
    """Ends a job with an error, CANCELLED if that is what it says. False: the lease was lost."""
    cancelled = isinstance(error, JobCancelled)
    state = JobState.JOB_STATE_CANCELLED if cancelled else JobState.JOB_STATE_FAILED
    return _finish(bool, job_id, attempt, state, "error", _raw(error), 0, _cancelled_error())


def cancel(job_id: str, tenant: str, *, abandoned: bool = False) -> Op[list[str]]:
    """Asks for cancellation of one job; gives its children, which the caller cancels too.

    Args:
        job_id: Of the job.
        tenant: Whose it is.
        abandoned: Whether its caller is gone instead: then the same request_id may start another job, and this one ends
            as CANCELLED even if it is done by now. One that has ended already stays what its request_id started.

    Raises:
        JobNotFound: No such job of this tenant.
    """

    def parse(answer: list[Any]) -> list[str]:
        if not answer:
            raise job_not_found(job_id)
        return [child.decode() for child in answer[1:]]

    return _cancel(parse, job_id, tenant, _cancelled_error(), int(abandoned))


def release(job_id: str, attempt: int) -> Op[bool]:
    """Hands a running job back to its lane. False: there was nothing to hand back."""
    return _release(bool, job_id, attempt, _cancelled_error())


def sweep(kinds: Sequence[str], sweeper: str, *, term_s: float, lease_s: float, limit: int = 100) -> Op[Sweep | None]:
    """Ends or requeues what fell through. None: another sweeper is elected.

    Args:
        kinds: Whose waiting jobs are counted.
        sweeper: Who sweeps.
        term_s: How long it stays elected without another sweep.
        lease_s: How long leases are left alone after nobody could renew them.
        limit: Jobs looked at per list.
    """
    lost = WorkerLost(f"workers died on this job {MAX_UNEXPLAINED_LOSSES} times without getting on; it is set aside")

    def parse(answer: list[Any]) -> Sweep | None:
        if not answer[0]:
            return None
        waiting, back = answer[1 : 1 + len(kinds)], [part.decode() for part in answer[1 + len(kinds) :]]
        return Sweep(waiting=dict(zip(kinds, waiting, strict=True)), back=list(zip(back[::2], back[1::2], strict=True)))

    return _sweep(
        parse, sweeper, int(term_s * 1000), int(lease_s * 1000), MAX_UNEXPLAINED_LOSSES, limit,
        _raw(lost), _late_error(), _call_error(), _cancelled_error(), *kinds,
    )  # fmt: skip


def delete(job_id: str, tenant: str) -> Op[None]:
    """Deletes a terminal job.

    Raises:
        JobNotFound: No such job of this tenant.
        JobNotTerminal: It still runs or waits.
    """

    def parse(answer: bytes) -> None:
        if answer == b"gone":
            raise job_not_found(job_id)
        if answer == b"running":
            raise JobNotTerminal(f"jobs/{job_id} is not terminal; cancel it first")

    return _delete(parse, job_id, tenant)


def _cancelled_error() -> bytes:
    return _raw(JobCancelled("the job was cancelled"))


def _late_error() -> bytes:
    return _raw(QueueTimeout("the job was not started within its queue_timeout"))


def _call_error() -> bytes:
    return _raw(CallTimeout("the job was not started before the deadline of the call that wanted it"))


def _raw(error: TriptychError) -> bytes:
    status: bytes = error.to_status().SerializeToString()
    return status
