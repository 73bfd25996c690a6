"""`triptych ocr`: what it asks for and what it writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from client.standin import StandIn
from read_papers import line, page, result

from triptych.cli.__main__ import cli
from triptych.core.errors import MediaCorrupt
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import EmbeddedTextPolicy, OcrPage
from triptych.v1.ocr_service_pb2 import PagesFormat

Triptych = Callable[..., Awaitable[Result]]
READ = result(page(line("Hello wide world", 0.1, 0.1, 0.5)), page(line("Bye", 0.1, 0.1, 0.5), number=2))


@pytest.fixture
def server(server: StandIn) -> StandIn:
    server.jobs.outcome = {"result": JobResult(ocr=READ)}
    return server


@pytest.fixture
async def ocr(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Triptych:
    monkeypatch.setenv("TRIPTYCH_TARGET", server.target)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.png").write_bytes(b"bytes")

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ("ocr", "scan.png", *args), catch_exceptions=False)

    return run


async def test_every_option_reaches_the_services(server: StandIn, ocr: Triptych) -> None:
    await ocr("--pages", "2-3,5", "--model", "m", "--language", "de", "--words", "--ignore-text-layer")
    spec = server.jobs.specs[0].ocr
    assert [(each.first_page, each.last_page) for each in spec.pages] == [(2, 3), (5, 5)]
    assert (spec.config.model, list(spec.config.language_codes), spec.config.enable_words) == ("m", ["de"], True)
    assert spec.config.embedded_text_policy == EmbeddedTextPolicy.EMBEDDED_TEXT_POLICY_IGNORE


async def test_text_is_for_people_unless_a_format_is_asked_for(server: StandIn, ocr: Triptych) -> None:
    assert (await ocr()).stdout == "--- page 1 ---\nHello wide world\n--- page 2 ---\nBye\n"
    assert (await ocr("--format", "text")).stdout == "Hello wide world\n\fBye\n"
    assert (await ocr("--format", "hocr")).stdout.startswith("<?xml")
    asked = [spec.ocr.config.enable_words for spec in server.jobs.specs]
    assert asked == [False, False, True], "places of words are asked for where they are written"


async def test_one_job_gives_several_files(server: StandIn, ocr: Triptych, tmp_path: Path) -> None:
    names = ["a.txt", "a.md", "a.html", "a.hocr", "a.XML", "a.json", "a.pdf"]
    answer = await ocr(*(part for name in names for part in ("--output", name)))
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert answer.stderr.splitlines()[-len(names) :] == [f"written: {name}" for name in names]
    assert (tmp_path / "a.txt").read_text("utf-8") == "Hello wide world\n\fBye\n"
    assert "alto" in (tmp_path / "a.XML").read_text("utf-8")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["source_page_count"] == 2
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")
    assert len(server.jobs.specs) == 1
    (request,) = server.ocr.formats
    assert (request.job, request.format) == ("jobs/1", PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF)
    await ocr("--output", "searchable", "--format", "pdf")
    assert (tmp_path / "searchable").read_bytes() == (tmp_path / "a.pdf").read_bytes()


async def test_a_pdf_goes_to_a_pipe_as_it_is(ocr: Triptych) -> None:
    assert (await ocr("--format", "pdf")).stdout_bytes == b"%PDF-" + b"x" * 700_000


async def test_a_page_that_failed_is_told_and_the_files_are_written(
    server: StandIn, ocr: Triptych, tmp_path: Path
) -> None:
    failed = OcrPage(page_number=2, error=MediaCorrupt("torn").to_status())
    server.jobs.outcome = {"result": JobResult(ocr=result(READ.pages[0], failed))}
    answer = await ocr("--output", "a.txt")
    assert answer.exit_code == 1
    assert "error: page 2: torn" in answer.stderr
    assert (tmp_path / "a.txt").read_text("utf-8") == "Hello wide world\n\f"


@pytest.mark.parametrize(
    "args",
    [
        ("--format", "docx"), ("--output", "a.docx"), ("--output", "scan.png"), ("--output", "none/a.pdf"),
        ("--json", "--format", "alto"),
    ],
)  # fmt: skip
async def test_wrong_usage_sends_nothing(server: StandIn, ocr: Triptych, args: tuple[str, ...]) -> None:
    assert (await ocr(*args)).exit_code == 2
    assert server.jobs.specs == []
