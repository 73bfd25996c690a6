"""A live call on the caller's side: messages made of audio, and a call of blocking gRPC for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import grpc

from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_OPUS,
    LIVE_ENCODING_PCM_F32LE,
    LiveConfig,
    LiveTranscribeRequest,
    LiveTranscribeResponse,
)

_PIECE_BYTES = 64 * 1024


class LiveRequests:
    """The messages of one call, in the thread that sends them.

    Args:
        config: The first one.
        audio: Pieces of PCM of any length, cut further where they are long, or Opus packets.

    Attributes:
        failed: What `audio` raised. The call then ends as if that were the end of it.
    """

    def __init__(self, config: LiveConfig, audio: Iterable[bytes]) -> None:
        self._config = config
        self._audio = audio
        self.failed: BaseException | None = None

    def __iter__(self) -> Iterator[LiveTranscribeRequest]:
        yield LiveTranscribeRequest(config=self._config)
        piece_bytes = self._piece_bytes()
        try:
            for audio in self._audio:
                for start in range(0, len(audio), piece_bytes or len(audio) or 1):
                    yield LiveTranscribeRequest(audio=audio[start : start + piece_bytes] if piece_bytes else audio)
        except Exception as error:  # noqa: BLE001 - gRPC would swallow it
            self.failed = error

    def _piece_bytes(self) -> int:
        """Whole frames; 0: packets are not cut."""
        if self._config.encoding == LIVE_ENCODING_OPUS:
            return 0
        sample_bytes = 4 if self._config.encoding == LIVE_ENCODING_PCM_F32LE else 2
        frame_bytes = sample_bytes * max(1, min(self._config.channel_count, 8))
        return _PIECE_BYTES // frame_bytes * frame_bytes


class LiveBridge:
    """Runs a live call of blocking gRPC for an event loop.

    grpc.aio (1.85.1) loses the server's reason if it comes while we still send: INTERNAL, "Internal error from Core".

    Args:
        begin: Makes the call of its messages.
        config: Of the call.
        audio: As in `LiveRequests`.
    """

    def __init__(
        self, begin: Callable[[Iterator[LiveTranscribeRequest]], Any], config: LiveConfig, audio: AsyncIterable[bytes]
    ) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._audio = aiter(audio)
        self._requests = LiveRequests(config, self._blocking_audio())
        self._events: asyncio.Queue[LiveTranscribeResponse | Exception | None] = asyncio.Queue()
        self._awaited: Future[bytes | None] | None = None

    async def events(self) -> AsyncGenerator[LiveTranscribeResponse, None]:
        """Yields what comes.

        Raises:
            grpc.RpcError: As the call does.
            Exception: What the audio raised.
        """
        call = self._begin(iter(self._requests))
        threading.Thread(target=self._receive, args=(call,), name="live", daemon=True).start()
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            call.cancel()  # without effect once it is done
            if self._awaited:
                self._awaited.cancel()
        if self._requests.failed:
            raise self._requests.failed

    def _receive(self, call: Any) -> None:
        try:
            for event in call:
                self._tell(event)
            self._tell(None)
        except grpc.RpcError as error:
            self._tell(error)

    def _tell(self, event: LiveTranscribeResponse | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def _blocking_audio(self) -> Iterator[bytes]:
        """The audio for the thread that sends."""
        while True:
            self._awaited = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if (piece := self._awaited.result()) is None:
                return
            yield piece

    async def _next(self) -> bytes | None:
        return await anext(self._audio, None)
