"""`triptych submit`: a manifest to results, whatever comes between."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cli.deployment import PNG, Command, Deployment
from click.testing import CliRunner, Result
from client.standin import StandIn
from google.protobuf.duration_pb2 import Duration
from services.conftest import eventually

from triptych.cli.__main__ import cli
from triptych.core.errors import MediaCorrupt
from triptych.core.lookup import get
from triptych.core.store import PREFIX
from triptych.v1.job_pb2 import JobPriority, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult

Manifest = Callable[..., Path]
MIB = 1024 * 1024


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Writes a manifest beside the picture `page.png`."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "page.png").write_bytes(PNG)

    def write(*lines: dict[str, Any] | str) -> Path:
        path = folder / "files.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    return write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def pages(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{number}", "kind": "ocr", "file": "page.png"} for number in range(count)]


def results(text: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (text.read_text() if isinstance(text, Path) else text).splitlines()]


def threads(command: Command) -> int:
    return len(list(Path(f"/proc/{command.process.pid}/task").iterdir()))


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def written(out: Path, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many results are there."""

    async def there() -> bool:
        return out.exists() and len(out.read_text().splitlines()) == count  # noqa: ASYNC240 - a small file

    return there


def check(path: Path, *args: str) -> Result:
    """Runs the command where nobody serves."""
    return CliRunner().invoke(cli, ("submit", "--manifest", str(path), "--target", "127.0.0.1:1", *args))


async def test_every_line_becomes_a_result_with_its_line_id_and_job(deployment: Deployment, manifest: Manifest) -> None:
    lines = [
        {
            "id": "a", "kind": "ocr", "file": "page.png", "config": {"enable_words": True}, "pages": "1",
            "labels": {"k": "v"},
        },
        {
            "kind": "vision", "files": ["page.png", "page.png"], "prompt": "Which is larger?",
            "options": {"priority": "JOB_PRIORITY_NORMAL", "queue_timeout": "60s"},
        },
        "",
        {"kind": "reasoning", "file": "page.png", "question": "What is due?"},
        {"spec": {"ocr": {"input": {"display_name": "scan"}, "pages": [{"first_page": 1}]}}, "file": "page.png"},
    ]  # fmt: skip
    command = await deployment.begin("submit", "--manifest", manifest(*lines))
    found = {}
    for kind in ("ocr", "ocr", "vision", "reasoning"):
        record = await deployment.worker.claim(kind)
        result = None if kind == "ocr" else JobResult.FromString(JobResult(**{kind: {}}).SerializeToString())
        await deployment.worker.succeed(record, result)
        found[f"jobs/{record.id}"] = record
    said = await command.said()
    assert said.code == 0, said.err
    by_line = {result["line"]: result for result in results(said.out)}
    assert {line: result["id"] for line, result in by_line.items()} == {1: "a", 2: "", 4: "", 5: ""}
    assert {result["state"] for result in by_line.values()} == {"JOB_STATE_SUCCEEDED"}
    assert by_line[1]["result"]["ocr"]["pages"][0]["text"] == "hello"
    one, two, four, five = (found[by_line[line]["job"]] for line in (1, 2, 4, 5))
    assert (one.job_spec().ocr.config.enable_words, one.labels) == (True, {"k": "v"})
    assert (one.job_options().priority, one.job_options().queue_timeout) == (
        JobPriority.JOB_PRIORITY_BATCH, Duration(seconds=24 * 3600),
    )  # fmt: skip
    assert [len(message.parts) for message in two.job_spec().vision.messages] == [3]
    assert two.job_options().priority == JobPriority.JOB_PRIORITY_NORMAL
    assert two.job_options().queue_timeout == Duration(seconds=60)
    assert four.job_spec().reasoning.question == "What is due?"
    assert five.job_spec().ocr.input.display_name == "scan"
    assert "4 of 4 lines done: 4 succeeded, 0 failed" in said.err


async def test_many_lines_wait_side_by_side_without_a_thread_each(
    deployment: Deployment, manifest: Manifest, out: Path
) -> None:
    path = manifest(*pages(300))
    command = await deployment.begin("submit", "--manifest", path, "--output", out, "--concurrency", 300)
    await deployment.until_pending(300)
    assert threads(command) < 100
    async with deployment.working(300):
        said = await command.said()
    assert said.code == 0, said.err
    assert said.out == "300 of 300 lines done: 300 succeeded, 0 failed\n"
    assert len(said.err.splitlines()) <= 20
    found = results(out)
    assert len(found) == 300
    assert {result["id"] for result in found} == {line["id"] for line in pages(300)}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_run_goes_on_and_gives_every_line_one_job_and_one_result(
    deployment: Deployment, manifest: Manifest, out: Path, how: signal.Signals
) -> None:
    args = ("submit", "--manifest", manifest(*pages(40)), "--output", out, "--concurrency", 8)
    first = await deployment.begin(*args)
    async with deployment.working(15) as work:
        await work

        await eventually(written(out, 15))
        await deployment.until_pending(8)
        first.process.send_signal(how)
        said = await first.said()
    assert len(results(out)) == 15
    if how == signal.SIGINT:
        assert said.code == 130
        assert "15 of 40 lines done: 15 succeeded, 0 failed; the other jobs go on" in said.err
    else:  # as if it had been killed in the middle of a line
        add(out, '{"line": 7, "id": "p6", "dig')
    # They do: nobody cancelled them.
    assert {record.state for record in (await deployment.jobs())[15:]} == {JobState.JOB_STATE_PENDING}
    async with deployment.working():
        again = await deployment.triptych(*args)
    assert again.code == 0, again.err
    assert again.out == "40 of 40 lines done, 15 of them by an earlier run: 40 succeeded, 0 failed\n"
    found = results(out)
    assert sorted(result["id"] for result in found) == sorted(line["id"] for line in pages(40))
    # What was under way when it was killed was joined, not done again.
    assert {result["job"] for result in found} == {f"jobs/{record.id}" for record in await deployment.jobs()}
    assert len(await deployment.jobs()) == 40


