"""Calls that come together run together, and nobody's text changes for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.papers import png

from triptych.v1.job_pb2 import CachePolicy, JobOptions

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]
CALLERS = 16
# Otherwise equal calls would share one result instead of a batch.
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)


def test_16_concurrent_recognize_calls_share_batches_and_read_the_same(stack, client):
    files = [png(f"Invoice number {1000 + n}", f"Total due {n}.50 EUR") for n in range(4)]
    single = [client.recognize(file, options=ANEW).pages[0].text for file in files]
    assert single[2].splitlines()[0] == "Invoice number 1002"
    before = stack.batches("worker-ocr")
    with ThreadPoolExecutor(CALLERS) as pool:
        texts = list(pool.map(lambda n: client.recognize(files[n % 4], options=ANEW).pages[0].text, range(CALLERS)))
    batches, items = (after - was for after, was in zip(stack.batches("worker-ocr"), before, strict=True))
    assert texts == [single[n % 4] for n in range(CALLERS)]
    assert items == CALLERS
    assert batches < items


def test_16_concurrent_transcribe_calls_share_batches_and_hear_the_same(stack, client, data_dir):
    clips = sorted(path for path in (data_dir / "audio").iterdir() if path.suffix != ".md")
    single = {clip: client.transcribe(clip, options=ANEW).text for clip in clips}
    assert any(single.values())
    before = stack.batches("worker-transcription")
    asked = [clips[n % len(clips)] for n in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        texts = list(pool.map(lambda clip: client.transcribe(clip, options=ANEW).text, asked))
    batches, items = (after - was for after, was in zip(stack.batches("worker-transcription"), before, strict=True))
    assert texts == [single[clip] for clip in asked]
    assert batches < items


def test_concurrent_generate_calls_share_batches_and_say_the_same(stack, client):
    files = [png(f"Invoice number {4000 + n}", f"Total due {n}.25 EUR") for n in range(3)]
    question = "What is the invoice number? Answer with the number only."
    single = [client.generate(question, [file], options=ANEW).text for file in files]
    assert "4001" in single[1]
    before = stack.batches("worker-vision")
    with ThreadPoolExecutor(9) as pool:
        texts = list(pool.map(lambda n: client.generate(question, [files[n % 3]], options=ANEW).text, range(9)))
    answers, together = (after - was for after, was in zip(stack.batches("worker-vision"), before, strict=True))
    assert texts == [single[n % 3] for n in range(9)]
    # Of each answer it is told in what company it ran, as answers join and leave.
    assert answers == 9
    assert together > answers
