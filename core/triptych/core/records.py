"""A job as it lies in Redis, and the contract's Job made of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.rpc.status_pb2 import Status

from triptych.core.sources import inputs
from triptych.v1.job_pb2 import (
    CachePolicy,
    Job,
    JobKind,
    JobOptions,
    JobPriority,
    JobProgress,
    JobResult,
    JobSpec,
    JobState,
    JobView,
)

TERMINAL = frozenset({JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED})
KIND_NAMES: dict[JobKind.ValueType, str] = {
    JobKind.JOB_KIND_TRANSCRIPTION: "transcription",
    JobKind.JOB_KIND_OCR: "ocr",
    JobKind.JOB_KIND_VISION: "vision",
    JobKind.JOB_KIND_REASONING: "reasoning",
}
KINDS = {name: kind for kind, name in KIND_NAMES.items()}
# Lane 0 is served first.
LANES: tuple[JobPriority.ValueType, ...] = (
    JobPriority.JOB_PRIORITY_INTERACTIVE,
    JobPriority.JOB_PRIORITY_NORMAL,
    JobPriority.JOB_PRIORITY_BATCH,
)
LANE_NAMES = ("interactive", "normal", "batch")
# Everything that JOB_VIEW_BASIC shows.
BASIC_FIELDS = (
    "tenant", "kind", "lane", "state", "attempt", "parent", "labels", "trace_id", "progress", "error", "result_blob",
    "cached", "set_aside", "create_ms", "start_ms", "update_ms", "end_ms", "expire_ms",
)  # fmt: skip


def new_job_id() -> str:
    """Gives a UUIDv7: ids sort by time (RFC 9562; the standard library has it from Python 3.14 on)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is known about one job. Times are ms since the epoch, on Redis' clock.

    Attributes:
        options: JobOptions as the caller gave them, for a retry.
        webhook: URL that is told of its end; empty if none is.
        documents: Digests of what it and its parent read, 64 hex digits each.
    """

    id: str
    tenant: str
    kind: str
    lane: int
    state: JobState.ValueType
    attempt: int
    parent: str = ""
    trace_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    progress: bytes = b""
    spec: bytes = b""
    options: bytes = b""
    webhook: str = ""
    result: bytes = b""
    result_blob: str = ""
    error: bytes = b""
    cached: bool = False
    cache_policy: CachePolicy.ValueType = CachePolicy.CACHE_POLICY_UNSPECIFIED
    documents: tuple[str, ...] = ()
    execution_timeout_ms: int = 0
    call_left_ms: int | None = None
    """Until its caller's deadline, when it was claimed; None: there is none."""
    queue_position: int | None = None
    """Jobs ahead of it, roughly, while it waits."""
    weight: float = 1.0
    set_aside: str = ""
    """Units on which workers died too often, with blanks between."""
    create_ms: int = 0
    start_ms: int = 0
    update_ms: int = 0
    end_ms: int = 0
    expire_ms: int = 0

    @property
    def terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in TERMINAL

    @classmethod
    def from_hash(cls, job_id: str, found: Mapping[str, bytes]) -> JobRecord:
        """Reads the Redis hash; fields it lacks keep their defaults."""

        def number(name: str) -> int:
            return int(found.get(name) or 0)

        def text(name: str) -> str:
            return (found.get(name) or b"").decode()

        call_ms, position = number("call_deadline_ms"), found.get("queue_position")

        return cls(
            id=job_id,
            tenant=text("tenant"),
            kind=text("kind"),
            lane=number("lane"),
            state=JobState.ValueType(number("state")),
            attempt=number("attempt"),
            parent=text("parent"),
            trace_id=text("trace_id"),
            labels=json.loads(found.get("labels") or b"{}"),
            progress=found.get("progress") or b"",
            spec=found.get("spec") or b"",
            options=found.get("options") or b"",
            webhook=text("webhook"),
            result=found.get("result") or b"",
            result_blob=text("result_blob"),
            error=found.get("error") or b"",
            cached=bool(number("cached")),
            cache_policy=CachePolicy.ValueType(number("cache_policy")),
            documents=tuple(text("documents").split()),
            execution_timeout_ms=number("execution_timeout_ms"),
            call_left_ms=call_ms - number("now_ms") if call_ms else None,
            queue_position=int(position) if position is not None else None,
            weight=float(found.get("weight") or 1),
            set_aside=text("set_aside"),
            create_ms=number("create_ms"),
            start_ms=number("start_ms"),
            update_ms=number("update_ms"),
            end_ms=number("end_ms"),
            expire_ms=number("expire_ms"),
        )

    def job_spec(self) -> JobSpec:
        """Gives the specification."""
        return JobSpec.FromString(self.spec)

    def job_options(self) -> JobOptions:
        """Gives the options as the caller gave them."""
        return JobOptions.FromString(self.options)

    def to_job(self, view: JobView.ValueType = JobView.JOB_VIEW_FULL) -> Job:
        """Gives the contract's message; spec and result only in JOB_VIEW_FULL, passwords in none."""
        job = Job(
            name=f"jobs/{self.id}",
            kind=KINDS[self.kind],
            state=self.state,
            parent_job=f"jobs/{self.parent}" if self.parent else "",
            # A job that no worker has taken yet is in its first attempt.
            attempt=max(1, self.attempt),
            labels=self.labels,
            cached=self.cached,
            trace_id=self.trace_id,
            priority=LANES[self.lane],
            set_aside_units=self.set_aside.split(),
        )
        if self.progress:
            job.progress.CopyFrom(JobProgress.FromString(self.progress))
        if self.state == JobState.JOB_STATE_PENDING:
            job.progress.stage = "queued"
            if self.queue_position is not None:
                job.progress.queue_position = self.queue_position
        for name, ms in self._times():
            if ms:
                getattr(job, name).FromMilliseconds(ms)
        if self.error:
            job.error.CopyFrom(Status.FromString(self.error))
        elif self.result_blob:
            job.result_blob = self.result_blob
        if view == JobView.JOB_VIEW_FULL:
            job.spec.CopyFrom(self.job_spec())
            for _, source in inputs(job.spec):
                source.ClearField("password")
            if self.result:
                job.result.CopyFrom(JobResult.FromString(self.result))
        return job

    def _times(self) -> tuple[tuple[str, int], ...]:
        return (
            ("create_time", self.create_ms),
            ("start_time", self.start_ms),
            ("update_time", self.update_ms),
            ("end_time", self.end_ms),
            ("expire_time", self.expire_ms),
        )
