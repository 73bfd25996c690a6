"""What the command does on this machine: finding services, checking, judging the demo."""

from __future__ import annotations

import json
import os
import shutil
import socket
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from triptych.cli import checks
from triptych.cli.__main__ import cli
from triptych.cli.ask import names_of
from triptych.cli.connection import find_services, load_settings
from triptych.cli.demo import Task, is_right, load_tasks
from triptych.cli.evidence import line, place
from triptych.cli.options import page_ranges
from triptych.cli.stack.lock import StackLock
from triptych.cli.stack.record import ProcessRecord, StackRecord
from triptych.core.settings import Settings
from triptych.v1.reasoning_pb2 import Evidence, ReasoningResult

DATA = resources.files("triptych.cli") / "demo_data"


def test_the_address_comes_from_option_setting_stack_default_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = load_settings(tmp_path)
    assert find_services("", plain).target == "127.0.0.1:50051"
    with StackLock(tmp_path):
        StackRecord(supervisor_pid=os.getpid(), state="ready", target="127.0.0.1:7").write(tmp_path)
        assert find_services("", plain).target == "127.0.0.1:7"
        monkeypatch.setenv("TRIPTYCH_TARGET", "elsewhere:1")
        assert find_services("", load_settings(tmp_path)).target == "elsewhere:1"
        assert find_services("given:2", load_settings(tmp_path)).target == "given:2"
    # The file of a stack that died misleads nobody.
    assert find_services("", plain).found_by == "default"


def test_page_ranges_are_read() -> None:
    found = [(part.first_page, part.last_page) for part in page_ranges("1-3, 5,7-")]
    assert found == [(1, 3), (5, 5), (7, 0)]


