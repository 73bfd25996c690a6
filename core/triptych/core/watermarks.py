"""Low-water marks: what the host keeps free for the work it has, and so refuses to new bytes and new jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from triptych.core.errors import HostExhausted
from triptych.core.room import free_disk_bytes, free_memory_bytes
from triptych.core.settings import MIB, Settings
from triptych.core.store import AsyncStore, Op

T = TypeVar("T")
# Between two looks at the host, whatever comes in meanwhile.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is left of a resource.

    Attributes:
        resource: "disk", "memory" or "redis".
        free_bytes: Left now.
        kept_bytes: The mark: new bytes must leave this much.
        filled: Whether the new bytes go there.
    """

    resource: str
    free_bytes: int
    kept_bytes: int
    filled: bool

    def admit(self, size_bytes: int) -> None:
        """Raises HostExhausted if less than the mark would be left."""
        left_bytes = self.free_bytes - size_bytes if self.filled else self.free_bytes
        if left_bytes < self.kept_bytes:
            message = (
                f"the host has {self.free_bytes // MIB} MiB of {self.resource} left and keeps "
                f"{self.kept_bytes // MIB} MiB of it free; try again later"
            )
            raise HostExhausted(message, resource=self.resource, free_bytes=self.free_bytes, wanted_bytes=size_bytes)


class Watermarks:
    """Stands before what comes from outside. Work that was accepted is not asked: it may use what is kept.

    Args:
        settings: The marks, and where blobs go.
        store: The Redis that may have a `maxmemory`.
        free_memory: Gives the available memory in bytes; None: not known.
    """

    def __init__(
        self, settings: Settings, store: AsyncStore, *, free_memory: Callable[[], int | None] = free_memory_bytes
    ) -> None:
        self._settings = settings
        self._free_memory = free_memory
        self._blobs_in_redis = settings.blob_store == "redis"
        self._host = _Kept(lambda: asyncio.to_thread(lambda: list(self._host_rooms())))
        self._redis = _Kept(lambda: store.run(self._redis_rooms()))

    async def admit_bytes(self, size_bytes: int) -> None:
        """Lets bytes into the blob store.

        Raises:
            HostExhausted: They would leave too little.
        """
        rooms = await self._host.get()
        if self._blobs_in_redis:
            rooms = rooms + await self._redis.get()
        for room in rooms:
            room.admit(size_bytes)

    async def admit_job(self, input_bytes: int) -> None:
        """Lets a job in, with the bytes that it brings.

        Raises:
            HostExhausted: There is too little for them, or for what the job will write.
            BackendUnavailable: Redis cannot be reached.
        """
        for room in (*await self._host.get(), *await self._redis.get()):
            room.admit(input_bytes)

    def _host_rooms(self) -> Iterable[Room]:
        settings = self._settings
        if settings.min_free_disk_bytes and not self._blobs_in_redis:
            free_bytes = free_disk_bytes(settings.blobs_path)
            yield Room(resource="disk", free_bytes=free_bytes, kept_bytes=settings.min_free_disk_bytes, filled=True)
        free = self._free_memory()
        # The bytes in question are in memory already.
        if free is not None:
            yield Room(resource="memory", free_bytes=free, kept_bytes=settings.min_free_memory_bytes, filled=False)

    def _redis_rooms(self) -> Op[list[Room]]:
        share = self._settings.max_redis_memory_share

        # redis-py parses the answer of INFO itself.
        def parse(found: dict[str, int]) -> list[Room]:
            most, used = found["maxmemory"], found["used_memory"]
            if not most or not share:
                return []
            free, kept = max(0, most - used), int(most * (1 - share))
            return [Room(resource="redis", free_bytes=free, kept_bytes=kept, filled=self._blobs_in_redis)]

        return Op(("INFO", "memory"), parse)


def disk_is_short(settings: Settings) -> bool:
    """Whether the largest blob would be refused: then what has expired is to be deleted at once. Blocks."""
    wanted_bytes = settings.min_free_disk_bytes + settings.max_blob_bytes
    return settings.blob_store == "directory" and free_disk_bytes(settings.blobs_path) < wanted_bytes


class _Kept(Generic[T]):
    """Gives what was read a moment ago; whoever comes while it is read gets the same answer, or the same error."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._reading: asyncio.Future[T] | None = None
        self._began = 0.0

    async def get(self) -> T:
        if self._reading is None or (self._reading.done() and not self._holds(self._reading)):
            self._began = time.monotonic()
            self._reading = asyncio.ensure_future(self._read())
        # Shielded: a caller who goes away takes it from nobody else.
        return await asyncio.shield(self._reading)

    def _holds(self, reading: asyncio.Future[T]) -> bool:
        return not reading.cancelled() and not reading.exception() and time.monotonic() < self._began + LOOK_EVERY_S
