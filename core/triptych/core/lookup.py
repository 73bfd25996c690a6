"""Looks at jobs without changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import JobNotFound
from triptych.core.records import BASIC_FIELDS, TERMINAL, JobRecord
from triptych.core.store import PREFIX, Op, Script

ANY_TENANT = "*"

_list = Script("list")


def get(job_id: str, tenant: str) -> Op[JobRecord]:
    """Gives one job.

    Raises:
        JobNotFound: No such job of this tenant.
    """

    def parse(found: Mapping[bytes, bytes]) -> JobRecord:
        fields = {key.decode(): value for key, value in found.items()}
        if not fields or tenant not in (ANY_TENANT, fields["tenant"].decode()):
            raise job_not_found(job_id)
        return JobRecord.from_hash(job_id, fields)

    return Op(("HGETALL", f"{PREFIX}job:{job_id}"), parse)


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


def is_known(tenant: str, request_id: str) -> Op[bool]:
    """Says whether a request_id has started a job already."""
    return Op(("EXISTS", f"{PREFIX}request:{tenant}:{request_id}"), bool)


def parts(job_id: str) -> Op[dict[str, bytes]]:
    """Gives the finished parts."""
    return Op(("HGETALL", f"{PREFIX}parts:{job_id}"), lambda found: {k.decode(): v for k, v in found.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs of a tenant, newest first, and how many index entries were looked at for them."""

    records: Sequence[JobRecord]
    looked_at: int


def list_page(
    tenant: str, *, offset: int, limit: int, min_create_ms: int = 0, max_create_ms: float = float("inf")
) -> Op[JobPage]:
    """Gives jobs of a tenant, newest first, without spec and result."""

    def parse(answer: list[Any]) -> JobPage:
        records = [
            JobRecord.from_hash(
                job_id.decode(), {key: value for key, value in zip(BASIC_FIELDS, values, strict=True) if value}
            )
            for job_id, values in _pairs(answer[1:])
        ]
        return JobPage(records=records, looked_at=int(answer[0]))

    newest = "+inf" if max_create_ms == float("inf") else max_create_ms
    return _list(parse, tenant, newest, min_create_ms, offset, limit, *BASIC_FIELDS)


def job_not_found(job_id: str) -> JobNotFound:
    """The error for a job that is not there, expired, or somebody else's."""
    return JobNotFound(f"there is no job jobs/{job_id}, or it expired")


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
