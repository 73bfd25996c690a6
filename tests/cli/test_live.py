"""`triptych live`: what is sent of a file and of standard input, and what is written."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cli.deployment import Said
from client.standin import StandIn

from triptych.v1.transcription_service_pb2 import LIVE_ENCODING_PCM_F32LE, LIVE_ENCODING_PCM_S16LE

Process = asyncio.subprocess.Process
Begin = Callable[..., Awaitable[Process]]


@pytest.fixture
async def begin(server: StandIn) -> AsyncIterator[Begin]:
    """Starts `triptych live ARGS`."""
    begun: list[Process] = []

    async def start(*args: object) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "triptych.cli", "live", *map(str, args), "--target", server.target,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: Process, given: bytes | None = None) -> Said:
    out, err = await process.communicate(given)
    assert process.returncode is not None
    return Said(code=process.returncode, out=out.decode(), err=err.decode())


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(4 * 8000))
    return path


async def test_a_file_is_spoken_as_it_would_be_and_finals_are_written(server: StandIn, begin: Begin, wav: Path) -> None:
    began_s = time.monotonic()
    found = await said(await begin(wav, "--language", "en", "--silence", "900"))
    assert time.monotonic() - began_s >= 1
    # 25 pieces of 40 ms.
    assert (found.code, found.out) == (0, f"00:01.000 - 00:02.000  {' '.join(['1280'] * 25)}\n"), found.err
    [config] = server.speech.requests
    assert (config.sample_rate_hz, config.channel_count, config.encoding) == (8000, 2, LIVE_ENCODING_PCM_S16LE)
    assert (config.config.language_code, config.endpointing.silence_ms) == ("en", 900)
    # Nobody would see what may still change.
    assert not config.interim_results


async def test_programs_get_every_event_as_a_line(server: StandIn, begin: Begin, wav: Path) -> None:
    found = await said(await begin(wav, "--json", "--fast"))
    events = [json.loads(line) for line in found.out.splitlines()]
    assert [next(iter(event)) for event in events] == ["started", *["interim"] * 25, "final"]
    assert events[1]["interim"]["unstable_text"] == " 1280"
    assert events[-1]["final"]["job"] == "jobs/7"
    assert server.speech.requests[0].interim_results


async def test_other_files_are_decoded(server: StandIn, begin: Begin, data_dir: Path) -> None:
    found = await said(await begin(data_dir / "audio" / "en-kennedy.opus", "--json", "--fast"))
    final = json.loads(found.out.splitlines()[-1])["final"]
    sent = sum(map(int, final["result"]["text"].split()))
    assert sent / 32_000 == pytest.approx(11.0, abs=0.05)
    assert server.speech.requests[0].sample_rate_hz == 16_000


async def test_a_file_without_sound_is_refused(begin: Begin, data_dir: Path) -> None:
    found = await said(await begin(data_dir / "pages" / "two_columns.pdf"))
    assert found.code == 1
    assert found.err.startswith("error: two_columns.pdf ")


async def test_standard_input_is_sent_in_whole_frames(server: StandIn, begin: Begin) -> None:
    process = await begin("-", "--rate", "8000", "--channels", "2", "--float", "--json")
    assert process.stdin
    process.stdin.write(bytes(8 * 1000 + 3))
    await asyncio.wait_for(server.speech.called.wait(), 20)
    found = await said(process, bytes(5))
    sizes = json.loads(found.out.splitlines()[-1])["final"]["result"]["text"].split()
    assert sum(map(int, sizes)) == 8 * 1001
    assert all(int(size) % 8 == 0 for size in sizes)
    [config] = server.speech.requests
    assert (config.encoding, config.channel_count) == (LIVE_ENCODING_PCM_F32LE, 2)


async def test_the_first_interrupt_ends_the_speech_and_what_was_said_is_written(
    server: StandIn, begin: Begin, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * 600))
    process = await begin(path)
    await asyncio.wait_for(server.speech.called.wait(), 20)
    process.send_signal(signal.SIGINT)
    found = await asyncio.wait_for(said(process), 20)
    assert found.code == 0, found.err
    assert found.out.startswith("00:01.000 - 00:02.000  640")


async def test_a_refusal_is_one_sentence(server: StandIn, begin: Begin, wav: Path) -> None:
    server.speech.refuse_after = 2
    found = await said(await begin(wav))
    assert (found.code, found.err) == (1, "error: no audio\n")
