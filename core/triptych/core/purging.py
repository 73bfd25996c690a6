"""Removes a document, or all of a tenant, with everything that comes of it: jobs, messages, units, blobs.

What comes of a document is known by two marks: the `documents` of a job's record, and the notes that stand under the
document's digest before anything derived is written (`derive.lua`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from triptych.core import deliveries, jobs
from triptych.core.blobs import BlobStore, digest_of
from triptych.core.errors import JobNotFound, JobNotTerminal
from triptych.core.records import TERMINAL
from triptych.core.store import PREFIX, Op, Script, Store, keys
from triptych.core.traces import Marks, count_traces

log = logging.getLogger("triptych.purging")

PAGE = 1000
REWRITE_TRIES, REWRITE_PAUSE_S = 50, 0.1
_COUNTER = f"{PREFIX}purges"

_readers = Script("readers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How much a purge removed."""

    job_count: int
    unit_count: int
    blob_count: int


class Purge:
    """One purge. Blocking; a purge that was interrupted is just begun anew.

    Args:
        store: Redis.
        blobs: Where bytes are.
        tenant: Whose.
        document: Name of the document's blob; empty: everything of the tenant.
    """

    def __init__(self, store: Store, blobs: BlobStore, *, tenant: str, document: str = "") -> None:
        self._store = store
        self._blobs = blobs
        self._tenant = tenant
        self._document = document
        self._digest = digest_of(document) if document else ""
        self._marks = {self._digest} if document else set()

    def running(self) -> set[str]:
        """Gives the ids of jobs that have to be stopped first."""
        return {job_id for job_id, state in self._readers() if state not in TERMINAL}

    def remove(self) -> Removed:
        """Removes what there is; a job that still runs stays.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        job_count = self._remove_jobs(job_id for job_id, _ in self._readers())
        self._remove_deliveries()
        every_note = list(keys(self._store, f"{PREFIX}derived:{self._tenant}:*"))
        notes = [note for note in every_note if note.endswith(self._digest)]
        named = self._store.run_all([_members(note) for note in notes])
        names = {name for each in named for name in each}
        works = self._works({name for name in names if not name.startswith("blobs/")})
        units = {name for each in self._store.run_all([_blobs_of(work) for work in works]) for name in each}
        before = self._blobs.names(self._tenant)
        doomed = {name for name in names if name.startswith("blobs/")} | units
        doomed |= {self._document} if self._document else before
        for name in doomed:
            self._blobs.delete(self._tenant, name)
        if not self._document:
            for upload_id in self._blobs.uploads(self._tenant):
                self._blobs.drop_upload(self._tenant, upload_id)
        # Last what says where the rest is: whoever is interrupted before finds it again.
        requests = [] if self._document else list(keys(self._store, f"{PREFIX}request:{self._tenant}:*"))
        if names:  # other documents of the same jobs name them too
            self._store.run_all([Op(("SREM", note, *names), int) for note in every_note])
        self._store.run_all([_drop(key) for key in (*works, *notes, *requests)])
        if not self._document:  # that it waited once stands in the lanes
            rests = list(keys(self._store, f"{PREFIX}rests:*"))
            self._store.run_all([Op(("ZREM", key, self._tenant), int) for key in rests])
        self._marks |= {work.rpartition(":")[2] for work in works} | {digest_of(name) for name in doomed}
        self._tell_everyone()
        return Removed(job_count=job_count, unit_count=len(units), blob_count=len(doomed & before))

    def traces(self) -> int:
        """Gives how many places still name or hold what should be gone: 0 proves the purge.

        The search goes through all keys and files; it does not use what `remove` went by.
        """
        marks = Marks(tenant=self._tenant, words=frozenset(self._marks), whole=not self._document)
        left = self._blobs.names(self._tenant)
        if self._document:
            left = {name for name in left if digest_of(name) in self._marks}
        else:
            left |= self._blobs.uploads(self._tenant)
        return count_traces(self._store, marks) + len(left)

    def _readers(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        offset = 0
        while True:
            looked_at, page = self._store.run(_page_of_readers(self._tenant, self._digest, offset))
            found += page
            offset += looked_at
            if looked_at < PAGE:
                return found

    def _remove_jobs(self, job_ids: Iterable[str]) -> int:
        count = 0
        for job_id in job_ids:
            self._marks.add(job_id)
            with suppress(JobNotFound, JobNotTerminal):
                self._store.run(jobs.delete(job_id, self._tenant))
                count += 1
        return count

    def _remove_deliveries(self) -> None:
        """Removes messages about jobs that read it; they may have outlived their jobs."""
        index = Op(("ZRANGE", f"{PREFIX}deliveries:{self._tenant}", 0, -1), _ids)
        for job_id in self._store.run(index):
            told_of = self._store.run(Op(("HGET", f"{PREFIX}delivery:{job_id}", "documents"), _text))
            if self._digest in told_of:
                self._marks.add(job_id)
                self._store.run(deliveries.drop(job_id, self._tenant))

    def _works(self, noted: set[str]) -> list[str]:
        start = f"{PREFIX}units:{self._tenant}:"
        return [f"{start}{key}" for key in noted] if self._document else list(keys(self._store, f"{start}*"))

    def _tell_everyone(self) -> None:
        """Has workers forget what they keep in memory, and the append-only file what was in Redis."""
        self._store.run(Op(("INCR", _COUNTER), int))
        for _ in range(REWRITE_TRIES):
            try:
                return self._store.run(Op(("BGREWRITEAOF",), lambda _answer: None))
            except ResponseError as error:
                if "in progress" not in str(error):  # the operator of that Redis does not allow it
                    break
                time.sleep(REWRITE_PAUSE_S)  # it began before what was purged was gone
        log.warning("the append-only file was not rewritten; until it is, it has what was purged")
        return None


def purge_count() -> Op[int]:
    """Gives how many purges there were; when it rises, what is kept in memory is to be forgotten."""
    return Op(("GET", _COUNTER), lambda answer: int(answer or 0))


def _page_of_readers(tenant: str, digest: str, offset: int) -> Op[tuple[int, list[tuple[str, int]]]]:
    def parse(answer: list[Any]) -> tuple[int, list[tuple[str, int]]]:
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        return int(answer[0]), [(job_id.decode(), int(state)) for job_id, state in pairs]

    return _readers(parse, tenant, digest, offset, PAGE)


def _members(key: str) -> Op[set[str]]:
    return Op(("SMEMBERS", key), lambda found: {name.decode() for name in found})


def _blobs_of(work: str) -> Op[set[str]]:
    return Op(("HVALS", work), lambda found: {name.decode() for name in found if name.startswith(b"blobs/")})


def _ids(found: list[bytes]) -> list[str]:
    return [place.decode().rpartition(" ")[2] for place in found]


def _text(found: bytes | None) -> str:
    return (found or b"").decode()


def _drop(key: str) -> Op[Any]:
    return Op(("DEL", key), int)
