"""Speech is transcribed while it is spoken: real service, real worker, real weights, real time."""

import itertools
import re
import threading
import time

import pytest
from workers.recordings import ENGLISH, RATE, samples, silence, wav

from triptych.v1.transcription_pb2 import TranscriptionConfig
from triptych.v1.transcription_service_pb2 import LIVE_ENCODING_PCM_S16LE, LiveConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(300)]
PIECE_MS = 40
PIECE = RATE * PIECE_MS // 1000
CONFIG = LiveConfig(
    config=TranscriptionConfig(language_code="en", enable_word_timestamps=True),
    encoding=LIVE_ENCODING_PCM_S16LE,
    sample_rate_hz=RATE,
    interim_results=True,
)
SAID = "ask not what your country can do for you ask what you can do for your country"


def spoken(*parts):
    """Yields samples when they would be heard."""
    began_s, sent = time.monotonic(), 0
    for part in parts:
        for start in range(0, len(part), PIECE):
            sent += len(part[start : start + PIECE])
            time.sleep(max(0, began_s + sent / RATE - time.monotonic()))
            yield part[start : start + PIECE].tobytes()


def plain(text):
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def of(events, kind):
    return [getattr(event, kind) for event in events if event.HasField(kind)]


def starts_of(segments):
    """Where "fellow" and "country" begin, in milliseconds."""
    words = [word for segment in segments for word in segment.words]
    return [word.start_ms for word in words if plain(word.text) in ("fellow", "country")]


def test_words_come_while_they_are_spoken_with_times_of_the_call(client):
    speech = samples(ENGLISH)
    parts = (silence(2), speech, silence(2), speech, silence(1))
    ended, told_before = threading.Event(), []

    def pieces():
        yield from spoken(*parts)
        ended.set()

    events = []
    for event in client.live_transcribe(pieces(), CONFIG):
        events.append(event)
        if not ended.is_set():
            told_before.append(event)
    finals, interims = of(events, "final"), of(events, "interim")
    # Most was told before the last word was spoken.
    assert of(told_before, "final")
    assert len(of(told_before, "interim")) >= 3
    text = plain(" ".join(final.result.text for final in finals))
    assert text.count(SAID) == 2
    # What was settled stayed, and grew.
    for number in {interim.utterance for interim in interims}:
        stable = [interim.stable_text for interim in interims if interim.utterance == number]
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(stable))
    assert any(interim.stable_text for interim in interims)
    # Words that no pause is beside are where they are in the file.
    whole = client.transcribe(wav(*parts), CONFIG.config)
    expected = starts_of(whole.segments)
    found = starts_of(segment for final in finals for segment in final.result.segments)
    assert len(expected) == len(found) == 6
    assert all(abs(one - other) < 300 for one, other in zip(found, expected, strict=True))
    segments = [segment for final in finals for segment in final.result.segments]
    assert [segment.index for segment in segments] == list(range(len(segments)))
    # Finals are jobs that can be asked for; of looks nothing is left.
    assert plain(client.get_job(finals[0].job).result.transcription.text) == plain(finals[0].result.text)
    names = {job.name for job in client.list_jobs(limit=500)}
    assert {final.job for final in finals} <= names


def test_a_worker_that_is_killed_costs_a_repeat_and_not_the_call(stack, client):
    killed = stack.process("worker-transcription")["pid"]
    struck, events = False, []
    for event in client.live_transcribe(spoken(samples(ENGLISH), silence(1)), CONFIG):
        events.append(event)
        if event.HasField("interim") and not struck:
            stack.kill("worker-transcription")
            struck = True
    assert struck
    stack.until_ready("worker-transcription", not_pid=killed)
    assert SAID in plain(" ".join(final.result.text for final in of(events, "final")))


def test_a_caller_who_goes_away_leaves_nothing_running(client):
    before = {job.name for job in client.list_jobs(limit=500)}
    events = client.live_transcribe(spoken(samples(ENGLISH), silence(30)), CONFIG)
    for event in events:
        if event.HasField("interim"):
            break
    events.close()
    deadline = time.monotonic() + 20
    while left := [
        job for job in client.list_jobs(limit=500) if job.name not in before and not job.HasField("end_time")
    ]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
