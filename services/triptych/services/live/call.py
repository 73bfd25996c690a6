"""One live call: looks at what was said so far, tells it, and when an utterance ends its transcript."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from triptych.core.errors import ServerDraining, TriptychError
from triptych.services.drain import Drain
from triptych.services.live.feed import Feed
from triptych.services.live.jobs import PASSING, LiveJobs
from triptych.services.live.terms import LiveTerms
from triptych.services.live.utterance import Look, Utterance
from triptych.services.live.words import shifted, words_of
from triptych.v1.transcription_service_pb2 import LiveFinal, LiveInterim, LiveStarted, LiveTranscribeResponse

log = logging.getLogger("triptych.services")
T = TypeVar("T")

# For so long the same audio is tried again while workers, places or room are missing.
_PATIENCE_S = 120
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0


class LiveCall:
    """Hears one stream. There is never more than one job at a time, so events come in order.

    Args:
        feed: The audio; whoever makes the call runs its `read`.
        live_jobs: Hear it.
        terms: Of the call.
        drain: Of the server.
    """

    def __init__(self, feed: Feed, live_jobs: LiveJobs, terms: LiveTerms, drain: Drain) -> None:
        self._feed = feed
        self._jobs = live_jobs
        self._terms = terms
        self._drain = drain
        self._utterance = Utterance(0, silence_ms=terms.silence_ms, max_ms=terms.max_utterance_ms)
        self._number = 0
        self._segment_count = 0
        self._interim_told = False

    async def events(self) -> AsyncGenerator[LiveTranscribeResponse, None]:
        """Yields all there is to tell, to the end of the stream.

        Raises:
            AudioTimeout: The stream brought nothing any more.
            ServerDraining: The server shuts down; an utterance that had ended was told.
            TriptychError: What a job ended with. `metadata["resume_ms"]` says from where on audio is to be sent again.
        """
        yield LiveTranscribeResponse(started=LiveStarted(endpointing=self._terms.endpointing))
        try:
            while await self._drain.step(self._feed.more()):
                look = await self._drain.step(self._patiently(self._look))
                self._utterance.take(look)
                if interim := self._interim():
                    yield interim
                if self._utterance.end_ms is not None:
                    if final := await self._final():
                        yield final
                    self._utterance = self._utterance.following()
                    # Of an utterance that was cut some words are left.
                    if interim := self._interim():
                        yield interim
                self._feed.heard(self._utterance.heard_ms)
                self._feed.sound.drop(self._utterance.start_ms)
            self._utterance.finish()
            if final := await self._final():
                yield final
        except TriptychError as error:
            if error.retryable:
                error.metadata.setdefault("resume_ms", str(self._utterance.start_ms))
            raise
        if self._feed.broken:
            raise self._feed.broken

    async def _look(self) -> Look:
        start_ms, sound = self._utterance.look_start_ms, self._feed.sound
        end_ms = self._utterance.look_end_ms(sound.end_ms)
        heard = await self._jobs.look(sound.wav(start_ms, end_ms, own=True))
        return Look(
            end_ms=end_ms,
            speech=[(start_ms + each.start_ms, start_ms + each.end_ms) for each in heard.speech],
            words=list(words_of(heard, start_ms)),
            language_code=heard.language_code,
            last=self._feed.ended and end_ms == sound.end_ms,
        )

    def _interim(self) -> LiveTranscribeResponse | None:
        said = self._utterance
        stable, unstable = said.agreement.stable_text, said.agreement.unstable_text
        if not (self._terms.interim_results and said.begun and (stable or unstable)):
            return None
        self._interim_told = True
        interim = LiveInterim(
            utterance=self._number,
            start_ms=said.start_ms,
            end_ms=said.heard_ms,
            stable_text=stable,
            unstable_text=unstable,
            language_code=said.language_code,
        )
        return LiveTranscribeResponse(interim=interim)

    async def _final(self) -> LiveTranscribeResponse | None:
        """The transcript of the utterance, if it has ended; of one in which nothing was said, nothing was told."""
        start_ms, end_ms = self._utterance.start_ms, self._utterance.end_ms
        if end_ms is None or end_ms <= start_ms:
            return None
        wav = self._feed.sound.wav(start_ms, end_ms)
        job, heard = await self._drain.call(self._patiently(lambda: self._jobs.final(wav)))
        if not (heard.text or self._interim_told):
            return None
        final = LiveFinal(utterance=self._number, result=shifted(heard, start_ms, self._segment_count), job=job)
        self._number += 1
        self._segment_count += len(heard.segments)
        self._interim_told = False
        return LiveTranscribeResponse(final=final)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does work again while it fails for a reason that passes. A look sees then what has come meanwhile."""
        now_s = asyncio.get_running_loop().time
        end_s, pause_s = now_s() + _PATIENCE_S, _PAUSE_S
        while True:
            try:
                return await work()
            except PASSING as error:
                wait_s = min(error.retry_after_s or pause_s, _LONGEST_PAUSE_S)
                if isinstance(error, ServerDraining) or now_s() + wait_s > end_s:
                    raise
                log.info("a live call waits: %s", error.reason)
            await asyncio.sleep(wait_s)
            pause_s *= 2
