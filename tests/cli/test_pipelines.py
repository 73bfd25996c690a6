"""`triptych pipelines` and `triptych reason`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from client.standin import StandIn

from triptych.cli.__main__ import cli
from triptych.v1.job_pb2 import JobResult
from triptych.v1.reasoning_service_pb2 import Pipeline

Triptych = Callable[..., Awaitable[Result]]
WRONG = "description: Our own.\nquestion: none\nstages: [read, summarise, verify]\n"


@pytest.fixture
def triptych(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Triptych:
    monkeypatch.setenv("TRIPTYCH_TARGET", server.target)

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, args, catch_exceptions=False)

    return run


async def test_pipelines_are_listed_with_what_is_wrong(server: StandIn, triptych: Triptych) -> None:
    server.reasoning.pipelines = [
        Pipeline(name="answer", description="A question.", digest="sha256-a", question=1),
        Pipeline(name="own", custom=True, error="own.yaml:3: no stage"),
    ]  # fmt: skip
    listed = await triptych("pipelines", "list")
    assert listed.stdout.splitlines() == [
        "answer\tshipped\trequired\tsha256-a\tA question.\t",
        "own\tcustom\t\t\t\town.yaml:3: no stage",
    ]
    assert json.loads((await triptych("pipelines", "list", "--json")).stdout)[1]["error"] == "own.yaml:3: no stage"


def test_a_file_and_a_folder_are_checked_without_services(tmp_path: Path) -> None:
    wrong, right = tmp_path / "own.yaml", tmp_path / "right.yaml"
    wrong.write_text(WRONG)
    right.write_text(WRONG.replace("summarise", "summarize"))
    found = CliRunner().invoke(cli, ["pipelines", "check", str(wrong)])
    assert found.exit_code == 1
    assert found.stdout.startswith(f"{wrong}:3: no stage is called 'summarise'; did you mean 'summarize'?")
    assert CliRunner().invoke(cli, ["pipelines", "check", str(right)]).exit_code == 0
    both = CliRunner().invoke(cli, ["pipelines", "check", str(tmp_path), "--json"])
    assert both.exit_code == 1
    assert [(one["name"], len(one["mistakes"])) for one in json.loads(both.stdout)] == [("own", 1), ("right", 0)]
    assert json.loads(both.stdout)[0]["mistakes"][0]["line"] == 3


def test_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["pipelines", "check", str(tmp_path)])
    assert found.exit_code == 2
    assert "has no file that ends in .yaml" in found.stderr


def test_what_checking_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "yaml" else object())
    found = CliRunner().invoke(cli, ["pipelines", "check", str(tmp_path)])
    assert found.exit_code == 1
    assert "checking needs yaml: pip install 'triptych[queue]'" in found.stderr


async def test_reason_runs_a_pipeline(server: StandIn, triptych: Triptych, tmp_path: Path) -> None:
    server.jobs.outcome = {"result": JobResult(reasoning={"answer": {"status": 1, "text": "invoice [e1]"}})}
    file, schema = tmp_path / "a.pdf", tmp_path / "s.json"
    file.write_bytes(b"bytes")
    schema.write_text('{"type": "object"}')
    done = await triptych("reason", "own", str(file), "--schema", str(schema), "--min-confidence", "0.5")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "invoice [e1]")
    spec = server.jobs.specs[-1].reasoning
    assert (spec.pipeline, spec.question, spec.output_json_schema) == ("own", "", '{"type": "object"}')
    assert spec.config.min_confidence == 0.5
    await triptych("reason", "own", str(file), "--question", "Who?")
    spec = server.jobs.specs[-1].reasoning
    assert (spec.question, spec.config.HasField("min_confidence")) == ("Who?", False)
    server.jobs.outcome = {"result": JobResult(reasoning={"answer": {"status": 3, "text": "no"}})}
    assert (await triptych("reason", "own", str(file))).exit_code == 4
