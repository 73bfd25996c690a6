"""`triptych jobs` against real services: a job's place in the queue, and the dead letters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli.deployment import PNG, Deployment, Said

from triptych.client import AsyncClient, specs
from triptych.core.errors import WorkerLost
from triptych.core.records import JobRecord
from triptych.core.store import PREFIX
from triptych.v1.job_pb2 import Job, JobResult
from triptych.v1.ocr_pb2 import OcrPage, OcrResult


async def submit(deployment: Deployment, count: int) -> list[Job]:
    async with AsyncClient(deployment.target) as client:
        (source,) = await client.sources([PNG])
        return [await client.submit(specs.ocr(source)) for _ in range(count)]


async def bury(deployment: Deployment) -> str:
    """Ends the next job as one on whose seventh page workers died; gives its name."""
    record: JobRecord = await deployment.worker.claim()
    await deployment.store.redis.hset(f"{PREFIX}job:{record.id}", "set_aside", "page:7")
    lost = OcrPage(page_number=7, error=WorkerLost("3 workers died on this page").to_status())
    await deployment.worker.succeed(record, JobResult(ocr=OcrResult(pages=[OcrPage(page_number=6, text="six"), lost])))
    return f"jobs/{record.id}"


@pytest.fixture
async def letters(deployment: Deployment) -> list[str]:
    """Three dead letters, the latest end first; and a job that ended well."""
    await submit(deployment, 4)
    names = [await bury(deployment) for _ in range(3)]
    await deployment.worker.succeed(await deployment.worker.claim())
    return names[::-1]


async def dead(deployment: Deployment, *args: object) -> Said:
    return await deployment.triptych("jobs", "dead", *args)


async def listed(deployment: Deployment) -> set[str]:
    return {job["name"] for job in json.loads((await dead(deployment, "list", "--json")).out)}


async def test_a_job_that_waits_says_how_many_are_ahead(deployment: Deployment) -> None:
    await deployment.shut()
    await deployment.start(heartbeat_s=0.1)
    name = (await submit(deployment, 3))[-1].name
    shown = await deployment.triptych("jobs", "get", name)
    assert "stage: queued, 2 ahead\n" in shown.out
    facts: dict[str, Any] = json.loads((await deployment.triptych("jobs", "get", name, "--json")).out)
    assert facts["progress"]["queue_position"] == 2
    watch = await deployment.begin("jobs", "watch", name)
    assert watch.process.stdout
    assert await watch.process.stdout.readline() == b"queued, 2 ahead\n"
    await deployment.worker.succeed(await deployment.worker.claim())
    assert await watch.process.stdout.readline() == b"queued, 1 ahead\n"
    async with deployment.working(2):
        said = await watch.said()
    # Whether it was seen at the head of the queue is a matter of luck.
    assert [line for line in said.out.splitlines() if line != "queued, 0 ahead"] == ["running", "succeeded"]


async def test_dead_letters_are_listed_with_what_was_set_aside(deployment: Deployment, letters: list[str]) -> None:
    rows = [line.split("\t") for line in (await dead(deployment, "list")).out.splitlines()]
    assert {row[0] for row in rows} == set(letters)
    assert [rows[0][1], rows[0][2], rows[0][4], rows[0][5:]] == ["ocr", "succeeded", "page:7", ["", ""]]
    assert len((await dead(deployment, "list", "--limit", 2)).out.splitlines()) == 2
    (first, *_) = json.loads((await dead(deployment, "list", "--json")).out)
    assert first["set_aside_units"] == ["page:7"]


async def test_a_dead_letter_is_shown_with_the_error_of_each_unit(deployment: Deployment, letters: list[str]) -> None:
    shown = (await dead(deployment, "show", letters[0])).out.splitlines()
    assert shown[0] == f"job: {letters[0]}"
    assert shown[-1] == "unit: page:7: 3 workers died on this page"
    facts = json.loads((await dead(deployment, "show", letters[0], "--json")).out)
    assert facts["result"]["ocr"]["pages"][0]["text"] == "six"


async def test_a_dead_letter_that_is_retried_is_a_new_job(deployment: Deployment, letters: list[str]) -> None:
    one, *others = letters
    (told,) = json.loads((await dead(deployment, "retry", one, "--json")).out)
    assert told["job"] == one
    assert await listed(deployment) == set(others)
    assert f"jobs/{(await deployment.worker.claim()).id}" == told["retried_as"]
    every = await dead(deployment, "retry", "--all", "--yes")
    assert {line.partition(": retried as ")[0] for line in every.out.splitlines()} == set(others)
    assert await listed(deployment) == set()
    assert len(await deployment.jobs()) == 4 + 3


async def test_a_dead_letter_that_is_dropped_is_gone_with_its_result(
    deployment: Deployment, letters: list[str]
) -> None:
    one, *others = letters
    assert (await dead(deployment, "drop", one)).out == f"{one}: dropped\n"
    assert await listed(deployment) == set(others)
    gone = await dead(deployment, "show", one)
    assert (gone.code, gone.out) == (4, "")
    assert one in gone.err


async def test_what_cannot_be_done_is_said_and_keeps_nothing_else_back(
    deployment: Deployment, letters: list[str]
) -> None:
    (waiting,) = await submit(deployment, 1)
    both = await dead(deployment, "retry", waiting.name, letters[0])
    assert both.code == 1
    assert f"error: {waiting.name}: " in both.err
    assert both.out.startswith(f"{letters[0]}: retried as ")
    assert (await dead(deployment, "retry", "none")).code == 2
    assert (await dead(deployment, "drop")).code == 2
    alive = await dead(deployment, "drop", waiting.name)
    assert alive.code == 2
    assert "is no dead letter" in alive.err
    # Nobody is there to be asked.
    assert (await dead(deployment, "drop", "--all")).code == 1
    assert await listed(deployment) == set(letters[1:])
