"""Follows jobs: one connection to Redis wakes every watcher of a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Iterator

import redis.asyncio

from triptych.core import lookup
from triptych.core.errors import CursorExpired, FieldInvalid
from triptych.core.records import TERMINAL, JobRecord
from triptych.core.store import AWAY, PREFIX, AsyncStore, Op, heeded_cancellation
from triptych.v1.job_pb2 import Heartbeat, JobEvent, JobProgress, JobState, JobView

log = logging.getLogger("triptych.events")

_WAKE = f"{PREFIX}wake:"
_CURSOR = re.compile(r"\d{1,20}-\d{1,20}\Z")
_START = "0-0"
_PAGE = 200
# Events that a watcher without include_partials does not get.
_PARTIALS = frozenset({"transcript_segment", "ocr_page", "text_delta"})

Entry = tuple[str, dict[bytes, bytes]]


class EventHub:
    """Wakes watchers when something happened to their job; they then read what it was.

    A wake-up carries nothing, so a lost one costs time (until the next heartbeat), never an event.
    """

    def __init__(self, store: AsyncStore, url: str) -> None:
        self._store = store
        self._url = url
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to listen; call it on the loop that will watch."""
        self._listener = asyncio.get_running_loop().create_task(self._listen(), name="event-hub")

    async def stop(self) -> None:
        """Stops listening."""
        if self._listener:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    async def wait(self, job_id: str, tenant: str, timeout_s: float | None = None) -> JobRecord:
        """Gives the job when it is terminal, or as it is when the time is over.

        Raises:
            JobNotFound: No such job of this tenant.
        """
        with self._woken(job_id) as woken, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await self._store.run(lookup.is_terminal(job_id, tenant)):
                    # A lost wake-up costs at most this long. Not wait_for: before Python 3.12 it loses a cancellation
                    # that comes together with the wake-up.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(5):
                            await woken.wait()
                    woken.clear()
        return await self._store.run(lookup.get(job_id, tenant))

    async def follow(self, job_id: str, *, every_s: float) -> AsyncGenerator[JobProgress, None]:
        """Yields how far a job is whenever that changed, at most once in `every_s`; ends when it is closed.

        Unlike `watch` it reads no events: of a long document those hold all pages.
        """
        last = None
        with self._woken(job_id) as woken:
            while True:
                woken.clear()
                progress = await self._store.run(lookup.progress(job_id))
                if progress is not None and progress != last:
                    yield progress
                    last = progress
                await asyncio.sleep(every_s)
                # A lost wake-up costs at most this long.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await woken.wait()

    async def watch(
        self, job_id: str, tenant: str, *, after_cursor: str = "", partials: bool = True, heartbeat_s: float = 15
    ) -> AsyncGenerator[JobEvent, None]:
        """Yields a snapshot, then every event after the cursor, then the outcome; in silence a heartbeat, or, while the
        job waits, its place in the queue.

        Raises:
            JobNotFound: No such job of this tenant, or it expired while being watched.
            CursorExpired: The events after the cursor are no longer kept, or its reader is too far behind.
        """
        cursor = after_cursor or _START
        await self._check(job_id, cursor)
        with self._woken(job_id) as woken:
            record = await self._store.run(lookup.get(job_id, tenant))
            snapshot = _job_event(cursor, record, record.state, record.attempt)
            if record.terminal and await self._after(cursor, job_id, tenant):
                # The outcome comes last: who has it needs no more, even if the stream breaks.
                snapshot.job.ClearField("outcome")
            yield snapshot
            now_s = asyncio.get_running_loop().time
            beat_s = now_s() + heartbeat_s
            while True:
                woken.clear()
                entries = await self._after(cursor, job_id, tenant)
                for cursor, entry in entries:
                    event = await self._event(cursor, entry, job_id, tenant)
                    if partials or event.WhichOneof("event") not in _PARTIALS:
                        yield event
                        beat_s = now_s() + heartbeat_s
                    if event.HasField("job") and event.job.state in TERMINAL:
                        return
                if not entries:
                    # Nothing comes after the outcome; a watch resumed behind it has it in its snapshot.
                    if record.terminal:
                        return
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(beat_s):
                            await woken.wait()
                # Also if there is always something, but nothing for this watcher.
                if now_s() >= beat_s:
                    yield _beat(cursor, await self._store.run(lookup.get(job_id, tenant)))
                    beat_s = now_s() + heartbeat_s

    async def _check(self, job_id: str, cursor: str) -> None:
        if not _CURSOR.match(cursor):
            raise FieldInvalid("after_cursor", "is no cursor that an event carried")
        if cursor != _START and not await self._store.run(_exists(job_id, cursor)):
            raise _cursor_expired()

    async def _after(self, cursor: str, job_id: str, tenant: str) -> list[Entry]:
        """The next events. The one at the cursor is read along: if it is gone, so may be others behind it."""
        entries = await self._store.run(_read(job_id, cursor))
        if cursor == _START:
            return entries
        if not entries or entries[0][0] != cursor:
            await self._store.run(lookup.is_terminal(job_id, tenant))
            raise _cursor_expired()
        return entries[1:]

    async def _event(self, cursor: str, entry: dict[bytes, bytes], job_id: str, tenant: str) -> JobEvent:
        attempt = int(entry[b"attempt"])
        if b"state" in entry:
            record = await self._store.run(lookup.get(job_id, tenant))
            return _job_event(cursor, record, JobState.ValueType(int(entry[b"state"])), attempt)
        event = JobEvent.FromString(entry[b"event"])
        event.cursor = cursor
        event.attempt = attempt
        event.emit_time.FromMilliseconds(int(cursor.split("-", maxsplit=1)[0]))
        return event

    @contextlib.contextmanager
    def _woken(self, job_id: str) -> Iterator[asyncio.Event]:
        # Registering before the first read closes the race with a worker faster than we are.
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def _listen(self) -> None:
        delay_s = 0.05
        while True:
            # No socket timeout: silence is normal here.
            client = redis.asyncio.Redis.from_url(
                self._url, socket_timeout=None, socket_connect_timeout=2, health_check_interval=10
            )
            try:
                async with client.pubsub() as pubsub:
                    with heeded_cancellation():
                        await pubsub.psubscribe(f"{_WAKE}*")
                    self._wake_all()
                    delay_s = 0.05
                    while True:
                        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
                        if message:
                            self._wake(message["channel"].decode().removeprefix(_WAKE))
            except AWAY:
                log.debug("not listening: Redis is away")
            except Exception:
                # Without a listener every watcher would only hear heartbeats.
                log.exception("the listener stumbled")
            finally:
                await client.aclose()
            await asyncio.sleep(delay_s)
            delay_s = min(1, delay_s * 2)

    def _wake(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()

    def _wake_all(self) -> None:
        # What happened while we were deaf is in the streams.
        for job_id in tuple(self._waiting):
            self._wake(job_id)


def _job_event(cursor: str, record: JobRecord, state: JobState.ValueType, attempt: int) -> JobEvent:
    """The state as it was at that event; the outcome comes with the last one only."""
    view = JobView.JOB_VIEW_FULL if state in TERMINAL else JobView.JOB_VIEW_BASIC
    event = JobEvent(cursor=cursor, attempt=max(1, attempt), job=record.to_job(view))
    event.emit_time.GetCurrentTime()
    if cursor != _START:
        event.emit_time.FromMilliseconds(int(cursor.split("-", maxsplit=1)[0]))
    if state not in TERMINAL and event.job.state in TERMINAL:
        event.job.ClearField("outcome")
        event.job.ClearField("end_time")
        event.job.ClearField("expire_time")
    event.job.state = state
    event.job.attempt = max(1, attempt)
    return event


def _beat(cursor: str, record: JobRecord) -> JobEvent:
    """A sign of life; of a job that waits, with its place in the queue."""
    beat = JobEvent(cursor=cursor, attempt=max(1, record.attempt), heartbeat=Heartbeat())
    if record.state == JobState.JOB_STATE_PENDING:
        beat.progress.CopyFrom(record.to_job(JobView.JOB_VIEW_BASIC).progress)
    beat.emit_time.GetCurrentTime()
    return beat


def _cursor_expired() -> CursorExpired:
    return CursorExpired("the events after this cursor are no longer kept; watch anew without it")


def _read(job_id: str, cursor: str) -> Op[list[Entry]]:
    return Op(("XRANGE", f"{PREFIX}events:{job_id}", cursor, "+", "COUNT", _PAGE), _entries)


def _exists(job_id: str, cursor: str) -> Op[bool]:
    return Op(("XRANGE", f"{PREFIX}events:{job_id}", cursor, cursor), lambda answer: bool(_entries(answer)))


def _entries(answer: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    return [(key.decode(), dict(entry)) for key, entry in answer]