def test_doctor_gives_programs_a_list(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json", "--state-dir", str(tmp_path)])
    found = {check["name"]: check["level"] for check in json.loads(result.stdout)}
    assert found["python"] == "ok"
    assert {"redis", "port", "disk", "memory", "gpu"} <= set(found)
    assert result.exit_code == (1 if "fail" in found.values() else 0)


def test_doctor_sees_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = f"127.0.0.1:{owner.getsockname()[1]}"
        settings = Settings(state_dir=tmp_path, listen=taken)
        assert checks.port_check(settings).level == "fail"


def test_doctor_sees_a_redis_that_does_not_answer(tmp_path: Path) -> None:
    check = checks.redis_check(Settings(state_dir=tmp_path, redis_url="redis://:secret@127.0.0.1:1/0"))
    assert check.level == "fail"
    assert "secret" not in check.message


def test_doctor_sees_a_disk_on_which_services_take_no_bytes(tmp_path: Path) -> None:
    everything = shutil.disk_usage(tmp_path).total
    short = Settings(state_dir=tmp_path, min_free_disk_bytes=everything)
    assert checks.blobs_check(short).level == "fail"
    assert checks.blobs_check(short.model_copy(update={"min_free_disk_bytes": 0})).level == "ok"
    assert checks.blobs_check(short.model_copy(update={"blob_store": "redis"})).level == "ok"


def test_doctor_names_a_variable_that_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_LISTENN", "127.0.0.1:1")
    check = checks.settings_check(Settings(state_dir=tmp_path))
    assert check.level == "warn"
    assert "TRIPTYCH_LISTENN" in check.message


def test_up_starts_nothing_if_the_named_redis_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_REDIS_URL", "redis://127.0.0.1:1/0")
    result = CliRunner().invoke(cli, ["up", "--no-pull", "--state-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert "TRIPTYCH_REDIS_URL: 127.0.0.1:1/0 does not answer" in result.stderr
    assert not StackRecord.path(tmp_path).exists()


@pytest.mark.parametrize("listen", ["foo", "127.0.0.1:", ":50051", "127.0.0.1:99999"])
def test_a_wrong_address_to_listen_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    monkeypatch.setenv("TRIPTYCH_LISTEN", listen)
    result = CliRunner().invoke(cli, ["up", "--no-pull", "--state-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "TRIPTYCH_LISTEN" in result.stderr


def test_status_says_which_process_of_a_ready_stack_is_away(tmp_path: Path) -> None:
    with StackLock(tmp_path):
        away = ProcessRecord(
            name="worker-ocr", state="backoff", log="", pid=0, started_at=0, restarts=1, exit_code=-9, ready={}
        )
        StackRecord(supervisor_pid=os.getpid(), state="ready", target="127.0.0.1:1", processes=(away,)).write(tmp_path)
        result = CliRunner().invoke(cli, ["status", "--state-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == f"ready, but not worker-ocr: {tmp_path}"
    assert "ended with -9" in result.stdout


BOX = [0.25, 0.25, 0.75, 0.25, 0.75, 0.5, 0.25, 0.5]


def test_evidence_without_a_page_of_a_file_says_where_it_stands() -> None:
    part = Evidence(evidence_id="e1", document_id="d1.2", quote="7,000", text={"part": "sheet 'Costs', B7"})
    frame = Evidence(page={"page_number": 2, "polygon": BOX, "frame_ms": 63_000})
    result = ReasoningResult(
        documents=[
            {"document_id": "d1"},
            {"document_id": "d1.2", "parent_document_id": "d1", "path": "a/costs.xlsx"},
            {"document_id": "d1.2.1", "parent_document_id": "d1.2", "path": "chart.png"},
        ]
    )
    names = names_of(result, (Path("some/case.zip"),))
    assert names["d1.2.1"] == "case.zip: a/costs.xlsx: chart.png"
    assert line(part, names) == "[e1]  case.zip: a/costs.xlsx  sheet 'Costs', B7  \"7,000\"  (unspecified)"
    assert place(frame) == "frame at 01:03.000, x 25-75% y 25-50%"


def test_the_demo_believes_only_an_answer_with_words_from_the_document() -> None:
    task = Task(file="invoice_scan.pdf", question="?", expected=("610.00",))
    answer = {"status": 1, "text": "It is $610.00."}
    quoted = {"evidence_id": "e1", "quote": "610.00", "quote_match": 1}
    assert is_right(task, ReasoningResult(answer=answer, evidence=[quoted]))
    assert not is_right(task, ReasoningResult(answer=answer))
    assert not is_right(task, ReasoningResult(answer={"status": 1, "text": "61.00"}, evidence=[quoted]))
    assert not is_right(task, ReasoningResult(answer={"status": 3, "text": "610.00"}, evidence=[quoted]))


def test_the_demos_files_come_with_the_command() -> None:
    tasks = load_tasks((DATA / "demo.json").read_text(encoding="utf-8"))
    assert len(tasks) == 2
    assert all((DATA / task.file).is_file() for task in tasks)


@pytest.mark.e2e
@pytest.mark.weights
def test_a_stack_goes_up_shows_itself_and_goes_down(tmp_path: Path, models_dir: Path) -> None:
    runner = CliRunner(env={"TRIPTYCH_MODELS_DIR": str(models_dir), "TRIPTYCH_ENGINE_THREADS": "2"})
    here = ("--state-dir", str(tmp_path / "stack"))
    up = runner.invoke(cli, ["up", *here, "--no-pull", "--timeout", "240", "--json"], catch_exceptions=False)
    try:
        assert up.exit_code == 0, up.output
        assert json.loads(up.stdout)["state"] == "ready"
        status = json.loads(runner.invoke(cli, ["status", *here, "--json"]).stdout)
        assert {process["state"] for process in status["processes"]} == {"ready"}
        assert len(status["processes"]) == 6
        assert {queue["kind"] for queue in status["queues"] if queue["worker_count"]} == {
            "JOB_KIND_TRANSCRIPTION",
            "JOB_KIND_OCR",
            "JOB_KIND_VISION",
            "JOB_KIND_REASONING",
        }
    finally:
        down = runner.invoke(cli, ["down", *here, "--json"], catch_exceptions=False)
    assert json.loads(down.stdout)["stopped"]
    pids = [process["pid"] for process in status["processes"]]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    shutil.rmtree(tmp_path / "stack")
