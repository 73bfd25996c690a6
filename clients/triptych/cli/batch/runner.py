"""Runs the lines of a manifest, a few at a time, each until it has its result."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from triptych.cli.batch.display import BatchDisplay
from triptych.cli.batch.entry import Entry, entry_of
from triptych.cli.batch.results import Results, failed
from triptych.cli.failure import facts_of
from triptych.cli.printing import as_dict
from triptych.client import AsyncClient
from triptych.client.patience import patiently
from triptych.core.errors import (
    BlobNotFound,
    JobNotFound,
    TriptychError,
    Unauthenticated,
    from_status,
)
from triptych.v1.job_pb2 import Job, JobOptions, JobPriority, JobResult, JobSpec, JobState

T = TypeVar("T")

# Lines whose bytes are on their way at a time, in or out; the others only wait. It bounds the memory.
MOVING = 8
# In a batch a job waits for as long as others come first; an hour, the server's own default, is soon over.
QUEUE_TIMEOUT_S = 24 * 3600
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "triptych.v1/batch")


class Batch:
    """One run over a manifest. What was done by earlier runs is found by digests and joined by request ids.

    Args:
        client: Connected on the loop that runs this.
        results: Where results go.
        display: Shows how far it is.
        name: Lines of another name are other jobs.
        priority: Lane of the lines that do not say themselves.
        retry_failed: Whether lines that an earlier run saw fail are done again.
    """

    def __init__(
        self,
        client: AsyncClient,
        results: Results,
        display: BatchDisplay,
        *,
        name: str,
        priority: JobPriority.ValueType,
        retry_failed: bool = False,
    ) -> None:
        self._client = client
        self._results = results
        self._display = display
        self._name = name
        self._priority = priority
        self._retry_failed = retry_failed
        self._moving = asyncio.Semaphore(MOVING)
        self._uploads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, lines: Iterator[tuple[int, bytes]], folder: Path, concurrency: int) -> None:
        """Runs all lines, at most `concurrency` at a time; relative paths begin in `folder`.

        Raises:
            Unauthenticated: The services take no more of this caller.
            OSError: A result could not be written.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(lines, folder))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(self, lines: Iterator[tuple[int, bytes]], folder: Path) -> None:
        for number, text in lines:
            # A line that is refused before there is a job has failed, too.
            facts: dict[str, Any] = {"line": number, "id": "", "digest": "", "job": "", "state": "JOB_STATE_FAILED"}
            try:
                entry = entry_of(number, text, folder)
                file_digests = await asyncio.to_thread(entry.file_digests)
                facts |= {"id": entry.id, "digest": entry.digest(file_digests)}
                past = self._results.past(facts["digest"])
                if past and not (past.failed and self._retry_failed):
                    self._display.done(failed=past.failed, skipped=True)
                    continue
                await self._finish(entry, file_digests, past.job if past else "", facts)
            except Unauthenticated:
                raise
            except TriptychError as error:
                facts["error"] = facts_of(error)
            self._results.add(facts)
            self._display.done(failed=failed(facts))

    async def _finish(self, entry: Entry, file_digests: Sequence[str], failed_job: str, facts: dict[str, Any]) -> None:
        """Sees a line to its end, and adds what is known of it on the way."""
        begun = await self._begun(entry, facts["digest"], file_digests, failed_job)
        facts["job"] = begun.name
        job = await self._patiently(lambda: self._client.wait_job(begun.name))
        facts["state"] = JobState.Name(job.state)
        if job.WhichOneof("outcome") == "error":
            facts["error"] = facts_of(from_status(job.error))
        else:
            facts["result"] = as_dict(await self._result(job))

    async def _begun(self, entry: Entry, digest: str, file_digests: Sequence[str], failed_job: str) -> Job:
        """Submits a line, or joins the job that it has already; one that failed before is retried."""
        options = JobOptions(priority=self._priority)
        options.queue_timeout.FromSeconds(QUEUE_TIMEOUT_S)
        options.MergeFrom(entry.options)
        request_id = entry.request_id or _id(self._name, digest, options.priority)
        async with self._moving:
            if failed_job:
                request_id = _id(request_id, failed_job)
                try:
                    return await self._patiently(lambda: self._client.retry_job(failed_job, request_id=request_id))
                except (JobNotFound, BlobNotFound):
                    pass  # it expired: the line is sent anew
            spec = await self._patiently(lambda: self._spec(entry, file_digests))
            return await self._patiently(lambda: self._client.submit(spec, options, request_id=request_id))

    async def _spec(self, entry: Entry, file_digests: Sequence[str]) -> JobSpec:
        async with AsyncExitStack() as stack:
            # The server knows bytes when they have arrived: of two lines with the same the second one waits until then.
            # Everybody takes the locks in one order, so nobody waits in a circle.
            for digest in sorted(set(file_digests)):
                await stack.enter_async_context(self._uploads.setdefault(digest, asyncio.Lock()))
            return entry.spec_of(await self._client.sources(entry.files))

    async def _result(self, job: Job) -> JobResult:
        async with self._moving:
            return await self._patiently(lambda: self._client.result(job))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        return await patiently(call, lambda error: self._display.waiting(error.message))


def _id(*parts: object) -> str:
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))
