"""The commands against a real server: what they print, what programs get, how they end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from client.standin import StandIn

from triptych.cli.__main__ import cli
from triptych.core import errors
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrMode

Triptych = Callable[..., Awaitable[Result]]

ANSWER = JobResult(
    reasoning={
        "answer": {"status": 1, "text": "$610.00 [e1]", "groundedness": 1.0},
        "evidence": [
            {
                "evidence_id": "e1",
                "document_id": "d1",
                "quote": "Total\n$610.00",
                "quote_match": 1,
                "page": {"page_number": 2, "polygon": [0.1, 0.2, 0.35, 0.2, 0.35, 0.25, 0.1, 0.25]},
            },
            {
                "evidence_id": "e2",
                "document_id": "d2",
                "quote": "six hundred and ten",
                "quote_match": 2,
                "audio": {"start_ms": 63_120, "end_ms": 65_480},
            },
        ],
        "stages": [
            {"stage": "ocr", "model": {"model": "reader", "revision": "r1", "licence": "Apache-2.0"}},
            {"stage": "answer", "model": {"model": "reader", "revision": "r1", "licence": "Apache-2.0"}},
            {"stage": "verify"},
        ],
    }
)


@pytest.fixture
async def triptych(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Triptych:
    monkeypatch.setenv("TRIPTYCH_TARGET", server.target)
    monkeypatch.chdir(tmp_path)

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, args, catch_exceptions=False)

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "invoice.pdf", tmp_path / "memo.ogg"]
    for path in paths:
        path.write_bytes(b"bytes")
    return [str(path) for path in paths]


async def test_ask_prints_answer_status_and_where_it_stands(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    server.jobs.outcome = {"result": ANSWER}
    result = await triptych("ask", "What is due?", *files)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "$610.00 [e1]",
        "status: answered, groundedness 1.00",
        '[e1]  invoice.pdf  page 2, x 10-35% y 20-25%  "Total $610.00"  (exact)',
        '[e2]  memo.ogg  01:03.120 - 01:05.480  "six hundred and ten"  (fuzzy)',
        "models: reader@r1 (Apache-2.0)",
    ]
    assert result.stderr.splitlines() == ["decode", "text"]


async def test_ask_gives_programs_one_object(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    server.jobs.outcome = {"result": ANSWER}
    result = await triptych("ask", "What is due?", *files, "--json")
    answer = json.loads(result.stdout)
    assert answer["job"] == "jobs/1"
    assert answer["answer"]["status"] == "ANSWER_STATUS_ANSWERED"
    assert answer["evidence"][1]["audio"]["start_ms"] == 63_120
    assert result.stderr == ""


async def test_ask_writes_a_report(server: StandIn, triptych: Triptych, files: list[str], tmp_path: Path) -> None:
    server.jobs.outcome = {"result": ANSWER}
    folder = tmp_path / "report"
    result = await triptych("ask", "What <b>is</b> due?", *files, "--render", str(folder))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"report: {folder / 'index.html'}"
    # These files are made of nothing, so there is nothing to see; the answer is not lost for that.
    assert "no picture: invoice.pdf" in result.stderr
    page = (folder / "index.html").read_text("utf-8")
    assert "What &lt;b&gt;is&lt;/b&gt; due?" in page
    assert "01:03.120 - 01:05.480" in page
    told = json.loads((await triptych("ask", "What is due?", *files, "--render", str(folder), "--json")).stdout)
    assert told["report"] == str(folder / "index.html")
    (folder / "index.html").write_text("<title>Mine</title>")
    for name, why in ((str(folder), "is no report of ours"), ("", "the name is empty")):
        refused = await triptych("ask", "What?", *files, "--render", name)
        assert (refused.exit_code, why in refused.stderr) == (2, True)
    assert (folder / "index.html").read_text() == "<title>Mine</title>"


async def test_ask_ends_with_4_if_the_documents_do_not_say(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    server.jobs.outcome = {"result": JobResult(reasoning={"answer": {"status": 3, "text": "not found"}})}
    result = await triptych("ask", "What is due?", *files)
    assert result.exit_code == 4
    assert "status: not found" in result.stdout


async def test_transcribe_prints_a_line_per_segment(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    segment = {"start_ms": 0, "end_ms": 1500, "text": "hello there"}
    server.jobs.outcome = {"result": JobResult(transcription={"text": "hello there", "segments": [segment]})}
    assert (await triptych("transcribe", files[1])).stdout == "00:00.000 - 00:01.500  hello there\n"
    assert (await triptych("transcribe", files[1], "--format", "text")).stdout == "hello there\n"
    assert json.loads((await triptych("transcribe", files[1], "--json")).stdout)["text"] == "hello there"


async def test_ocr_prints_pages_and_says_which_one_failed(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    bad = {"page_number": 2, "error": errors.MediaCorrupt("no such stream").to_status()}
    line = {"text": "one", "polygon": [0, 0, 0.5, 0, 0.5, 0.1, 0, 0.1]}
    good = {"page_number": 1, "text": "one", "lines": [line]}
    server.jobs.outcome = {"result": JobResult(ocr={"pages": [good, bad]})}
    result = await triptych("ocr", files[0], "--pages", "1-2")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == ["--- page 1 ---", "one"]
    assert "error: page 2: no such stream" in result.stderr
    assert "x 0-50% y 0-10%  one" in (await triptych("ocr", files[0], "--lines")).stdout


async def test_ocr_writes_markdown_where_layout_is_asked_for(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    lines = [{"text": "Report", "polygon": [0, 0, 0.5, 0, 0.5, 0.1, 0, 0.1]}, {"text": "one", "polygon": [0] * 8}]
    blocks = [
        {"kind": "BLOCK_KIND_TITLE", "line_indices": [0], "markdown": "# Report"},
        {"kind": "BLOCK_KIND_PARAGRAPH", "line_indices": [1], "markdown": "one"},
    ]
    page = {"page_number": 1, "text": "Report\none", "lines": lines, "blocks": blocks}
    server.jobs.outcome = {"result": JobResult(ocr={"pages": [page]})}
    assert (await triptych("ocr", files[0], "--layout")).stdout == "# Report\n\none\n"
    assert [spec.ocr.config.mode for spec in server.jobs.specs] == [OcrMode.OCR_MODE_LAYOUT]


async def test_purge_tells_what_went_and_that_nothing_is_left(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    result = await triptych("purge", "--document", files[0], "--yes")
    assert (result.exit_code, result.stdout) == (0, "removed: 2 jobs, 12 units, 14 blobs\nleft: nothing\n")
    await triptych("purge", "--document", f"blobs/sha256-{'0' * 64}", "--yes")
    assert json.loads((await triptych("purge", "--tenant", "--yes", "--json")).stdout)["remaining_count"] == "0"
    digest = hashlib.sha256(b"bytes").hexdigest()
    assert [request.document for request in server.blobs.purges] == [
        f"blobs/sha256-{digest}", f"blobs/sha256-{'0' * 64}", "",
    ]  # fmt: skip


async def test_purge_ends_with_1_if_anything_is_left(server: StandIn, triptych: Triptych) -> None:
    server.blobs.remaining_count = 3
    result = await triptych("purge", "--tenant", "--yes")
    assert result.exit_code == 1
    assert "left: 3 traces" in result.stdout


async def test_purge_asks_first_and_wants_to_know_what(server: StandIn, triptych: Triptych) -> None:
    assert (await triptych("purge", "--tenant")).exit_code == 1, "nobody said yes"
    assert (await triptych("purge")).exit_code == 2
    assert (await triptych("purge", "--tenant", "--document", "x")).exit_code == 2
    assert (await triptych("purge", "--document", "no such file", "--yes")).exit_code == 2
    assert server.blobs.purges == []


async def test_see_prints_what_the_model_says(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    server.jobs.outcome = {"result": JobResult(vision={"text": "a cat"})}
    assert (await triptych("see", files[0], "What is this?")).stdout == "a cat\n"


async def test_see_holds_the_output_to_what_is_asked_for(
    server: StandIn, triptych: Triptych, files: list[str], tmp_path: Path
) -> None:
    server.jobs.outcome = {"result": JobResult(vision={"text": "{}", "output_json": "{}"})}
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}', "utf-8")
    for options in (
        ("--schema", str(schema)),
        ("--regex", "[a-z]+"),
        ("--choice", "yes", "--choice", "no"),
        ("--copy",),
    ):
        assert (await triptych("see", files[0], "What?", *options)).stdout == "{}\n"
    configs = [spec.vision.config for spec in server.jobs.specs]
    assert [config.output_json_schema for config in configs] == ['{"type": "object"}', "", "", ""]
    assert [config.output_regex for config in configs] == ["", "[a-z]+", "", ""]
    assert [list(config.output_choices) for config in configs] == [[], [], ["yes", "no"], []]
    assert [config.enable_copying for config in configs] == [False, False, False, True]
    assert (await triptych("see", files[0], "What?", "--copy", "--regex", "a")).exit_code == 2


@pytest.mark.parametrize(("content", "why"), [(b"", "is empty"), (b'{"title": "\xe9"}', "is not in UTF-8")])
async def test_see_refuses_a_file_that_holds_no_schema(
    server: StandIn, triptych: Triptych, files: list[str], tmp_path: Path, content: bytes, why: str
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_bytes(content)
    refused = await triptych("see", files[0], "What?", "--schema", str(schema))
    assert refused.exit_code == 2
    assert why in refused.stderr
    assert not server.jobs.specs


async def test_a_password_goes_along_however_it_is_given(
    server: StandIn, triptych: Triptych, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.jobs.outcome = {"result": JobResult(ocr={"pages": [{"page_number": 1, "text": "one"}]})}
    await triptych("ocr", files[0], "--password", "secret")
    monkeypatch.setenv("TRIPTYCH_PASSWORD", "of the shell")
    await triptych("ocr", files[0])
    asking = ("ocr", files[0], "--password", "-")
    asked = await asyncio.to_thread(CliRunner().invoke, cli, asking, input="typed\n")
    assert [spec.ocr.input.password for spec in server.jobs.specs] == ["secret", "of the shell", "typed"]
    assert asked.stdout == "one\n"
    assert "typed" not in asked.output
    server.jobs.outcome = {"result": JobResult(reasoning={"answer": {"text": "610", "status": 1}})}
    await triptych("ask", "How much?", *files, "--password", "secret")
    assert [document.input.password for document in server.jobs.specs[-1].reasoning.documents] == ["secret", "secret"]


async def test_a_failed_job_is_one_sentence_and_exit_code_1(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    server.jobs.outcome = {"error": errors.MediaEncrypted("the PDF is encrypted").to_status()}
    result = await triptych("ocr", files[0])
    assert result.exit_code == 1
    assert (
        "error: the PDF is encrypted\nhint: give the password with --password or TRIPTYCH_PASSWORD\n" in result.stderr
    )
    facts = json.loads((await triptych("ocr", files[0], "--json")).stdout)["error"]
    assert facts["reason"] == "MEDIA_ENCRYPTED"
    assert facts["metadata"]["job"].startswith("jobs/")


async def test_a_job_that_takes_too_long_is_cancelled(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    server.jobs.hang = True
    result = await triptych("transcribe", files[1], "--timeout", "0.5")
    assert result.exit_code == 5
    assert server.jobs.cancelled == ["jobs/1"]


async def test_ctrl_c_cancels_the_job(server: StandIn, files: list[str]) -> None:
    server.jobs.hang = True
    command = (sys.executable, "-m", "triptych.cli", "transcribe", files[1], "--target", server.target)
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            await server.jobs.watched.wait()
            process.send_signal(signal.SIGINT)
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130, said.decode()
    assert server.jobs.cancelled == ["jobs/1"]
    assert b"cancelled jobs/1" in said


async def test_jobs_can_be_listed_shown_watched_and_cancelled(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    await triptych("transcribe", files[1])
    assert (await triptych("jobs", "list")).stdout.startswith("jobs/1\t")
    assert json.loads((await triptych("jobs", "list", "--json")).stdout)[0]["name"] == "jobs/1"
    assert "state: succeeded" in (await triptych("jobs", "get", "1")).stdout
    assert "hello" in (await triptych("jobs", "get", "jobs/1")).stdout
    assert (await triptych("jobs", "watch", "1")).stdout.splitlines() == ["running", "decode", "text", "succeeded"]
    server.jobs.ended = True  # its end is the first thing that a late watch hears
    assert (await triptych("jobs", "watch", "1")).stdout.splitlines() == ["running", "decode", "text", "succeeded"]
    server.jobs.ended = False
    lines = (await triptych("jobs", "watch", "1", "--json")).stdout.splitlines()
    assert [json.loads(line)["cursor"] for line in lines] == ["1", "2", "3", "4"]
    assert (await triptych("jobs", "cancel", "1")).stdout == "jobs/1: cancelling\n"
    server.jobs.outcome = {"result": ANSWER}
    await triptych("ask", "What is due?", *files)
    assert "[e1]  d1  page 2, x 10-35% y 20-25%" in (await triptych("jobs", "get", "2")).stdout
    missing = await triptych("jobs", "get", "none")
    assert missing.exit_code == 4
    assert "hint: `triptych jobs list`" in missing.stderr


async def test_nobody_there_is_exit_code_3_with_a_hint(triptych: Triptych, files: list[str]) -> None:
    result = await triptych("ocr", files[0], "--target", "127.0.0.1:1")
    assert result.exit_code == 3
    assert "cannot reach the services at 127.0.0.1:1" in result.stderr
    assert "triptych up" in result.stderr
    status = await triptych("status", "--target", "127.0.0.1:1", "--json")
    assert status.exit_code == 3
    assert json.loads(status.stdout)["stack"] is None


async def test_status_shows_the_queues(triptych: Triptych) -> None:
    result = await triptych("status", "--json")
    assert result.exit_code == 0
    assert [queue["worker_count"] for queue in json.loads(result.stdout)["queues"]] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "args", [("ocr", "none.pdf"), ("ask", "alone"), ("unknown",), ("ocr", "invoice.pdf", "--pages", "3-1")]
)
async def test_wrong_usage_is_exit_code_2(triptych: Triptych, files: list[str], args: tuple[str, ...]) -> None:
    assert (await triptych(*args)).exit_code == 2


async def test_wrong_usage_is_an_object_too_for_programs(triptych: Triptych, files: list[str]) -> None:
    for args in (("ocr", "none.pdf"), ("jobs", "list", "--limit", "0"), ("ocr", files[0], "--pages", "3-1")):
        result = await triptych(*args, "--json")
        assert result.exit_code == 2
        assert json.loads(result.stdout)["error"]["reason"] == "FIELD_INVALID"


async def test_an_empty_file_is_wrong_usage(triptych: Triptych, tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").touch()
    result = await triptych("ocr", "empty.pdf")
    assert result.exit_code == 2
    assert "empty.pdf is empty" in result.stderr


async def test_silence_and_blank_pages_are_said_to_be_so(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    server.jobs.outcome = {"result": JobResult(transcription={})}
    assert "no speech was found" in (await triptych("transcribe", files[1])).stderr
    server.jobs.outcome = {"result": JobResult(ocr={"pages": [{"page_number": 1}]})}
    assert "no text was found" in (await triptych("ocr", files[0])).stderr


async def test_a_failed_part_of_an_answer_keeps_its_hint(server: StandIn, triptych: Triptych, files: list[str]) -> None:
    failed = errors.StageFailed(
        "document 'd1' failed: locked", metadata={"reason": "MEDIA_ENCRYPTED", "document_id": "d1"}
    )
    server.jobs.outcome = {"error": failed.to_status()}
    said = (await triptych("ask", "What?", files[0])).stderr
    assert "error: 'invoice.pdf' failed: locked\nhint: give the password with --password or TRIPTYCH_PASSWORD\n" in said


@pytest.mark.parametrize(
    ("cause", "message", "document", "more", "hint"),
    [
        (
            "MEDIA_ENCRYPTED",
            "locked",
            "d1.2",
            {"hint": "unpack it first"},
            "unpack it first; or --allow-partial of ask",
        ),
        ("MEDIA_CORRUPT", "damaged", "d1.2", {}, "--allow-partial of ask"),
        ("MEDIA_TYPE_UNSUPPORTED", "RTF: save it as .docx", "d1.1", {}, "--allow-partial of ask"),
        ("MEDIA_TYPE_UNSUPPORTED", "is no document", "d1", {}, "give a text an ending such as .txt; docs/inputs.md"),
        ("INPUT_TOO_LARGE", "4000001 characters", "d1", {}, "split it; docs/inputs.md, Bounds"),
    ],
)
async def test_what_can_be_done_about_a_document_is_said(
    server: StandIn, triptych: Triptych, files: list[str], cause: str, message: str, document: str,
    more: dict[str, str], hint: str,
) -> None:  # fmt: skip
    failed = errors.StageFailed(message, metadata={"reason": cause, "document_id": document, **more})
    server.jobs.outcome = {"error": failed.to_status()}
    assert f"error: {message}\nhint: {hint}" in (await triptych("ask", "What?", files[0])).stderr


async def test_a_question_goes_on_without_what_cannot_be_read_if_that_is_allowed(
    server: StandIn, triptych: Triptych, files: list[str]
) -> None:
    for args in (("ask", "What?"), ("ask", "What?", "--allow-partial"), ("reason", "summarize", "--allow-partial")):
        await triptych(*args, files[0])
    assert [spec.reasoning.config.allow_partial_documents for spec in server.jobs.specs] == [False, True, True]


async def test_a_wrong_setting_is_named(triptych: Triptych, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_LEASE_S", "soon")
    result = await triptych("ocr", files[0])
    assert result.exit_code == 2
    assert "TRIPTYCH_LEASE_S" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from triptych.cli.__main__ import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print([name for name in ('grpc', 'rich', 'pydantic', 'google', 'celery') if name in sys.modules])\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert said.stdout.endswith("[]\n")
    assert "Exit codes" in said.stdout


async def test_every_command_explains_itself(triptych: Triptych) -> None:
    from triptych.cli.__main__ import COMMANDS

    for name in COMMANDS:
        result: Any = await triptych(name, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout


async def test_the_client_commands_need_no_extras(server: StandIn, files: list[str]) -> None:
    extras = ("celery", "redis", "numpy", "PIL", "pypdfium2", "av", "torch", "uvloop", "grpc_health", "jsonschema")
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({extras!r}))\nfrom triptych.cli.__main__ import main\nmain()\n"
    )
    command = (sys.executable, "-c", script, "transcribe", files[1], "--format", "text", "--target", server.target)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert said == b"hello\n"


async def test_up_without_pulling_names_the_weights_that_are_missing(
    triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_MODELS_DIR", str(tmp_path / "none"))
    result = await triptych("up", "--no-pull", "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 4
    assert "weights are missing: whisper-base, pp-ocrv6-small" in result.stderr
    assert "triptych models pull" in result.stderr
