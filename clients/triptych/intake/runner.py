"""Sees every order to its result, a few at a time, whatever dies on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.rpc.code_pb2 import Code

from triptych.client import AsyncClient, specs
from triptych.client.patience import patiently
from triptych.core import errors
from triptych.core.errors import TriptychError, from_status
from triptych.intake.event import Counts, Event, Tell
from triptych.intake.filing import Filing, file_away
from triptych.intake.journal import Arrival, Journal, Request
from triptych.intake.order import Content, Order
from triptych.intake.results import Results
from triptych.intake.source import Source
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import Job, JobResult

T = TypeVar("T")

# How often a job that failed for a reason that passes is begun anew before its file has failed.
MAX_ROUNDS = 3
# Pause before that, in seconds.
ANEW_S = 1.0
# What is wrong with the request is wrong with all files: none of them shall pay for it.
_REFUSALS = (
    errors.Unauthenticated, errors.PermissionDenied, errors.SchemaInvalid, errors.ModelNotFound,
    errors.LanguageUnsupported, errors.FeatureDisabled,
)  # fmt: skip
_OF_A_FILE = (".input", "documents", ".pages")


class _FileGone(Exception):
    """No file has the bytes of the request any more."""


class Runner:
    """One run of an intake.

    Args:
        client: Connected on the loop that runs this; it retries nothing itself.
        journal: What is known.
        results: Where results go.
        source: Where orders come from.
        filing: Where files go that leave.
        tell: Told all that happens.
        in_flight: Jobs under way at a time.
        all_alike: Whether all orders ask the same: then one that is refused for what it asks ends the run.
    """

    def __init__(
        self,
        client: AsyncClient,
        journal: Journal,
        results: Results,
        source: Source,
        *,
        filing: Filing | None = None,
        tell: Tell,
        in_flight: int,
        all_alike: bool,
    ) -> None:
        self._client = client
        self._journal = journal
        self._results = results
        self._source = source
        self._filing = filing
        self._tell = tell
        self._workers = in_flight
        self._all_alike = all_alike
        self._busy: set[str] = set()
        self._queue: asyncio.Queue[Order | str | None] = asyncio.Queue(in_flight)
        self.counts = Counts()

    async def run(self) -> None:
        """Ends what earlier runs began, then takes orders until the source has no more.

        Raises:
            TriptychError: The services take nothing of this caller, or nothing that asks this.
            OSError: A result could not be written.
        """
        self._journal.forget_unsent()
        for arrival in self._journal.unfiled():
            await self._file(arrival)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
                for key in self._journal.unfinished():
                    await self._queue.put(key)
                async for order in self._source.orders():
                    await self._queue.put(order)
                for _ in range(self._workers):
                    await self._queue.put(None)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self) -> None:
        while (taken := await self._queue.get()) is not None:
            await (self._see_to(taken) if isinstance(taken, str) else self._take(taken))

    async def _take(self, order: Order) -> None:
        """Reads an order's files and enters it; then sees to its request."""
        try:
            contents = [
                await asyncio.to_thread(Content.of, path, follow_links=not order.leaves) for path in order.files
            ]
        except FileNotFoundError as error:
            self._happened("gone", order.name, str(error))
            return
        except OSError as error:
            self._happened("put_back", order.name, str(error))
            self._source.put_back(order.files)
            return
        arrival, is_new = self._journal.arrive(order, contents)
        if is_new:
            self._happened("seen", order.name, facts={"size_bytes": sum(each.size_bytes for each in contents)})
        elif arrival.state != "open":
            self._happened("earlier", order.name, facts=arrival.facts)
            if arrival.state == "recorded":
                await self._file(arrival)
        await self._see_to(arrival.key)

    async def _see_to(self, key: str) -> None:
        """Brings a request to its end, and gives every arrival of it a result, those too that come meanwhile."""
        if key in self._busy:
            return  # whoever is at it finds the new arrival before it is done
        self._busy.add(key)
        try:
            while waiting := self._journal.open_arrivals(key):
                request = self._journal.request(key)
                if request.state == "open":
                    await self._end(request, waiting)
                else:
                    await self._record(waiting[0], request)
        finally:
            self._busy.discard(key)

    async def _record(self, arrival: Arrival, request: Request) -> None:
        target = self._filing.target_of(arrival, request.state) if arrival.leaves and self._filing else ""
        recorded = self._journal.record(arrival, request, target=target)
        self._results.catch_up()
        reason = request.error.get("message", "")
        self._happened("done" if request.state == "done" else "failed", arrival.name, reason, recorded.facts)
        await self._file(recorded)

    async def _file(self, arrival: Arrival) -> None:
        try:
            if arrival.target:
                await asyncio.to_thread(file_away, arrival)
        except OSError as error:
            self._happened("put_back", arrival.name, str(error))
            self._source.put_back(content.path for content in arrival.contents)
            return
        self._journal.filed(arrival)

    async def _end(self, request: Request, arrivals: list[Arrival]) -> None:
        """Runs the job of a request, anew if it is lost, until there is a result or an error."""
        rounds = 1
        while True:
            error: TriptychError | None = None
            try:
                job = await self._job(request, arrivals)
                if job.WhichOneof("outcome") == "error":
                    error = from_status(job.error)
                else:
                    result = await self._patiently(lambda: self._client.result(job))  # noqa: B023 - awaited here
                    facts = _result_of(arrivals[0].name, request, job, result)
                    break
            except _FileGone:
                self._forget(arrivals)
                return
            except (errors.JobNotFound, errors.BlobNotFound, errors.RequestIdReused) as lost:
                # The services keep results for a while only: this one was not fetched in time, or was deleted.
                self._wait_for(lost)
            except TriptychError as refused:
                if isinstance(refused, errors.Unauthenticated) or (self._all_alike and _is_refusal(refused)):
                    raise
                error = refused
            if error is not None:
                if not error.retryable or rounds == MAX_ROUNDS:
                    self._journal.end(request.key, error=_facts_of(error))
                    return
                rounds += 1
                self._wait_for(error)
            self._journal.begin_anew(request.key)
            request = self._journal.request(request.key)
            await asyncio.sleep(ANEW_S)
        file = await asyncio.to_thread(self._results.write, arrivals[0].name, request.key, facts)
        self._journal.end(request.key, result=file)

    async def _job(self, request: Request, arrivals: list[Arrival]) -> Job:
        """Gives the job of a request when it has ended; submits it if it has none yet."""
        name = request.job
        if not name:
            spec = specs.filled(request.spec, await self._sources(request, arrivals))
            submitted = await self._patiently(
                lambda: self._client.submit(spec, request.options, request_id=request.request_id)
            )
            name = submitted.name
            self._journal.submitted(request.key, name)
            self._happened("submitted", arrivals[0].name, facts={"job": name})
        self.counts.in_flight += 1
        try:
            return await self._patiently(lambda: self._client.wait_job(name))
        finally:
            self.counts.in_flight -= 1

    def _forget(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            self._journal.forget(arrival)
            self._happened("gone", arrival.name, "it went away or changed before it was sent")
            self._source.put_back(content.path for content in arrival.contents)

    async def _sources(self, request: Request, arrivals: list[Arrival]) -> list[InputSource]:
        """Sends the bytes of a request, of the first arrival that still has them.

        Raises:
            _FileGone: None has.
        """
        for arrival in arrivals:
            paths = [content.path for content in arrival.contents]
            try:
                sources = await self._patiently(lambda: self._client.sources(paths))  # noqa: B023 - awaited here
            except (OSError, errors.FieldInvalid, errors.DigestMismatch):
                continue
            if tuple(map(_digest_of, sources)) == request.digests:
                return sources
        raise _FileGone

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        # A quota is free again when what is kept has expired.
        return await patiently(call, self._wait_for, also=(errors.QuotaExceeded,))

    def _wait_for(self, error: TriptychError) -> None:
        self._happened("waiting", reason=error.message, facts={"reason": error.reason})

    def _happened(self, what: Any, name: str = "", reason: str = "", facts: dict[str, Any] | None = None) -> None:
        event = Event(what=what, name=name, reason=reason, facts=facts or {})
        self.counts.heed(event)
        self._tell(event)


def _is_refusal(error: TriptychError) -> bool:
    """Whether the services would refuse every file for this reason."""
    if isinstance(error, errors.FieldInvalid):
        return not any(part in error.metadata.get("field", "") for part in _OF_A_FILE)
    return isinstance(error, _REFUSALS)


def _digest_of(source: InputSource) -> str:
    if source.WhichOneof("source") == "content":
        return hashlib.sha256(source.content).hexdigest()
    return source.blob.removeprefix("blobs/sha256-")


def _facts_of(error: TriptychError) -> dict[str, Any]:
    return {
        "reason": error.reason,
        "code": Code.Name(error.code),
        "message": error.message,
        "retryable": error.retryable,
        "metadata": error.metadata,
    }


def _result_of(name: str, request: Request, job: Job, result: JobResult) -> dict[str, Any]:
    return {
        "name": name,
        "digests": list(request.digests),
        "job": job.name,
        "labels": dict(job.labels),
        "result": MessageToDict(result, preserving_proto_field_name=True),
    }
