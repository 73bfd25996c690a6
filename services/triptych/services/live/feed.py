"""Reads a live stream no faster than it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from triptych.core.errors import AudioTimeout, FieldInvalid, TriptychError
from triptych.services.live.decoder import LiveDecoder
from triptych.services.live.sound import Sound
from triptych.v1.transcription_service_pb2 import LiveTranscribeRequest

# More than this is not read ahead of what was heard: as much as a worker that is lost and replaced costs.
_MAX_WAITING_MS = 30_000
# So much new audio is worth a look; less is, when no more comes for as long.
_WORTH_MS = 500


class Feed:
    """Takes the messages behind the configuration; `read` runs beside whoever hears them.

    Args:
        messages: The rest of the stream.
        decoder: For their audio.
        idle_s: How long there may be none.

    Attributes:
        sound: What came and is not done with.
        ended: Whether nothing more will come.
        broken: Why, if the caller did not end the stream.
    """

    def __init__(self, messages: AsyncIterator[LiveTranscribeRequest], decoder: LiveDecoder, idle_s: float) -> None:
        self._messages = messages
        self._decoder = decoder
        self._idle_s = idle_s
        self._idle_at_s = 0.0
        self._heard_ms = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.sound = Sound()
        self.ended = False
        self.broken: TriptychError | None = None

    async def read(self) -> None:
        """Reads to the end of the stream, or until it is silent for too long.

        Raises:
            FieldInvalid, MediaCorrupt: A message is wrong.
        """
        try:
            self._not_idle()
            while (message := await self._next()) is not None:
                self._take(message)
                while self.sound.end_ms - self._heard_ms > _MAX_WAITING_MS:
                    self._room.clear()
                    await self._room.wait()
                    self._not_idle()
            self.sound.add(self._decoder.rest())
        finally:
            self.ended = True
            self._news.set()

    def heard(self, until_ms: int) -> None:
        """Says what was heard, so that more is read."""
        self._heard_ms = until_ms
        self._room.set()

    async def more(self) -> bool:
        """Waits until there is something worth a look; False: everything was heard, and the stream has ended."""
        while (waiting_ms := self.sound.end_ms - self._heard_ms) < _WORTH_MS and not self.ended:
            self._news.clear()
            try:
                async with asyncio.timeout(_WORTH_MS / 1000 if waiting_ms > 0 else None):
                    await self._news.wait()
            except TimeoutError:
                break
        return self.sound.end_ms > self._heard_ms

    async def _next(self) -> LiveTranscribeRequest | None:
        try:
            async with asyncio.timeout_at(self._idle_at_s):
                return await anext(self._messages, None)
        except TimeoutError:
            self.broken = AudioTimeout(f"no audio came for {self._idle_s:g} s")
            return None

    def _take(self, message: LiveTranscribeRequest) -> None:
        if message.WhichOneof("request") != "audio":
            raise FieldInvalid("config", "after the configuration comes audio, and nothing else")
        if samples := self._decoder.decode(message.audio):
            self.sound.add(samples)
            self._not_idle()
            self._news.set()

    def _not_idle(self) -> None:
        self._idle_at_s = asyncio.get_running_loop().time() + self._idle_s
