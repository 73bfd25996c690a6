"""A folder into which files are dropped, as a source of orders that never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path

from triptych.core.errors import PreconditionFailed
from triptych.intake.event import Event, Tell
from triptych.intake.order import Order
from triptych.intake.settling import Settling

# Notices can get lost (a full queue of the kernel, a file system that gives none): so often it is looked anyway.
RESCAN_S = 30.0
# Between two looks, however many notices come.
BREATH_S = 0.1


class Folder:
    """Watches a folder; gives an order for every file that is whole.

    Args:
        path: Of the folder.
        settling: Looks through it.
        order_of: Gives the order for a file.
        tell: Told when the folder cannot be read.
        poll_s: Look so often and ask for no notices: for network file systems, which give none of what others write.
    """

    def __init__(
        self,
        path: Path,
        settling: Settling,
        order_of: Callable[[Path], Order],
        *,
        tell: Tell,
        poll_s: float | None = None,
    ) -> None:
        self._path = path
        self._settling = settling
        self._order_of = order_of
        self._tell = tell
        self._poll_s = poll_s
        self._noticed = asyncio.Event()

    def put_back(self, paths: Iterable[Path]) -> None:
        """Has files wait again as if they had just come."""
        self._settling.put_back(paths)

    async def orders(self) -> AsyncIterator[Order]:
        """Yields orders for ever."""
        noticing = None if self._poll_s else asyncio.create_task(self._notice())
        try:
            while True:
                self._noticed.clear()
                for path in await self._look():
                    yield self._order_of(path)
                if noticing and noticing.done():
                    noticing.result()
                await asyncio.sleep(BREATH_S)
                await self._until_next()
        finally:
            if noticing:
                noticing.cancel()

    async def _look(self) -> list[Path]:
        try:
            return await asyncio.to_thread(self._settling.look)
        except OSError as error:
            # A disk that is taken away may come back.
            self._tell(Event(what="waiting", reason=f"{self._path} cannot be read: {error.strerror}"))
            return []

    async def _until_next(self) -> None:
        """Waits for a notice, for the time when a file may be whole, or for the next look of all."""
        pause_s = self._settling.pause_s()
        longest_s = self._poll_s or RESCAN_S
        with suppress(TimeoutError):
            await asyncio.wait_for(self._noticed.wait(), longest_s if pause_s is None else min(pause_s, longest_s))

    async def _notice(self) -> None:
        try:
            from watchfiles import awatch
        except ImportError:
            raise PreconditionFailed(
                "watchfiles is not installed", metadata={"hint": "pip install 'triptych[intake]', or --poll 5"}
            ) from None
        while True:
            try:
                async for _ in awatch(
                    self._path, watch_filter=None, debounce=100, step=50, recursive=self._settling.recursive
                ):
                    self._noticed.set()
                return
            except (OSError, RuntimeError) as error:
                # No more watches to be had, say; looking goes on by the clock.
                self._tell(Event(what="waiting", reason=f"no notices of {self._path}: {error}"))
                await asyncio.sleep(RESCAN_S)
