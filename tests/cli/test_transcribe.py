"""`triptych transcribe`: what it asks for, what it writes, and how soon."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import srt
import webvtt
from click.testing import CliRunner, Result
from client.standin import StandIn

from triptych.cli.__main__ import cli
from triptych.v1.job_pb2 import JobResult
from triptych.v1.transcription_pb2 import ChannelMode, TranscriptionTask, TranscriptSegment, WindowMode

Triptych = Callable[..., Awaitable[Result]]
SAID = [
    TranscriptSegment(index=0, start_ms=0, end_ms=1500, text="Hello there."),
    TranscriptSegment(index=1, start_ms=2000, end_ms=3500, text="How are you?", speaker="S2"),
]


@pytest.fixture
def server(server: StandIn) -> StandIn:
    server.jobs.segments = SAID
    text = " ".join(segment.text for segment in SAID)
    server.jobs.outcome = {"result": JobResult(transcription={"text": text, "segments": SAID})}
    return server


@pytest.fixture
async def transcribe(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Triptych:
    monkeypatch.setenv("TRIPTYCH_TARGET", server.target)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memo.ogg").write_bytes(b"bytes")

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli, ("transcribe", "memo.ogg", *args), catch_exceptions=False
        )

    return run


async def test_every_option_reaches_the_services(server: StandIn, transcribe: Triptych) -> None:
    result = await transcribe(
        "--language", "de", "--words", "--translate", "--prompt", "Dear", "--hotword", "Riva", "--hotword", "Kaldi",
        "--clip", "10-20.5", "--clip", "1:30-1:00:00", "--clip", "3601-", "--stream", "2", "--channels", "separate",
        "--short-windows", "--speakers=2-4",
    )  # fmt: skip
    assert result.exit_code == 0
    config = server.jobs.specs[0].transcription.config
    assert (config.language_code, config.enable_word_timestamps, config.initial_prompt) == ("de", True, "Dear")
    assert config.task == TranscriptionTask.TRANSCRIPTION_TASK_TRANSLATE
    assert list(config.hotwords) == ["Riva", "Kaldi"]
    assert [(clip.start_ms, clip.end_ms) for clip in config.clips] == [
        (10_000, 20_500), (90_000, 3_600_000), (3_601_000, 0),
    ]  # fmt: skip
    assert config.audio_stream == 2
    assert config.channel_mode == ChannelMode.CHANNEL_MODE_SEPARATE
    assert config.window_mode == WindowMode.WINDOW_MODE_SHORT
    assert (config.speakers.min_speaker_count, config.speakers.max_speaker_count) == (2, 4)


async def test_what_is_not_asked_for_is_left_to_the_services(server: StandIn, transcribe: Triptych) -> None:
    await transcribe()
    assert not server.jobs.specs[0].transcription.config.ListFields()


@pytest.mark.parametrize(("said", "counts"), [("--speakers", (0, 0)), ("--speakers=3", (3, 3))])
async def test_how_many_speakers_can_be_left_open(
    server: StandIn, transcribe: Triptych, said: str, counts: tuple[int, int]
) -> None:
    await transcribe(said)
    config = server.jobs.specs[0].transcription.config
    assert config.HasField("speakers")
    assert (config.speakers.min_speaker_count, config.speakers.max_speaker_count) == counts


@pytest.mark.parametrize(
    "args",
    [
        ("--clip", "10"), ("--clip", "20-10"), ("--clip", "ten-20"), ("--clip", "-20"), ("--clip", "0-99999999"),
        ("--speakers=0",), ("--speakers=4-2",), ("--speakers=33",), ("--speakers", "memo.ogg"),
        ("--format", "docx"), ("--output", "a.docx"), ("--output", "memo.ogg"), ("--output", "none/a.srt"),
        ("--line-length", "9"), ("--lines", "6"), ("--longest", "31"), ("--json", "--format", "srt"),
    ],
)  # fmt: skip
async def test_wrong_usage_sends_nothing(server: StandIn, transcribe: Triptych, args: tuple[str, ...]) -> None:
    assert (await transcribe(*args)).exit_code == 2
    assert server.jobs.specs == []


async def test_lines_for_people_name_the_speaker(transcribe: Triptych) -> None:
    assert (await transcribe()).stdout.splitlines() == [
        "00:00.000 - 00:01.500  Hello there.",
        "00:02.000 - 00:03.500  [S2] How are you?",
    ]


async def test_a_format_goes_to_standard_output(server: StandIn, transcribe: Triptych) -> None:
    assert (await transcribe("--format", "text")).stdout == "Hello there.\nHow are you?\n"
    assert (await transcribe("--format", "tsv")).stdout.splitlines()[1] == "0\t1500\tHello there."
    found = list(srt.parse((await transcribe("--format", "srt", "--speakers", "--line-length", "10")).stdout))
    assert [each.content for each in found] == ["Hello\nthere.", "S2: How\nare you?"]
    asked = [spec.transcription.config.enable_word_timestamps for spec in server.jobs.specs]
    assert asked == [False, False, True], "subtitles follow the times of words"


async def test_one_job_gives_several_files(server: StandIn, transcribe: Triptych, tmp_path: Path) -> None:
    result = await transcribe("--output", "a.srt", "--output", "a.VTT", "--output", "a.txt", "--output", "a.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-4:] == [f"written: a.{suffix}" for suffix in ("srt", "VTT", "txt", "json")]
    assert [each.content for each in srt.parse((tmp_path / "a.srt").read_text("utf-8"))] == [
        "Hello there.",
        "How are you?",
    ]
    assert [each.text for each in webvtt.read("a.VTT")] == ["Hello there.", "How are you?"]
    assert (tmp_path / "a.txt").read_text("utf-8") == "Hello there.\nHow are you?\n"
    assert len(server.jobs.specs) == 1
    await transcribe("--output", "subtitles", "--format", "srt")
    assert (tmp_path / "subtitles").read_bytes() == (tmp_path / "a.srt").read_bytes()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, server: StandIn) -> None:
        self._server = server
        self._master, self._slave = pty.openpty()
        self.shown = ""

    async def start(self) -> None:
        command = (sys.executable, "-m", "triptych.cli", "transcribe", "memo.ogg", "--target", self._server.target)
        self.process = await asyncio.create_subprocess_exec(*command, stdout=self._slave, stderr=self._slave)
        os.close(self._slave)
        os.set_blocking(self._master, False)
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            self.shown += os.read(self._master, 65536).decode()
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._master)
        self._more.set()

    async def until_shown(self, text: str) -> None:
        while text not in self.shown:
            self._more.clear()
            await self._more.wait()

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


@pytest.fixture
async def terminal(server: StandIn, transcribe: Triptych) -> AsyncIterator[Terminal]:
    terminal = Terminal(server)
    yield terminal
    await terminal.close()


async def test_a_terminal_shows_segments_while_the_job_still_runs(server: StandIn, terminal: Terminal) -> None:
    server.jobs.may_end.clear()
    await terminal.start()
    await terminal.until_shown("How are you?")
    assert terminal.process.returncode is None
    server.jobs.may_end.set()
    assert await terminal.process.wait() == 0
    assert terminal.shown.count("Hello there.") == 1


async def test_segments_that_are_told_again_are_shown_once(server: StandIn, terminal: Terminal) -> None:
    server.jobs.segments = [SAID[0], SAID[0]]
    await terminal.start()
    assert await terminal.process.wait() == 0
    await terminal.until_shown("How are you?")
    assert terminal.shown.count("Hello there.") == 1


async def test_what_was_heard_anew_is_said_and_written_as_it_is_now(server: StandIn, terminal: Terminal) -> None:
    server.jobs.segments = [TranscriptSegment(index=0, start_ms=0, end_ms=1500, text="Yellow hair.")]
    await terminal.start()
    assert await terminal.process.wait() == 0
    await terminal.until_shown("How are you?")
    assert terminal.shown.index("Yellow hair.") < terminal.shown.index("heard anew") < terminal.shown.index("Hello")
