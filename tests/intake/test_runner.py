"""Whatever dies, goes away or changes in the middle: a file has one result, and its bytes one job."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.standin import StandIn
from intake.conftest import Desk
from services.conftest import eventually

from triptych.core.errors import (
    ApiKeyInvalid,
    JobNotFound,
    MediaCorrupt,
    RequestIdReused,
    SchemaInvalid,
    ServerDraining,
)
from triptych.intake import durable
from triptych.intake.journal import Journal
from triptych.intake.results import Results
from triptych.intake.runner import Runner
from triptych.intake.source import Listed
from triptych.v1.job_pb2 import JobResult


class Died(BaseException):
    """As if the process had been killed here."""


# What an intake does to the world, in order; it may be killed before and after each.
STEPS = (
    (Journal, "arrive"), (Journal, "submitted"), (Journal, "end"), (Journal, "record"), (Journal, "filed"),
    (Results, "write"), (Results, "catch_up"), (durable, "write"), (durable, "move"), (Runner, "_job"),
)  # fmt: skip


def mortal(monkeypatch: pytest.MonkeyPatch, fatal: int) -> Any:
    """Makes it die at the so-manieth place; gives a function that says how many were passed."""
    passed = itertools.count(1)
    last = 0

    def pass_on() -> None:
        nonlocal last
        last = next(passed)
        if last == fatal:
            raise Died

    for owner, name in STEPS:
        original = getattr(owner, name)
        if asyncio.iscoroutinefunction(original):

            async def step_async(*args: Any, _original: Any = original, **named: Any) -> Any:
                pass_on()
                found = await _original(*args, **named)
                pass_on()
                return found

            monkeypatch.setattr(owner, name, step_async)
        else:

            def step(*args: Any, _original: Any = original, **named: Any) -> Any:
                pass_on()
                found = _original(*args, **named)
                pass_on()
                return found

            monkeypatch.setattr(owner, name, step)
    return lambda: last


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, if there is such: a process that dies leaves all of it, and writing waits for no disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def results(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.out / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
async def test_a_run_that_dies_at_any_place_goes_on_and_gives_each_file_one_result(
    memory: Path, server: StandIn, fails: bool
) -> None:
    if fails:
        server.jobs.outcome = {"error": MediaCorrupt("no such stream").to_status()}
    for fatal in range(1, 200):
        desk = Desk(memory / str(fatal), server.target)
        # Two files with the same bytes, one with others; other bytes each time, so that no job is an earlier one's.
        for name, data in (("a", "one"), ("b", "one"), ("c", "two")):
            desk.drop(name, f"{data} {fatal}".encode())
        server.jobs.by_request.clear()
        with pytest.MonkeyPatch.context() as monkeypatch:
            passed = mortal(monkeypatch, fatal)
            died = False
            try:
                await desk.run(in_flight=1)
            except Died:
                died = True
        if died:
            await desk.run(in_flight=1)
        lines = results(desk)
        assert sorted(line["name"] for line in lines) == ["a", "b", "c"], fatal
        assert [line["line"] for line in lines] == [1, 2, 3]
        folder = desk.inbox / ("failed" if fails else "done")
        reasons = {f"{name}.error.json" for name in "abc"} if fails else set()
        assert {path.name for path in folder.iterdir()} == {"a", "b", "c"} | reasons, fatal
        assert [path for path in desk.inbox.iterdir() if path.is_file()] == []
        # "b" brings the bytes of "a": another job is only begun for them after "a" has failed, which is a retry.
        assert len(server.jobs.by_request) in ({2, 3} if fails else {2}), fatal
        with (desk.out / "results.csv").open() as table:
            assert len(list(csv.DictReader(table))) == 3
        if not died:
            break
    assert fatal == passed() + 1
    assert fatal > 40


async def test_a_second_file_of_the_same_bytes_costs_no_job(desk: Desk, server: StandIn) -> None:
    desk.drop("a", b"one")
    await desk.run()
    desk.drop("b", b"one")
    desk.drop("a", b"one")
    await desk.run(in_flight=1)
    assert [(line["name"], line["duplicate_of"]) for line in results(desk)] == [("a", None), ("a", "a"), ("b", "a")]
    assert len(server.jobs.by_request) == 1
    # Nothing in the folder of what is done was written over.
    assert {path.name for path in (desk.inbox / "done").iterdir()} == {"a", "a-2", "b"}


async def test_files_that_stay_are_done_once_until_their_bytes_change(desk: Desk, server: StandIn) -> None:
    path = desk.drop("a", b"one")
    await desk.run(leaves=False)
    os.utime(path, (1, 1))
    again = await desk.run(leaves=False)
    assert (again.counts.earlier, len(results(desk))) == (1, 1)
    path.write_bytes(b"two")
    await desk.run(leaves=False)
    assert len(results(desk)) == len(server.jobs.by_request) == 2
    assert path.exists()


async def test_a_job_that_the_services_forgot_is_begun_anew(desk: Desk, server: StandIn) -> None:
    desk.drop("a", b"one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        # It dies as soon as the job is known.
        original = Journal.submitted

        def die(*args: Any) -> None:
            original(*args)
            raise Died

        monkeypatch.setattr(Journal, "submitted", die)
        with pytest.raises(Died):
            await desk.run()
    server.jobs.by_request.clear()
    server.jobs.outcome = {"result_blob": "blobs/sha256-gone"}
    forgotten = asyncio.create_task(desk.run())

    async def begun() -> bool:
        return bool(server.jobs.by_request)

    await eventually(begun)
    server.jobs.outcome = {"result": JobResult(transcription={"text": "hello"})}
    await forgotten
    [line] = results(desk)
    assert (line["state"], line["answer"]) == ("done", {"text": "hello"})


@pytest.mark.parametrize("call", ["SubmitJob", "WaitJob"])
async def test_a_job_that_is_lost_or_another_request_s_is_begun_anew(
    desk: Desk, server: StandIn, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    from client.standin import Jobs, fail

    original = getattr(Jobs, call)
    said: list[Any] = []

    async def once(self: Any, request: Any, context: Any) -> Any:
        said.append(request)
        if len(said) == 1:
            await fail(context, RequestIdReused("another one") if call == "SubmitJob" else JobNotFound("unknown"))
        return await original(self, request, context)

    with monkeypatch.context() as losing:
        losing.setattr(Jobs, call, once)
        standin = StandIn()
        await standin.start()
        desk = Desk(desk.inbox.parent, standin.target)
        desk.drop("a", b"one")
        await desk.run()
        await standin.stop()
    [line] = results(desk)
    assert (line["state"], len(said)) == ("done", 2)
    assert call == "WaitJob" or said[0].request_id != said[1].request_id


async def test_two_intakes_with_copies_of_other_names_have_a_job_each(
    desk: Desk, server: StandIn, tmp_path: Path
) -> None:
    # The services compare requests whole, names of files too: under one id the second would be refused.
    other = Desk(tmp_path / "other", server.target)
    desk.drop("a", b"one")
    other.drop("b", b"one")
    await desk.run()
    await other.run()
    assert len(server.jobs.by_request) == 2
    # The same file in a third one joins the job that there is.
    third = Desk(tmp_path / "third", server.target)
    third.drop("a", b"one")
    await third.run()
    assert len(server.jobs.by_request) == 2


async def test_services_that_are_away_are_waited_for(desk: Desk, server: StandIn) -> None:
    desk.drop("a", b"one")
    server.jobs.submit_failures = 2
    await desk.run()
    assert desk.told("waiting") == ["shutting down"] * 2
    assert len(results(desk)) == 1


async def test_a_job_that_failed_for_a_reason_that_passes_is_tried_again_a_few_times(
    desk: Desk, server: StandIn
) -> None:
    desk.drop("a", b"one")
    server.jobs.outcome = {"error": ServerDraining("no").to_status()}
    await desk.run()
    [line] = results(desk)
    assert (line["state"], line["error"]["retryable"], len(server.jobs.by_request)) == ("failed", True, 3)


async def test_what_failed_is_done_again_when_it_comes_again(desk: Desk, server: StandIn) -> None:
    desk.drop("a", b"one")
    server.jobs.outcome = {"error": MediaCorrupt("no such stream").to_status()}
    await desk.run()
    reason = json.loads((desk.inbox / "failed" / "a.error.json").read_text())
    assert (reason["reason"], reason["code"], reason["retryable"]) == ("MEDIA_CORRUPT", "INVALID_ARGUMENT", False)
    server.jobs.outcome = {"result": JobResult(transcription={"text": "hello"})}
    desk.drop("a", b"one")
    await desk.run()
    assert [(line["state"], line["duplicate_of"]) for line in results(desk)] == [("failed", None), ("done", None)]


async def test_of_a_name_the_last_line_counts(desk: Desk, server: StandIn) -> None:
    outcome, server.jobs.outcome = server.jobs.outcome, {"error": MediaCorrupt("no such stream").to_status()}
    for _ in range(2):
        desk.drop("a", b"one")
        await desk.run()
    moved: list[str] = []
    with desk.journal() as journal:
        assert ([each["line"] for each in journal.failures()], journal.counts()["failed_count"]) == ([2], 1)
    server.jobs.outcome = outcome
    desk.drop("a", b"one")
    await desk.run()
    with desk.journal() as journal:
        assert (journal.failures(), journal.counts()["failed_count"]) == ([], 0)
        assert journal.again(lambda arrival: moved.append(arrival.name)) == len(moved) == 0


@pytest.mark.parametrize("error", [SchemaInvalid("no schema"), ApiKeyInvalid("unknown key")])
async def test_a_wrong_request_ends_the_run_and_touches_no_file(
    desk: Desk, server: StandIn, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    from client.standin import Jobs, fail

    async def refuse(_self: Any, _request: Any, context: Any) -> None:
        await fail(context, error)

    desk.drop("a", b"one")
    desk.drop("b", b"two")
    with monkeypatch.context() as refusing:
        refusing.setattr(Jobs, "SubmitJob", refuse)
        standin = StandIn()
        await standin.start()
        with pytest.raises(type(error)):
            await Desk(desk.inbox.parent, standin.target).run()
        await standin.stop()
    assert results(desk) == []
    assert sorted(path.name for path in desk.inbox.iterdir()) == ["a", "b"]
    # With the mistake mended they are done, once.
    await desk.run()
    assert sorted(line["name"] for line in results(desk)) == ["a", "b"]


async def test_a_file_that_changes_before_it_is_sent_is_left_for_later(desk: Desk, server: StandIn) -> None:
    path = desk.drop("a", b"one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        original = Journal.arrive

        def change(*args: Any) -> Any:
            found = original(*args)
            path.write_bytes(b"two")
            return found

        monkeypatch.setattr(Journal, "arrive", change)
        await desk.run()
    assert desk.told("gone") == ["a"]
    assert (results(desk), server.jobs.by_request, path.read_bytes()) == ([], {}, b"two")


async def test_a_file_that_cannot_be_read_is_put_back(desk: Desk) -> None:
    desk.drop("b", b"two")
    (desk.inbox / "a").symlink_to(desk.inbox / "b")  # of what may leave, no link is followed: ELOOP
    put_back: list[Path] = []

    class Source(Listed):
        def put_back(self, paths: Any) -> None:
            put_back.extend(paths)

    await desk.run(source=Source(desk.orders(leaves=True)))
    assert (desk.told("put_back"), put_back) == (["a"], [desk.inbox / "a"])
    assert [line["name"] for line in results(desk)] == ["b"]


async def test_names_of_any_length_are_filed_and_one_that_is_no_text_is_left_alone(desk: Desk, server: StandIn) -> None:
    server.jobs.outcome = {"error": MediaCorrupt("no such stream").to_status()}
    name = f"{'ü' * 120}.png"
    desk.drop(name, b"one")
    await desk.run()
    desk.drop(name, b"one")
    (desk.inbox / os.fsdecode(b"\xff.png")).write_bytes(b"two")
    await desk.run()
    assert [line["name"] for line in results(desk)] == [name, name]
    assert len(list((desk.inbox / "failed").iterdir())) == 4
    assert "not UTF-8" in next(event.reason for event in desk.events if event.what == "put_back")
    server.jobs.outcome = {"result": JobResult(transcription={"text": "hello"})}
    desk.drop(name, b"three")
    await desk.run()
    assert (desk.inbox / "done" / name).exists()


async def test_a_newer_file_of_a_name_is_not_moved_for_the_older_ones_result(desk: Desk, server: StandIn) -> None:
    path = desk.drop("a", b"one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        original = Journal.submitted

        def overwrite(*args: Any) -> None:
            original(*args)
            path.write_bytes(b"newer")

        monkeypatch.setattr(Journal, "submitted", overwrite)
        await desk.run()
    assert (len(results(desk)), path.read_bytes()) == (1, b"newer")
    await desk.run()
    assert [line["name"] for line in results(desk)] == ["a", "a"]
    assert (desk.inbox / "done" / "a").read_bytes() == b"newer"