async def test_a_full_lane_is_waited_out(deployment: Deployment, manifest: Manifest, out: Path) -> None:
    await deployment.shut()
    await deployment.start(max_pending_per_lane=2)
    # Workers were quick lately: a place is free every 100 ms.
    await deployment.store.redis.hset(f"{PREFIX}lane:ocr:2", mapping={"rate": 10, "taken_ms": time.time_ns() // 10**6})
    command = await deployment.begin("submit", "--manifest", manifest(*pages(6)), "--output", out)
    assert command.process.stderr
    assert b"waiting: 2 ocr jobs wait already" in await command.process.stderr.readline()
    async with deployment.working():
        assert (await command.said()).code == 0
    assert len(results(out)) == len(await deployment.jobs()) == 6


async def test_a_full_host_is_waited_out(
    deployment: Deployment, manifest: Manifest, out: Path, small_disk: Any
) -> None:
    await deployment.shut()
    small_disk.fill(leave_bytes=MIB // 2)
    await deployment.start(blob_dir=small_disk.path / "blobs", min_free_disk_bytes=MIB)
    command = await deployment.begin("submit", "--manifest", manifest(*pages(2)), "--output", out)
    assert command.process.stderr
    assert b"waiting: " in await command.process.stderr.readline()
    assert not await deployment.jobs()
    small_disk.clear()
    async with deployment.working():
        assert (await command.said()).code == 0
    assert len(results(out)) == len(await deployment.jobs()) == 2


async def test_services_that_go_away_are_waited_for(deployment: Deployment, manifest: Manifest, out: Path) -> None:
    command = await deployment.begin("submit", "--manifest", manifest(*pages(4)), "--output", out, "--concurrency", 2)
    await deployment.until_pending(2)
    await deployment.shut()
    async with deployment.working(2) as work:
        await work
    await deployment.start()
    async with deployment.working():
        said = await command.said()
    assert said.code == 0, said.err
    assert len(results(out)) == len(await deployment.jobs()) == 4


async def test_failed_lines_say_why_and_are_done_again_when_asked(
    deployment: Deployment, manifest: Manifest, out: Path
) -> None:
    path = manifest(*pages(3))
    (path.parent / "words.txt").write_text("no picture")
    add(path, json.dumps({"id": "text", "kind": "ocr", "file": "words.txt"}) + "\n")
    args = ("submit", "--manifest", path, "--output", out)
    command = await deployment.begin(*args, "--concurrency", 1)
    await deployment.worker.succeed(await deployment.worker.claim())
    await deployment.worker.fail(await deployment.worker.claim(), MediaCorrupt("no such stream"))
    bad_page = OcrPage(page_number=1, error=MediaCorrupt("a page is torn").to_status())
    await deployment.worker.succeed(await deployment.worker.claim(), JobResult(ocr=OcrResult(pages=[bad_page])))
    said = await command.said()
    assert (said.code, said.out) == (1, "4 of 4 lines done: 1 succeeded, 3 failed\n")
    good, bad, partly, refused = results(out)
    assert (bad["state"], bad["error"]["reason"]) == ("JOB_STATE_FAILED", "MEDIA_CORRUPT")
    assert (refused["job"], refused["error"]["reason"]) == ("", "MEDIA_TYPE_UNSUPPORTED")
    assert partly["state"] == "JOB_STATE_SUCCEEDED"

    same = await deployment.triptych(*args)
    assert (same.code, len(results(out))) == (1, 4)
    (path.parent / "words.txt").write_bytes(PNG)
    async with deployment.working():
        again = await deployment.triptych(*args, "--retry-failed", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out) == {"line_count": 4, "succeeded_count": 4, "failed_count": 0, "skipped_count": 1}
    last = {result["id"]: result for result in results(out)}
    assert len(results(out)) == 7
    assert last["p0"] == good
    assert last["p1"]["job"] not in ("", bad["job"])
    assert {result["state"] for result in last.values()} == {"JOB_STATE_SUCCEEDED"}


async def test_another_batch_name_makes_new_jobs(deployment: Deployment, manifest: Manifest) -> None:
    path = manifest(*pages(2))
    async with deployment.working():
        first = await deployment.triptych("submit", "--manifest", path)
        same = await deployment.triptych("submit", "--manifest", path)
        other = await deployment.triptych("submit", "--manifest", path, "--batch", "other")
    jobs = [{result["job"] for result in results(said.out)} for said in (first, same, other)]
    assert jobs[0] == jobs[1]
    assert not jobs[0] & jobs[2]


async def test_a_line_whose_file_changed_is_done_again(deployment: Deployment, manifest: Manifest, out: Path) -> None:
    path = manifest(*pages(1))
    async with deployment.working():
        await deployment.triptych("submit", "--manifest", path, "--output", out)
        (path.parent / "page.png").write_bytes(PNG + b"more")
        await deployment.triptych("submit", "--manifest", path, "--output", out)
    before, after = results(out)
    assert before["digest"] != after["digest"]
    record = await deployment.store.run(get(after["job"].removeprefix("jobs/"), "default"))
    assert record.job_spec().ocr.input.blob != ""


async def test_equal_bytes_travel_once(manifest: Manifest) -> None:
    server = StandIn()
    await server.start()
    path = manifest(*({"id": str(number), "kind": "ocr", "file": "large.png"} for number in range(10)))
    (path.parent / "large.png").write_bytes(PNG + bytes(2 * 1024 * 1024))
    try:
        command = ("submit", "--manifest", str(path), "--target", server.target)
        said = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "triptych.cli"), *command, stdout=asyncio.subprocess.PIPE
        )
        text, _ = await said.communicate()
    finally:
        await server.stop()
    assert len(results(text.decode())) == 10
    assert server.blobs.chunks_received == 9


def test_all_that_is_wrong_with_a_manifest_is_said_at_once(manifest: Manifest) -> None:
    wrong = [
        "{nothing",
        "[1]",
        {"kind": "ocr", "file": "none.png"},
        {"kind": "ocr", "file": "empty.png"},
        {"kind": "ocr"},
        {"kind": "dance", "file": "page.png"},
        {"kind": "ocr", "file": "page.png", "flie": "x"},
        {"kind": "ocr", "file": "page.png", "config": {"words": True}},
        {"kind": "ocr", "file": "page.png", "config": []},
        {"kind": "ocr", "file": "page.png", "pages": "3-1"},
        {"kind": "ocr", "file": "page.png", "files": []},
        {"kind": "ocr", "file": 7},
        {"kind": "ocr", "file": "page.png", "question": "Why?"},
        {"kind": "reasoning", "files": ["page.png"]},
        {"kind": "vision", "files": ["page.png"]},
        {"spec": {}},
        {"spec": {"ocr": {}}},
        {"spec": {"ocr": {"input": {"content": "AAAA"}}}, "file": "page.png"},
        {"spec": {"ocr": {}}, "file": "page.png", "kind": "ocr"},
        {"kind": "ocr", "file": "page.png", "labels": {"a": {}}},
        {"kind": "ocr", "file": "page.png", "id": 3},
        "",
        {"kind": "ocr", "file": "page.png", "id": "a", "labels": {"b": "c"}},
        {"kind": "ocr", "file": "page.png", "id": "a"},
    ]
    path = manifest(*wrong)
    (path.parent / "empty.png").touch()
    result = check(path)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert [int(line.split()[1].rstrip(":")) for line in lines] == list(range(1, 21))
    assert "22 of 23 lines of" in result.stderr
    assert "... and 2 more" in result.stderr
    assert "line 3: input: " in result.stderr
    assert "none.png is not a file" in lines[2]
    assert 'no field named "words"' in lines[7]
    facts = json.loads(check(path, "--json").stdout)["error"]
    assert (facts["reason"], "line 20: " in facts["message"]) == ("FIELD_INVALID", True)
    assert "2 of 2 lines of" in check(manifest(*wrong[2:4])).stderr


def test_a_line_that_is_there_twice_is_refused(manifest: Manifest) -> None:
    one = {"kind": "ocr", "file": "page.png"}
    other = '{"file": "page.png",   "kind": "ocr"}'
    assert "line 2: id: is missing: without one the line is the same as line 1" in check(manifest(one, other)).stderr
    twice = [{**one, "request_id": "r", "id": str(number)} for number in range(2)]
    assert "line 2: request_id: is that of line 1 too" in check(manifest(*twice)).stderr


def test_a_file_that_holds_no_results_is_left_alone(manifest: Manifest, out: Path) -> None:
    path = manifest(*pages(1))
    for text in ("notes", "notes\n", '{"line": 1}\n', '{"line": 1, "digest": "x", "job": ""}\n'):
        out.write_text(text)
        result = check(path, "--output", str(out))
        assert result.exit_code == 2
        assert "line 1 of" in result.stderr
        assert out.read_text() == text
    assert check(path, "--output", str(path)).exit_code == 2


def test_nobody_there_is_exit_code_3(manifest: Manifest) -> None:
    result = check(manifest(*pages(1)))
    assert result.exit_code == 3
    assert "triptych up" in result.stderr
