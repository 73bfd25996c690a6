"""`triptych webhooks`: which messages about ended jobs are not taken yet, and sending them again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.failure import EPILOG
from triptych.cli.printing import age, as_dict, echo_json, echo_listing, enum_word

if TYPE_CHECKING:
    from triptych.v1.webhook_service_pb2 import Delivery

STATES = ("waiting", "dead")


def _name(text: str) -> str:
    return text if text.startswith("deliveries/") else f"deliveries/{text.removeprefix('jobs/')}"


@click.group(epilog=EPILOG)
def webhooks() -> None:
    """Lists, replays and drops messages to webhooks that were not taken. They bear the ids of their jobs."""


@webhooks.command("list", short_help="List messages that are not taken yet, newest first.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@options.limit_option("messages")
@options.server_options
@options.json_option
def list_deliveries(*, state: str | None, limit: int, server: Server, as_json: bool) -> None:
    """Lists messages that wait for their next attempt, and dead ones: those that were given up.

    In a pipe: name, state, attempts, when the job ended, time of the next attempt, last error, URL.
    """
    from triptych.v1.webhook_service_pb2 import DeliveryState

    wanted = DeliveryState.Value(f"DELIVERY_STATE_{(state or 'unspecified').upper()}")
    with server.connect() as client:
        found = client.list_deliveries(wanted, limit=limit)
    columns = ("message", "state", "attempts", "age", "last error")
    echo_listing(found, columns, _short_row, _row, as_json=as_json)


def _short_row(delivery: Delivery) -> tuple[object, ...]:
    """A line of the table for people; it has to fit 80 columns."""
    from triptych.v1.webhook_service_pb2 import DeliveryState

    return (
        delivery.name.removeprefix("deliveries/"),
        enum_word(DeliveryState, delivery.state),
        delivery.attempt_count,
        age(time.time() - delivery.create_time.ToMilliseconds() / 1000),
        delivery.last_error,
    )


def _row(delivery: Delivery) -> tuple[object, ...]:
    from triptych.v1.webhook_service_pb2 import DeliveryState

    return (
        delivery.name,
        enum_word(DeliveryState, delivery.state),
        delivery.attempt_count,
        delivery.create_time.ToJsonString(),
        delivery.next_attempt_time.ToJsonString() if delivery.HasField("next_attempt_time") else "",
        delivery.last_error,
        delivery.url,
    )


@webhooks.command(short_help="Send a message again at once.")
@click.argument("name")
@options.server_options
@options.json_option
def replay(*, name: str, server: Server, as_json: bool) -> None:
    """Sends the message NAME again at once; if it is not taken, a new series of attempts begins."""
    with server.connect() as client:
        delivery = client.replay_delivery(_name(name))
    if as_json:
        echo_json(as_dict(delivery))
    else:
        click.echo(f"{delivery.name}: is sent again to {delivery.url}")


@webhooks.command(short_help="Drop a message.")
@click.argument("name")
@options.server_options
@options.json_option
def drop(*, name: str, server: Server, as_json: bool) -> None:
    """Drops the message NAME: nobody will be told. One that is not there is no error."""
    with server.connect() as client:
        client.delete_delivery(_name(name))
    if as_json:
        echo_json({"name": _name(name)})
    else:
        click.echo(f"{_name(name)}: dropped")
