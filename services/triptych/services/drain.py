"""The end of a server: no new calls, watches end at once, waiting calls end just before the grace is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from triptych.core.errors import ServerDraining

T = TypeVar("T")


def server_draining() -> ServerDraining:
    """The error that sends a caller to another server."""
    return ServerDraining("this server is shutting down; call again, another one will answer")


class Drain:
    """Says how far the shutdown is, and ends what would outlast it."""

    def __init__(self) -> None:
        self._streams_end = asyncio.Event()
        self._calls_end = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return self._streams_end.is_set()

    def end_streams(self) -> None:
        """Refuses new calls and ends every watch: it resumes elsewhere by its cursor."""
        self._streams_end.set()

    def end_calls(self) -> None:
        """Ends calls that still wait for a job: repeated elsewhere, they join it."""
        self._calls_end.set()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits the work of a call that waits for a job.

        Raises:
            ServerDraining: The server could not wait any longer.
        """
        return await _unless(self._calls_end, work)

    async def step(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits work of a stream that cannot be ended anywhere.

        Raises:
            ServerDraining: The server began to shut down.
        """
        return await _unless(self._streams_end, work)

    async def stream(self, source: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        """Yields what the source yields.

        Raises:
            ServerDraining: The server began to shut down.
        """
        ended = asyncio.ensure_future(self._streams_end.wait())
        async with aclosing(source):
            try:
                while True:
                    following = asyncio.ensure_future(_next(source))
                    try:
                        await asyncio.wait((following, ended), return_when=asyncio.FIRST_COMPLETED)
                        if not following.done():
                            raise server_draining()
                        found = following.result()
                    finally:
                        await _drop(following)
                    if not found:
                        return
                    yield found[0]
            finally:
                ended.cancel()


async def _unless(end: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Awaits work until something comes to its end.

    Raises:
        ServerDraining: It did.
    """
    task, ended = asyncio.ensure_future(work), asyncio.ensure_future(end.wait())
    try:
        await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise server_draining()
    finally:
        await _drop(task, ended)


async def _next(source: AsyncGenerator[T, None]) -> list[T]:
    """The next item alone in a list; an empty list at the end."""
    try:
        return [await anext(source)]
    except StopAsyncIteration:
        return []


async def _drop(*tasks: asyncio.Future[Any]) -> None:
    """Cancels what still runs and sees to its end, so that it leaves nothing behind."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
