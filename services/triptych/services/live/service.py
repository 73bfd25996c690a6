"""Live speech as the services offer it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from triptych.core.errors import AudioTimeout
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.deadlines import patience_s
from triptych.services.fields import need
from triptych.services.intake import Intake
from triptych.services.live.call import LiveCall
from triptych.services.live.decoder import LiveDecoder
from triptych.services.live.feed import Feed
from triptych.services.live.jobs import LiveJobs
from triptych.services.live.pulse import pulsed
from triptych.services.live.terms import LiveTerms
from triptych.v1.transcription_service_pb2 import LiveTranscribeRequest, LiveTranscribeResponse


class Live:
    """Makes live calls of streams.

    Args:
        backend: Of the service.
        intake: Which checks and submits jobs.
    """

    def __init__(self, backend: Backend, intake: Intake) -> None:
        self._backend = backend
        self._intake = intake

    async def transcribe(
        self, messages: AsyncIterator[LiveTranscribeRequest], context: Any
    ) -> AsyncGenerator[LiveTranscribeResponse, None]:
        """Transcribes a stream while it comes.

        Raises:
            TriptychError: What is wrong with it, or why it cannot go on.
        """
        backend, settings = self._backend, self._backend.settings
        terms = await self._terms(messages)
        live_jobs = LiveJobs(backend, self._intake, CALLER.get(), context, terms)
        await live_jobs.check()
        feed = Feed(messages, LiveDecoder(terms), settings.live_idle_s)
        call = LiveCall(feed, live_jobs, terms, backend.drain)
        events = pulsed(
            call.events(),
            asyncio.create_task(feed.read()),
            heartbeat_s=settings.heartbeat_s,
            patience_s=patience_s(context),
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def _terms(self, messages: AsyncIterator[LiveTranscribeRequest]) -> LiveTerms:
        idle_s = self._backend.settings.live_idle_s
        try:
            async with asyncio.timeout(idle_s):
                first = await anext(messages, None)
        except TimeoutError:
            raise AudioTimeout(f"no configuration came for {idle_s:g} s") from None
        need(first is not None and first.WhichOneof("request") == "config", "config", "must be the first message")
        assert first is not None
        return LiveTerms.of(first.config)
