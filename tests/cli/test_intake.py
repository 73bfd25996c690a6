"""`triptych intake`: folders, manifests and mailboxes to results, against real services."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import urllib.request
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cli.deployment import PNG, Command, Deployment
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from services.conftest import eventually

from triptych.cli.__main__ import cli
from triptych.cli.intake.listing import listed, order_of
from triptych.cli.intake.terms import terms_of
from triptych.core.errors import MediaCorrupt
from triptych.core.lookup import get
from triptych.v1.job_pb2 import DataClass, JobPriority, JobResult


def png(number: int) -> bytes:
    """A picture that is no other's; what stands behind its end no decoder minds."""
    return PNG + bytes([number])


def results(out: Path) -> list[dict[str, Any]]:
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def have(out: Path, count: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return len(results(out)) >= count

    return there


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def moved(folder: Path, *names: str) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return names_in(folder) == {*names}

    return there


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def watch(deployment: Deployment, inbox: Path, out: Path, *args: object) -> Command:
    kind = () if "--kind" in args or "--question" in args else ("--kind", "ocr")
    return await deployment.begin("intake", "watch", inbox, "--out", out, "--settle", 0.2, *kind, *args)


async def ended(command: Command, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    command.process.send_signal(how)
    said = await command.said()
    return said.code, said.err


async def lines_until(stream: asyncio.StreamReader | None, text: str) -> str:
    assert stream
    while text not in (line := (await asyncio.wait_for(stream.readline(), 30)).decode()):
        assert line
    return line


async def test_a_watch_moves_files_when_their_results_are_there(deployment: Deployment, inbox: Path, out: Path) -> None:
    (inbox / "first.png").write_bytes(png(1))
    command = await watch(deployment, inbox, out, "--csv", "--metrics-port", 0, "--label", "from=scanner")
    url = (await lines_until(command.process.stderr, "metrics: ")).split()[1]
    async with deployment.working():
        await eventually(have(out, 1))
        # The folder is noticed, not looked at every half a minute only.
        (inbox / "later.png").write_bytes(png(2))
        (inbox / "same.png").write_bytes(png(1))
        (inbox / "words.txt").write_text("no picture")
        (inbox / "half.png.part").write_bytes(png(3))
        await eventually(moved(inbox / "done", "first.png", "later.png", "same.png"))
        await eventually(moved(inbox / "failed", "words.txt", "words.txt.error.json"))
    page = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    figures = {sample.name: sample.value for each in text_string_to_metric_families(page) for sample in each.samples}
    wanted = {"seen": 4, "submitted": 2, "done": 3, "failed": 1, "duplicates": 1}
    assert {name: figures[f"triptych_intake_{name}_total"] for name in wanted} == wanted
    assert figures["triptych_intake_in_flight"] == figures["triptych_intake_oldest_seconds"] == 0
    code, said = await ended(command)
    assert (code, said.splitlines()[-1]) == (
        0, "3 done, 1 failed, 1 duplicates among them; the same command goes on",
    )  # fmt: skip
    assert names_in(inbox) == {"done", "failed", "half.png.part"}
    lines = {line["name"]: line for line in results(out)}
    assert (lines["same.png"]["duplicate_of"], lines["same.png"]["job"]) == ("first.png", lines["first.png"]["job"])
    assert lines["words.txt"]["error"]["reason"] == "MEDIA_TYPE_UNSUPPORTED"
    assert lines["first.png"]["answer"] == {"page_count": 1, "text": "hello"}
    with (out / "results.csv").open() as table:
        assert {row["name"]: row["text"] for row in csv.DictReader(table)} == {
            "first.png": "hello", "later.png": "hello", "same.png": "hello", "words.txt": "",
        }  # fmt: skip
    jobs = [await deployment.store.run(get(job.id, "default")) for job in await deployment.jobs()]
    assert [(job.job_options().priority, job.labels) for job in jobs] == [
        (JobPriority.JOB_PRIORITY_BATCH, {"from": "scanner"})
    ] * 2
    assert sorted(job.job_spec().ocr.input.display_name for job in jobs) == ["first.png", "later.png"]


async def test_a_question_is_asked_of_every_file_and_one_that_is_refused_touches_none(
    deployment: Deployment, inbox: Path, out: Path
) -> None:
    (inbox / "a.png").write_bytes(png(1))
    args = ("--question", "What is due?")
    refused = await (await watch(deployment, inbox, out, *args, "--webhook", "https://example.org/hook")).said()
    # Nobody may be told of it here: that is wrong with the request, not with the file.
    assert (refused.code, refused.err.startswith("error: webhooks are off")) == (1, True)
    assert names_in(inbox) == {"done", "failed", "a.png"}
    command = await watch(deployment, inbox, out, *args)
    record = await deployment.worker.claim("reasoning")
    assert record.job_spec().reasoning.question == "What is due?"
    answer = {"status": "ANSWER_STATUS_ANSWERED", "text": "12", "output_json": '{"total": 12}'}
    await deployment.worker.succeed(record, JobResult(reasoning={"answer": answer}))
    await eventually(moved(inbox / "done", "a.png"))
    await ended(command)
    assert results(out)[0]["answer"] == {"status": "answered", "text": "12", "output": {"total": 12}}


def test_what_the_options_say_is_what_is_asked(tmp_path: Path) -> None:
    schema = tmp_path / "invoice.json"
    schema.write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    said: dict[str, Any] = {
        "kind": "reasoning", "pipeline": "extract", "question": "", "schema": schema, "model": "m", "language": "de",
        "pages": "1-2", "labels": ("a=b",), "webhook": "https://example.org/hook", "priority": "normal",
        "data_class": "restricted", "allow_partial": True,
    }  # fmt: skip
    order = order_of("a.pdf", tmp_path / "a.pdf", terms_of(**said), leaves=True)
    asked = order.spec.reasoning
    assert (asked.pipeline, asked.question, json.loads(asked.output_json_schema)) == (
        "extract", "", json.loads(schema.read_text()),
    )  # fmt: skip
    assert (asked.config.ocr.language_codes, asked.config.transcription.language_code) == (["de"], "de")
    assert asked.config.allow_partial_documents
    assert (asked.config.generation.model, asked.documents[0].pages[0].last_page) == ("m", 2)
    assert (order.options.webhook.url, dict(order.options.labels)) == ("https://example.org/hook", {"a": "b"})
    assert (order.options.priority, order.options.data_class) == (
        JobPriority.JOB_PRIORITY_NORMAL, DataClass.DATA_CLASS_RESTRICTED,
    )  # fmt: skip
    (tmp_path / "a.pdf").write_bytes(b"%PDF-")
    (tmp_path / "list.jsonl").write_text(
        '{"file": "a.pdf", "schema": "invoice.json", "pipeline": "own", "options": {"data_class": "DATA_CLASS_PUBLIC"}}'
        '\n{"file": "a.pdf", "kind": "ocr"}'
    )
    first, second = listed((tmp_path / "list.jsonl",), terms_of(**said))
    assert (first.spec.reasoning.pipeline, first.spec.reasoning.output_json_schema) == ("own", asked.output_json_schema)
    assert (first.options.data_class, first.options.webhook.url) == (1, "https://example.org/hook")
    # What is said of reasoning has no meaning for a line that wants another kind.
    assert second.spec.ocr.config.language_codes == []


async def test_services_that_are_not_there_are_waited_for_and_ctrl_c_leaves_all_for_later(
    deployment: Deployment, inbox: Path, out: Path
) -> None:
    (inbox / "a.png").write_bytes(png(1))
    await deployment.shut()
    command = await watch(deployment, inbox, out)
    assert "cannot reach" in await lines_until(command.process.stderr, "waiting: ")
    other = await deployment.triptych("intake", "watch", inbox, "--out", out, "--kind", "ocr")
    assert (other.code, "another intake works with" in other.err) == (1, True)
    await deployment.start()
    await deployment.until_pending(1)
    assert (await ended(command, signal.SIGINT))[0] == 130
    assert (await deployment.triptych("intake", "status", out)).code == 2  # it asks no services: no --target
    command = await watch(deployment, inbox, out, "--poll", 0.2)
    async with deployment.working():
        await eventually(moved(inbox / "done", "a.png"))
    await ended(command)
    assert len(results(out)) == len(await deployment.jobs()) == 1


async def test_manifests_folders_and_files_are_run_to_the_end_and_what_failed_again_when_asked(
    deployment: Deployment, inbox: Path, out: Path, tmp_path: Path
) -> None:
    for number in range(4):
        (inbox / f"{number}.png").write_bytes(png(number))
    (inbox / "sub").mkdir()
    (inbox / "sub" / "4.png").write_bytes(png(4))
    (tmp_path / "list.csv").write_text(
        "\ufeffid,file,files,kind,question,label:who\n"
        "one,in/0.png,,,,me\n"
        "two,,in/1.png; in/2.png,reasoning,Which is larger?,\n"
    )
    (tmp_path / "list.jsonl").write_text('{"file": "in/3.png", "kind": "ocr", "labels": {"who": "you"}}\n')
    args = ("intake", "run", tmp_path / "list.csv", tmp_path / "list.jsonl", inbox / "sub", inbox / "0.png")
    args = (*args, "--out", out, "--kind", "ocr", "--label", "batch=7")
    command = await deployment.begin(*args)
    records = [await deployment.worker.claim(kind) for kind in ("ocr", "ocr", "ocr", "ocr", "reasoning")]
    for record in records:
        if record.kind == "reasoning":
            await deployment.worker.fail(record, MediaCorrupt("torn"))
        else:
            await deployment.worker.succeed(record)
    said = await command.said()
    assert (said.code, said.err.splitlines()[-1]) == (1, "5 orders: 4 done, 1 failed")
    assert {line["name"]: line["state"] for line in results(out)} == {
        "one": "done", "two": "failed", "in/3.png": "done", "4.png": "done", "0.png": "done",
    }  # fmt: skip
    assert all(record.labels["batch"] == "7" for record in records)
    assert sorted(record.labels.get("who", "") for record in records) == ["", "", "", "me", "you"]
    assert (inbox / "0.png").exists()

    again = await deployment.triptych(*args, "--json")
    assert again.code == 1
    assert json.loads(again.out.splitlines()[-1]) == {
        "order_count": 5, "done_count": 0, "failed_count": 0, "earlier_count": 5, "unread_count": 0,
    }  # fmt: skip
    status = CliRunner().invoke(cli, ("intake", "status", str(out), "--json"))
    told = json.loads(status.stdout)
    assert (status.exit_code, told["done_count"], told["failed_count"], told["open_count"]) == (1, 4, 1, 0)
    assert [(each["name"], each["error"]["message"]) for each in told["failures"]] == [("two", "torn")]
    assert CliRunner().invoke(cli, ("intake", "retry", str(out))).stdout == "1 to be done again\n"
    command = await deployment.begin(*args)
    answer = JobResult(reasoning={"answer": {"status": "ANSWER_STATUS_NOT_FOUND"}})
    await deployment.worker.succeed(await deployment.worker.claim("reasoning"), answer)
    assert (await command.said()).code == 0
    assert CliRunner().invoke(cli, ("intake", "status", str(out))).exit_code == 0


async def test_files_that_failed_go_back_to_the_folder_and_are_done(
    deployment: Deployment, inbox: Path, out: Path
) -> None:
    (inbox / "a.png").write_bytes(png(1))
    command = await watch(deployment, inbox, out)
    await deployment.worker.fail(await deployment.worker.claim(), MediaCorrupt("torn"))
    await eventually(moved(inbox / "failed", "a.png", "a.png.error.json"))

    # While the watch goes on, which takes note of a file's new place after it has moved it.
    async def retried() -> bool:
        return CliRunner().invoke(cli, ("intake", "retry", str(out))).stdout == "1 to be done again\n"

    await eventually(retried)
    async with deployment.working():
        await eventually(moved(inbox / "done", "a.png"))
    await eventually(moved(inbox / "failed"))
    await ended(command)
    assert [line["state"] for line in results(out)] == ["failed", "done"]


async def test_every_message_of_a_mailbox_is_an_order_with_its_own_result(
    deployment: Deployment, tmp_path: Path, out: Path
) -> None:
    import mailbox

    box = mailbox.mbox(tmp_path / "box")
    for number in range(2):
        mail = EmailMessage()
        mail["Subject"] = f"Invoice {number}"
        mail.set_content(f"{number} EUR are due.")
        box.add(mail)
    box.close()
    # What is attached and cannot be read costs only itself, unless somebody wants it otherwise.
    for number, more in enumerate(((), ("--no-allow-partial",))):
        args = ("intake", "mail", tmp_path / "box", "--out", tmp_path / f"out{number}", "--question", "What is due?")
        asking = await deployment.begin(*args, *more)
        for _ in range(2):
            record = await deployment.worker.claim("reasoning")
            assert record.job_spec().reasoning.config.allow_partial_documents is not bool(more)
            await deployment.worker.succeed(record, JobResult(reasoning={"answer": {"text": "12"}}))
        assert (await asking.said()).code == 0
    args = ("intake", "mail", tmp_path / "box", "--out", out, "--kind", "ocr")
    said = await deployment.triptych(*args)
    # A message is no picture: each is refused alone, with a reason.
    assert (said.code, said.err.splitlines()[-1]) == (1, "2 orders: 0 done, 2 failed")
    assert sorted(line["name"] for line in results(out)) == ["box-00001.eml", "box-00002.eml"]
    assert {line["error"]["reason"] for line in results(out)} == {"MEDIA_TYPE_UNSUPPORTED"}
    assert len(list((out / "messages").rglob("*.eml"))) == 2


def test_wrong_usage_is_said_before_anything_is_sent(tmp_path: Path, inbox: Path, out: Path) -> None:
    def check(*args: object) -> str:
        result = CliRunner().invoke(cli, ("intake", *map(str, args), "--out", str(out), "--target", "127.0.0.1:1"))
        assert result.exit_code == 2, result.output
        return result.stderr

    assert "question: is missing; give --question, --pipeline or --schema" in check("watch", inbox)
    assert "prompt: is missing; give --question" in check("watch", inbox, "--kind", "vision")
    (tmp_path / "semi.csv").write_text("file;question\nnone.png;What?\n")
    assert "columns are parted by commas, not by ';'" in check("run", tmp_path / "semi.csv")
    assert "pipeline: has no meaning for ocr" in check("watch", inbox, "--kind", "ocr", "--pipeline", "extract")
    assert "have to leave the folder" in check("watch", inbox, "--kind", "ocr", "--done", inbox)
    own = "cannot be the folder of the results"
    out.mkdir()
    assert own in check("watch", out, "--kind", "ocr")
    assert own in check("run", out, "--kind", "ocr")
    assert own in check("run", inbox, "--kind", "ocr", "--state", inbox)
    assert "--allow-partial: has no meaning for ocr" in check("run", inbox, "--kind", "ocr", "--allow-partial")
    assert "is no KEY=VALUE" in check("watch", inbox, "--kind", "ocr", "--label", "me")
    (tmp_path / "list.csv").write_text("file,colour\nnone.png,\nlist.csv,red\nlist.csv,,x\n")
    said = check("run", tmp_path / "list.csv", "--kind", "ocr")
    assert "3 of 3 orders are wrong" in said
    assert "request_id" not in said
    for text in ("none.png is not a file", "colour: is none of the fields", "more cells than columns"):
        assert text in said
    assert "is no mbox" in check("mail", tmp_path / "list.csv", "--question", "What is due?")
    status = CliRunner().invoke(cli, ("intake", "status", str(inbox)))
    assert (status.exit_code, "there is no journal" in status.stderr) == (4, True)


def test_what_an_intake_wrote_into_its_own_folder_is_no_order(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for name in ("results.jsonl", "files/a.json"):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    terms = terms_of(
        kind="ocr", pipeline="", question="", schema=None, model="", language="", pages="",
        allow_partial=None, labels=(), webhook="", priority="batch", data_class=None,
    )  # fmt: skip
    orders = listed((tmp_path,), terms, left_out=(tmp_path / "out",))
    assert [order.name for order in orders] == ["a.png"]
