"""Speech that a stand-in for the worker can hear: a word is half a second of one value, silence is zeros."""

import asyncio
import io
import wave
from array import array

import pytest

from triptych.core.blob_choice import open_blobs
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.job_pb2 import JobResult
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.v1.transcription_service_pb2 import LIVE_ENCODING_PCM_S16LE, LiveConfig, LiveTranscribeRequest

WORD_MS, MARGIN_MS, LOUD = 500, 400, 100
PER_MS = 16


def speak(*words):
    """Samples of words, which are numbers from 1 on; they are heard as w1, w2, ..."""
    return array("h", [LOUD * word for word in words for _ in range(WORD_MS * PER_MS)]).tobytes()


def silence(ms):
    return bytes(2 * PER_MS * ms)


def heard_in(wav):
    """The transcript of a file, as the worker would give it; half of a word is heard as another one."""
    with wave.open(io.BytesIO(wav)) as file:
        samples = array("h", file.readframes(file.getnframes()))
    total_ms, runs = len(samples) // PER_MS, []
    for at_ms in range(total_ms):
        value = samples[at_ms * PER_MS]
        if value and runs and runs[-1][0] == value and runs[-1][2] == at_ms:
            runs[-1][2] = at_ms + 1
        elif value:
            runs.append([value, at_ms, at_ms + 1])
    speech = []
    for _, start_ms, end_ms in runs:
        if speech and start_ms - speech[-1].end_ms < MARGIN_MS:
            speech[-1].end_ms = min(end_ms + MARGIN_MS, total_ms)
        else:
            speech.append(TimeRange(start_ms=max(0, start_ms - MARGIN_MS), end_ms=min(end_ms + MARGIN_MS, total_ms)))
    words = [
        TranscriptWord(start_ms=start, end_ms=end, text=f"w{value // LOUD}" if end - start == WORD_MS else "half")
        for value, start, end in runs
    ]
    text = " ".join(word.text for word in words)
    result = TranscriptionResult(text=text, audio_duration_ms=total_ms, language_code="en", speech=speech)
    if words:
        segment = TranscriptSegment(
            start_ms=words[0].start_ms, end_ms=words[-1].end_ms, text=text, text_end=len(text), words=words
        )
        result.segments.append(segment)
    return result


class Hearer:
    """Hears what waits, like a worker, until the test ends; the test can hold it up and make it fail.

    Attributes:
        jobs: (record, wav) of all that were claimed.
        holds: Says of which jobs nothing is heard until `go` is set.
        loses: Says of which jobs nothing is ever heard, as if the worker had died with them.
        errors: With which the next jobs fail.
    """

    def __init__(self, worker, blobs):
        self.worker = worker
        self.blobs = blobs
        self.jobs = []
        self.holds = lambda _record: False
        self.loses = lambda _record: False
        self.go = asyncio.Event()
        self.errors = []
        self._claimed = asyncio.Condition()

    async def run(self):
        while True:
            record = await self.worker.claim("transcription")
            wav = await asyncio.to_thread(self.blobs.read, record.tenant, self.blob_of(record))
            async with self._claimed:
                self.jobs.append((record, wav))
                self._claimed.notify_all()
            if self.loses(record):
                continue
            if self.holds(record):
                await self.go.wait()
            if self.errors:
                await self.worker.fail(record, self.errors.pop(0))
            else:
                await self.worker.succeed(record, JobResult(transcription=heard_in(wav)))

    async def claimed(self, which=lambda _record: True):
        """Waits until such a job was claimed; gives it."""
        async with self._claimed:
            while not (found := [record for record, _ in self.jobs if which(record)]):
                await self._claimed.wait()
        return found[0]

    @staticmethod
    def blob_of(record):
        return record.job_spec().transcription.input.blob

    @staticmethod
    def is_look(record):
        return record.job_spec().transcription.config.beam_size == 1


@pytest.fixture
async def hearer(worker, settings):
    hearer = Hearer(worker, open_blobs(settings))
    running = asyncio.create_task(hearer.run())
    yield hearer
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def config(**fields):
    values = {"encoding": LIVE_ENCODING_PCM_S16LE, "sample_rate_hz": 16_000, "interim_results": True} | fields
    return LiveTranscribeRequest(config=LiveConfig(**values))


class LiveCaller:
    """One call: sends when the test says so, and keeps what is told."""

    def __init__(self, client, **call):
        self.call = client.transcription.LiveTranscribe(self._messages(), **call)
        self._sent = asyncio.Queue(1)
        self._events = aiter(self.call)
        self.told = []

    async def _messages(self):
        while message := await self._sent.get():
            yield message

    async def write(self, message):
        await self._sent.put(message)

    async def send(self, samples, piece_ms=100):
        step = 2 * PER_MS * piece_ms
        for start in range(0, len(samples), step):
            await self.write(LiveTranscribeRequest(audio=samples[start : start + step]))

    async def until(self, what):
        """Reads until an event of that name; gives its content."""
        async for event in self._events:
            self.told.append(event)
            if event.WhichOneof("event") == what:
                return getattr(event, what)
        raise AssertionError(f"the call ended without {what}")

    async def heard(self, words):
        """Reads until an interim result says these words."""
        while True:
            interim = await self.until("interim")
            if f"{interim.stable_text}{interim.unstable_text}".split() == words:
                return interim

    async def heard_of(self, word):
        """Reads until a result says this word."""
        while not any(
            f"w{word}" in event.interim.unstable_text.split() or f"w{word}" in event.interim.stable_text.split()
            for event in self.told
        ):
            await self.until("interim")

    async def rest(self):
        """Ends the audio; gives the finals that still come."""
        await self._sent.put(None)
        self.told += [event async for event in self._events]
        return self.finals()

    def finals(self):
        return [event.final for event in self.told if event.HasField("final")]

    def interims(self):
        return [event.interim for event in self.told if event.HasField("interim")]


@pytest.fixture
def live_call():
    """Begins a call: `caller = await live_call(client, silence_ms=500)`."""

    async def begin(client, *, within_s=None, **fields):
        caller = LiveCaller(client, timeout=within_s)
        await caller.write(config(**fields))
        return caller

    return begin
