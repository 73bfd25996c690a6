"""Pages through the jobs of a tenant."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from triptych.core import lookup
from triptych.core.records import KINDS, JobRecord
from triptych.core.store import AsyncStore
from triptych.services.fields import job_id, need
from triptych.services.paging import from_token, page_size, query_digest, to_token
from triptych.v1.job_pb2 import JobView
from triptych.v1.job_service_pb2 import JobFilter, ListJobsRequest, ListJobsResponse

DEFAULT_PAGE_SIZE = 50
# Looks into the index for one page; then it is short, and the caller asks again.
_MAX_LOOKS = 40


class JobList:
    """Filters what Redis lists by time. A token holds the newest time of the first page, so new jobs shift nothing."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    async def page(self, request: ListJobsRequest, tenant: str) -> ListJobsResponse:
        """Gives one page, newest first.

        Raises:
            FieldInvalid: The token belongs to another filter, or a field is wrong.
        """
        wanted, query = _matcher(request.filter), query_digest(request.filter)
        size = page_size(request.page_size, DEFAULT_PAGE_SIZE)
        place = from_token(request.page_token, query, 2)
        dead = request.filter.set_aside
        # Dead letters lie by the time they ended; when they were created says nothing about where.
        oldest_ms, newest_ms = (0, float("inf")) if dead else _created_ms(request.filter)
        newest_ms = (place[0] if place else 0) or newest_ms
        offset = place[1] if place else 0
        found: list[JobRecord] = []
        more = True
        for _ in range(_MAX_LOOKS):
            limit = size - len(found)
            page = await self._store.run(
                lookup.list_page(
                    tenant,
                    offset=offset,
                    limit=limit,
                    index="dead" if dead else "jobs",
                    min_ms=oldest_ms,
                    max_ms=newest_ms,
                )
            )
            if newest_ms == float("inf") and page.records:
                newest_ms = (page.records[0].end_ms if dead else page.records[0].create_ms) + 1
            offset += page.looked_at
            found += [record for record in page.records if wanted(record)]
            more = page.looked_at == limit
            if not more or len(found) == size:
                break
        # 0: every job so far had expired, so there is no newest time yet to hold on to.
        token = to_token(query, 0 if newest_ms == float("inf") else int(newest_ms), offset) if more else ""
        return ListJobsResponse(jobs=[record.to_job(JobView.JOB_VIEW_BASIC) for record in found], next_page_token=token)


def _matcher(wanted: JobFilter) -> Callable[[JobRecord], bool]:
    parent = job_id(wanted.parent_job, "filter.parent_job") if wanted.parent_job else ""
    need(0 not in wanted.states, "filter.states", "holds UNSPECIFIED")
    need(0 not in wanted.kinds, "filter.kinds", "holds UNSPECIFIED")
    oldest_ms, newest_ms = _created_ms(wanted)

    def matches(record: JobRecord) -> bool:
        return (
            (not wanted.states or record.state in wanted.states)
            and (not wanted.kinds or KINDS[record.kind] in wanted.kinds)
            and all(record.labels.get(key) == value for key, value in wanted.labels.items())
            and (not parent or record.parent == parent)
            and oldest_ms <= record.create_ms < newest_ms
            and (not wanted.set_aside or bool(record.set_aside))
        )

    return matches


def _created_ms(wanted: JobFilter) -> tuple[int, float]:
    """Created at the first or later, and before the second."""
    newest_ms = _up_to_ms(wanted.max_create_time) if wanted.HasField("max_create_time") else float("inf")
    return _up_to_ms(wanted.min_create_time), newest_ms


def _up_to_ms(time: Timestamp) -> int:
    """Milliseconds, rounded up: a job's own time is whole ms, so both bounds then compare right."""
    return max(0, -(-(time.seconds * 1_000_000_000 + time.nanos) // 1_000_000))
