"""A stream is read no faster than it is heard, and looks come when they are worth it."""

import asyncio

import pytest
from services.live.conftest import config, silence

from triptych.core.errors import AudioTimeout
from triptych.services.live.decoder import LiveDecoder
from triptych.services.live.feed import Feed
from triptych.services.live.terms import LiveTerms
from triptych.v1.transcription_service_pb2 import LiveTranscribeRequest


class Stream:
    """Messages as a test gives them, and how many were taken."""

    def __init__(self):
        self.messages = asyncio.Queue()
        self.taken = 0

    async def read(self):
        while message := await self.messages.get():
            self.taken += 1
            yield message

    def send(self, ms):
        self.messages.put_nowait(LiveTranscribeRequest(audio=silence(ms)))

    def end(self):
        self.messages.put_nowait(None)


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
async def feed(stream):
    feed = Feed(stream.read(), LiveDecoder(LiveTerms.of(config().config)), idle_s=30)
    reading = asyncio.create_task(feed.read())
    yield feed
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def settled(stream):
    """Lets everything run that can; gives how many messages were taken."""
    for _ in range(20):
        await asyncio.sleep(0)
    return stream.taken


async def test_no_more_is_read_than_thirty_seconds_ahead(stream, feed):
    for _ in range(60):
        stream.send(1000)
    assert await settled(stream) == 31
    feed.heard(5000)
    assert await settled(stream) == 36
    assert feed.sound.end_ms == 36_000


async def test_half_a_second_is_worth_a_look(stream, feed):
    stream.send(499)
    waiting = asyncio.create_task(feed.more())
    await settled(stream)
    assert not waiting.done()
    stream.send(1)
    assert await waiting


async def test_less_is_worth_it_when_no_more_comes(stream, feed):
    stream.send(100)
    assert await feed.more()
    feed.heard(100)
    stream.end()
    assert not await feed.more()
    assert feed.ended


async def test_what_the_resampler_kept_comes_at_the_end(stream):
    terms = LiveTerms.of(config(sample_rate_hz=8000).config)
    feed = Feed(stream.read(), LiveDecoder(terms), idle_s=30)
    stream.messages.put_nowait(LiveTranscribeRequest(audio=bytes(16_000)))
    stream.end()
    await feed.read()
    assert feed.sound.end_ms == 1000


async def test_empty_messages_are_no_audio(stream):
    feed = Feed(stream.read(), LiveDecoder(LiveTerms.of(config().config)), idle_s=0.3)

    async def send_nothing():
        while True:
            stream.send(0)
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(send_nothing())
    await feed.read()
    sending.cancel()
    assert feed.ended
    assert isinstance(feed.broken, AudioTimeout)
