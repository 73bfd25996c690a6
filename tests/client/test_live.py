"""Live calls of the SDK, blocking and for asyncio: audio goes, results come, and errors keep their reasons."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from client.standin import StandIn

from triptych.client import AsyncClient, Client
from triptych.core.errors import MediaCorrupt
from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_OPUS,
    LIVE_ENCODING_PCM_F32LE,
    LIVE_ENCODING_PCM_S16LE,
    LiveConfig,
    LiveTranscribeResponse,
)

CONFIG = LiveConfig(encoding=LIVE_ENCODING_PCM_S16LE, sample_rate_hz=16_000)


async def of(pieces: Iterator[bytes] | list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def names(events: list[LiveTranscribeResponse]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


async def test_audio_goes_and_results_come(server: StandIn) -> None:
    async with AsyncClient(server.target, api_key="secret") as client:
        events = [event async for event in client.live_transcribe(of([b"12", b"3456"]), CONFIG)]
    assert names(events) == ["started", "interim", "interim", "final"]
    assert events[2].interim.stable_text == "2"
    assert events[-1].final.result.text == "2 4"
    assert server.speech.requests == [CONFIG]
    assert server.speech.metadata[0]["authorization"] == "Bearer secret"


async def test_a_blocking_client_does_the_same(server: StandIn) -> None:
    def run() -> list[LiveTranscribeResponse]:
        with Client(server.target) as client:
            return list(client.live_transcribe(iter([b"12", b"3456"]), CONFIG))

    events = await asyncio.to_thread(run)
    assert names(events) == ["started", "interim", "interim", "final"]
    assert events[-1].final.result.text == "2 4"


@pytest.mark.parametrize(
    ("config", "audio", "sizes"),
    [
        (CONFIG, bytes(150_000), "65536 65536 18928"),
        (LiveConfig(encoding=LIVE_ENCODING_PCM_F32LE, channel_count=6), bytes(131_000), "65520 65480"),
        (LiveConfig(encoding=LIVE_ENCODING_OPUS), bytes(100_000), "100000"),
        (CONFIG, b"", ""),
    ],
)
async def test_long_pieces_are_cut_between_frames(
    server: StandIn, config: LiveConfig, audio: bytes, sizes: str
) -> None:
    async with AsyncClient(server.target) as client:
        events = [event async for event in client.live_transcribe(of([audio]), config)]
    assert events[-1].final.result.text == sizes


async def test_a_reason_arrives_however_busily_audio_is_sent(server: StandIn) -> None:
    server.speech.refuse_after = 3
    async with AsyncClient(server.target) as client:
        for _ in range(20):
            with pytest.raises(MediaCorrupt) as refused:
                async for _event in client.live_transcribe(of(itertools.repeat(bytes(8000))), CONFIG):
                    pass
            assert refused.value.metadata["resume_ms"] == "5"


async def test_a_blocking_client_is_told_the_reason_too(server: StandIn) -> None:
    server.speech.refuse_after = 3

    def run() -> None:
        with Client(server.target) as client:
            for _ in range(20):
                with pytest.raises(MediaCorrupt):
                    list(client.live_transcribe(itertools.repeat(bytes(8000)), CONFIG))

    await asyncio.to_thread(run)


async def test_what_the_audio_raises_comes_after_the_results(server: StandIn) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"12"
        raise OSError("unplugged")

    async with AsyncClient(server.target) as client:
        events = client.live_transcribe(broken(), CONFIG)
        told = [await anext(events) for _ in range(3)]
        assert told[-1].final.result.text == "2"
        with pytest.raises(OSError, match="unplugged"):
            await anext(events)


async def test_who_stops_listening_ends_the_call_and_the_audio(server: StandIn) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"12"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with AsyncClient(server.target) as client:
        events = client.live_transcribe(endless(), CONFIG)
        async for event in events:
            if event.HasField("interim"):
                break
        await events.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(ended.wait(), 5)
    assert ended.is_set()
