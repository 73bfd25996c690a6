"""`triptych webhooks` against a real server: what people, pipes and programs get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from click.testing import CliRunner, Result
from client.standin import StandIn

from triptych.cli.__main__ import cli
from triptych.v1.webhook_service_pb2 import Delivery, DeliveryState

Triptych = Callable[..., Awaitable[Result]]
URL = "https://hooks.example.com/jobs"


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    standin = StandIn()
    await standin.start()
    dead = Delivery(
        name="deliveries/2", job="jobs/2", url=URL, state=DeliveryState.DELIVERY_STATE_DEAD, attempt_count=8,
        last_error="HTTP 503",
    )  # fmt: skip
    waiting = Delivery(name="deliveries/1", job="jobs/1", url=URL, state=DeliveryState.DELIVERY_STATE_WAITING)
    waiting.next_attempt_time.FromJsonString("2026-11-25T03:00:00Z")
    standin.webhooks.deliveries = [dead, waiting]
    yield standin
    await standin.stop()


@pytest.fixture
def triptych(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Triptych:
    monkeypatch.setenv("TRIPTYCH_TARGET", server.target)

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ("webhooks", *args), catch_exceptions=False)

    return run


async def test_a_pipe_gets_a_line_per_message(triptych: Triptych) -> None:
    lines = [line.split("\t") for line in (await triptych("list")).stdout.splitlines()]
    assert lines == [
        ["deliveries/2", "dead", "8", "1970-01-01T00:00:00Z", "", "HTTP 503", URL],
        ["deliveries/1", "waiting", "0", "1970-01-01T00:00:00Z", "2026-11-25T03:00:00Z", "", URL],
    ]


async def test_programs_get_a_list_of_one_state(triptych: Triptych) -> None:
    (found,) = json.loads((await triptych("list", "--state", "dead", "--json")).stdout)
    assert (found["name"], found["state"]) == ("deliveries/2", "DELIVERY_STATE_DEAD")


@pytest.mark.parametrize("name", ["2", "jobs/2", "deliveries/2"])
async def test_a_message_is_sent_again_by_its_name_or_its_jobs(server: StandIn, triptych: Triptych, name: str) -> None:
    result = await triptych("replay", name)
    assert (result.exit_code, result.stdout) == (0, f"deliveries/2: is sent again to {URL}\n")
    assert server.webhooks.deliveries[0].state == DeliveryState.DELIVERY_STATE_WAITING


async def test_an_unknown_message_is_not_found(triptych: Triptych) -> None:
    result = await triptych("replay", "9")
    assert result.exit_code == 4
    assert "triptych webhooks list" in result.stderr


async def test_a_message_is_dropped_and_dropping_it_again_is_no_error(server: StandIn, triptych: Triptych) -> None:
    for _ in range(2):
        assert (await triptych("drop", "2")).stdout == "deliveries/2: dropped\n"
    assert [each.name for each in server.webhooks.deliveries] == ["deliveries/1"]
    assert json.loads((await triptych("drop", "1", "--json")).stdout) == {"name": "deliveries/1"}
