"""The life of a job: every change of state, each one atomic operation.

    PENDING ──claim──▶ RUNNING ──finish──▶ SUCCEEDED | FAILED
       ▲ │               │ │
       │ └─cancel────────┼─┼──────────────▶ CANCELLED
       └──release, sweep─┘ └─cancel─▶ CANCELLING ──finish, release, sweep──▶ CANCELLED

The transitions stand in the Lua scripts beside this module and nowhere else. An attempt's number is its fencing token:
a worker that lost its lease can still speak, but nobody listens.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from triptych.core.errors import (
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
from triptych.core.store import PREFIX, Op, Script
from triptych.v1.job_pb2 import JobEvent, JobResult, JobState

REQUEST_TTL_S = 24 * 3600
# Events of one job that are kept; a watch that is further behind gets CURSOR_EXPIRED.
KEPT_EVENTS = 10_000

_create, _claim, _renew, _emit, _save_part, _finish, _cancel, _release, _sweep, _delete = (
    Script(name)
    for name in (
        "create", "claim", "renew", "emit", "save_part", "finish", "cancel", "release", "sweep", "delete",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a job starts with. Times are durations in ms."""

    id: str
    tenant: str
    kind: str
    lane: int
    spec: bytes
    queue_timeout_ms: int
    execution_timeout_ms: int
    ttl_ms: int
    parent: str = ""
    trace_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    request_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes to the broker: a job waits in this lane."""

    kind: str
    lane: int
    job_id: str


def create(job: NewJob, *, max_pending: int) -> Op[tuple[Literal["created", "joined"], str]]:
    """Records a job. Gives its id: the given one, or that of the job which the request_id already started.

    Raises:
        RequestIdReused: request_id belongs to another request.
        QueueFull: The lane has max_pending jobs.
        JobCancelled: The parent does not run any more.
    """

    def parse(answer: list[Any]) -> tuple[Literal["created", "joined"], str]:
        outcome = answer[0].decode()
        if outcome == "reused":
            raise RequestIdReused(f"request_id {job.request_id} was used for another request")
        if outcome == "orphan":
            raise JobCancelled(f"jobs/{job.parent}, which wanted this job, does not run any more")
        if outcome == "full":
            raise QueueFull(f"{answer[1]} {job.kind} jobs wait already; try again later", retry_after_s=2)
        return outcome, answer[1].decode()

    fields: dict[str, bytes | str | int] = {
        "spec": job.spec,
        "execution_timeout_ms": job.execution_timeout_ms,
        "ttl_ms": job.ttl_ms,
        "labels": json.dumps(dict(job.labels)),
        "trace_id": job.trace_id,
    }
    return _create(
        parse, job.id, job.tenant, job.kind, job.lane, job.request_id, job.request_digest, REQUEST_TTL_S,
        max_pending, job.parent, job.queue_timeout_ms, *itertools.chain.from_iterable(fields.items()),
    )  # fmt: skip


def claim(job_id: str, worker: str, lease_s: float) -> Op[JobRecord | None]:
    """Takes a pending job; None if it is gone, late, another worker's, or its parent ended: there is nothing to do."""

    def parse(answer: list[Any]) -> JobRecord | None:
        if answer[0] != b"claimed":
            return None
        found = {key.decode(): value for key, value in zip(answer[1::2], answer[2::2], strict=True)}
        return JobRecord.from_hash(job_id, found)

    return _claim(parse, job_id, int(lease_s * 1000), worker, _cancelled_error())


def renew(job_id: str, attempt: int, lease_s: float) -> Op[Literal["ok", "cancel", "lost"]]:
    """Keeps the lease; says whether the job is to be cancelled or was lost to another attempt."""
    return _renew(lambda answer: answer.decode(), job_id, attempt, int(lease_s * 1000))


def emit(job_id: str, attempt: int, event: JobEvent) -> Op[bool]:
    """Appends an event. False: the attempt lost its lease, or the job is being cancelled."""
    progress = event.progress.SerializeToString() if event.HasField("progress") else b""
    return _emit(bool, job_id, attempt, event.SerializeToString(), progress, KEPT_EVENTS)


def save_part(job_id: str, attempt: int, key: str, value: bytes) -> Op[bool]:
    """Keeps a finished part for the next attempt. False: fenced off."""
    return _save_part(bool, job_id, attempt, key, value)


def succeed(job_id: str, attempt: int, result: JobResult | str) -> Op[bool]:
    """Ends a job with its result, or the name of the blob that holds it. False: the lease was lost."""
    blob = isinstance(result, str)
    value = result if isinstance(result, str) else result.SerializeToString()
    return _finish(bool, job_id, attempt, JobState.JOB_STATE_SUCCEEDED, "result_blob" if blob else "result", value)


def fail(job_id: str, attempt: int, error: TriptychError) -> Op[bool]:
    """Ends a job with an error, CANCELLED if that is what it says. False: the lease was lost."""
    cancelled = isinstance(error, JobCancelled)
    state = JobState.JOB_STATE_CANCELLED if cancelled else JobState.JOB_STATE_FAILED
    return _finish(bool, job_id, attempt, state, "error", error.to_status().SerializeToString())


def cancel(job_id: str, tenant: str) -> Op[list[str]]:
    """Asks for cancellation of one job; gives its children, which the caller cancels too.

    Raises:
        JobNotFound: No such job of this tenant.
    """

    def parse(answer: list[Any]) -> list[str]:
        if not answer:
            raise job_not_found(job_id)
        return [child.decode() for child in answer[1:]]

    return _cancel(parse, job_id, tenant, _cancelled_error())


def release(job_id: str, attempt: int) -> Op[Message | None]:
    """Hands a running job back to its lane; gives the message to publish, if any."""

    def parse(answer: list[Any]) -> Message | None:
        messages = _messages(answer)
        return messages[0] if messages else None

    return _release(parse, job_id, attempt, _cancelled_error())


def sweep(queued: Mapping[str, int], *, max_lost: int, stale_s: float, limit: int = 100) -> Op[list[Message]]:
    """Ends or requeues what fell through; gives the messages to publish.

    Args:
        queued: Kind -> messages in the broker's queue. Where it is 0, old waiting jobs may have lost theirs.
        max_lost: Workers that may die on a job.
        stale_s: Silence after which a message counts as lost.
        limit: Jobs looked at per list.
    """
    lost = WorkerLost(f"{max_lost} workers died on this job; it is set aside").to_status()
    late = QueueTimeout("the job was not started within its queue_timeout").to_status()
    counts: list[str | int] = [part for item in queued.items() for part in item]
    return _sweep(
        _messages, max_lost, limit, lost.SerializeToString(), late.SerializeToString(), _cancelled_error(),
        int(stale_s * 1000), *counts,
    )  # fmt: skip


def forget_request(tenant: str, request_id: str) -> Op[None]:
    """Lets a request_id start another job: that of before was given up."""
    return Op(("DEL", f"{PREFIX}request:{tenant}:{request_id}"), lambda _count: None)


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
    status: bytes = JobCancelled("the job was cancelled").to_status().SerializeToString()
    return status


def _messages(answer: list[Any]) -> list[Message]:
    return [
        Message(kind=answer[i].decode(), lane=int(answer[i + 1]), job_id=answer[i + 2].decode())
        for i in range(0, len(answer), 3)
    ]
