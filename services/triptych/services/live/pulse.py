"""Keeps a live call going: signs of life, the end of its time, and what goes wrong with its audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from triptych.core.errors import CallTimeout
from triptych.v1.job_pb2 import Heartbeat
from triptych.v1.transcription_service_pb2 import LiveTranscribeResponse


async def pulsed(
    source: AsyncGenerator[LiveTranscribeResponse, None],
    reading: asyncio.Task[None],
    *,
    heartbeat_s: float,
    patience_s: float | None,
) -> AsyncGenerator[LiveTranscribeResponse, None]:
    """Yields what the source yields, and in silence a heartbeat.

    Args:
        source: Is closed at the end.
        reading: Reads the caller's audio; is cancelled at the end.
        heartbeat_s: Between two signs of life.
        patience_s: Until the end of the call's time; None: it has none.

    Raises:
        CallTimeout: The time is over.
        TriptychError: Of the source, or at once of the reading.
    """
    now_s = asyncio.get_running_loop().time
    end_s = None if patience_s is None else now_s() + patience_s
    async with aclosing(source):
        following: asyncio.Future[list[LiveTranscribeResponse]] | None = None
        try:
            while True:
                following = following or asyncio.ensure_future(_next(source))
                watched: set[asyncio.Future[Any]] = {following} if reading.done() else {following, reading}
                left_s = heartbeat_s if end_s is None else min(heartbeat_s, max(0.0, end_s - now_s()))
                await asyncio.wait(watched, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
                if following.done():
                    if not (found := following.result()):
                        return
                    following = None
                    yield found[0]
                elif end_s is not None and now_s() >= end_s:
                    raise CallTimeout("the call's deadline came before the speech was over")
                elif reading not in watched or not reading.done():
                    yield LiveTranscribeResponse(heartbeat=Heartbeat())
        finally:
            tasks: list[asyncio.Future[Any]] = [reading] if following is None else [reading, following]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _next(source: AsyncGenerator[LiveTranscribeResponse, None]) -> list[LiveTranscribeResponse]:
    """The next one alone in a list; an empty list at the end."""
    try:
        return [await anext(source)]
    except StopAsyncIteration:
        return []
