"""Looks at jobs without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triptych.core.errors import JobNotFound
from triptych.core.records import BASIC_FIELDS, TERMINAL, JobRecord
from triptych.core.store import PREFIX, Op, Script
from triptych.v1.job_pb2 import JobProgress

ANY_TENANT = "*"

_get, _list = Script("get"), Script("list")


def get(job_id: str, tenant: str) -> Op[JobRecord]:
    """Gives one job.

    Raises:
        JobNotFound: No such job of this tenant.
    """

    def parse(found: list[bytes]) -> JobRecord:
        fields = {key.decode(): value for key, value in _pairs(found)}
        if not fields or tenant not in (ANY_TENANT, fields["tenant"].decode()):
            raise job_not_found(job_id)
        return JobRecord.from_hash(job_id, fields)

    return _get(parse, job_id)


def is_terminal(job_id: str, tenant: str) -> Op[bool]:
    """Says whether a job has ended; cheaper than `get`.

    Raises:
        JobNotFound: No such job of this tenant.
    """

    def parse(found: list[bytes | None]) -> bool:
        state, owner = found
        if state is None or owner is None or tenant not in (ANY_TENANT, owner.decode()):
            raise job_not_found(job_id)
        return int(state) in TERMINAL

    return Op(("HMGET", f"{PREFIX}job:{job_id}", "state", "tenant"), parse)


def progress(job_id: str) -> Op[JobProgress | None]:
    """Gives what a job last told of its progress; None if nothing yet."""
    return Op(
        ("HGET", f"{PREFIX}job:{job_id}", "progress"), lambda found: JobProgress.FromString(found) if found else None
    )


def is_known(tenant: str, request_id: str) -> Op[bool]:
    """Says whether a request_id has started a job already."""
    return Op(("EXISTS", f"{PREFIX}request:{tenant}:{request_id}"), bool)


def parts(job_id: str) -> Op[dict[str, bytes]]:
    """Gives the finished units."""
    return Op(("HGETALL", f"{PREFIX}parts:{job_id}"), lambda found: {k.decode(): v for k, v in found.items()})


def blame(job_id: str) -> Op[dict[str, int]]:
    """Gives how many workers died with each unit in hand."""
    return Op(("HGETALL", f"{PREFIX}blame:{job_id}"), lambda found: {k.decode(): int(v) for k, v in found.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs of a tenant, newest first, and how many index entries were looked at for them."""

    records: Sequence[JobRecord]
    looked_at: int


def list_page(
    tenant: str,
    *,
    offset: int,
    limit: int,
    index: Literal["jobs", "dead"] = "jobs",
    min_ms: int = 0,
    max_ms: float = float("inf"),
) -> Op[JobPage]:
    """Gives jobs of a tenant, newest first, without spec and result.

    Args:
        tenant: Whose jobs.
        offset: Entries of the index to leave out.
        limit: Entries to look at.
        index: All jobs by the time they were created, or the dead letters by the time they ended.
        min_ms: That time or later.
        max_ms: Before that time.
    """

    def parse(answer: list[Any]) -> JobPage:
        records = [
            JobRecord.from_hash(
                job_id.decode(), {key: value for key, value in zip(BASIC_FIELDS, values, strict=True) if value}
            )
            for job_id, values in _pairs(answer[1:])
        ]
        return JobPage(records=records, looked_at=int(answer[0]))

    newest = "+inf" if max_ms == float("inf") else max_ms
    return _list(parse, index, tenant, newest, min_ms, offset, limit, *BASIC_FIELDS)


def job_not_found(job_id: str) -> JobNotFound:
    """The error for a job that is not there, expired, or somebody else's."""
    return JobNotFound(f"there is no job jobs/{job_id}, or it expired")


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
