"""`triptych ledger`: what left to models outside, when, where to, and what it cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from triptych.cli import options
from triptych.cli.connection import Server
from triptych.cli.failure import EPILOG
from triptych.cli.printing import age, as_dict, echo_json, echo_listing, enum_word

if TYPE_CHECKING:
    from triptych.v1.system_service_pb2 import EgressBudget, LedgerEntry

_MICROS = 1e6


@click.command(epilog=EPILOG, short_help="List what left to models outside.")
@options.limit_option("entries")
@options.server_options
@options.json_option
def ledger(*, limit: int, server: Server, as_json: bool) -> None:
    """Lists what of your tenant's bytes was sent to models outside, newest first, and what is left of its budget.

    In a pipe: id, job, class, model, host, why, outcome, bytes, images, redactions, tokens read, tokens written, cost,
    begin, end, digest of the bytes, digests of the documents. The budget goes to standard error.
    """
    with server.connect() as client:
        entries, budget = client.ledger(limit=limit)
    if as_json:
        echo_json({"entries": [as_dict(entry) for entry in entries], "budget": as_dict(budget)})
        return
    columns = ("job", "age", "model", "class", "why", "outcome", "cost")
    echo_listing(entries, columns, _short_row, _row, as_json=False)
    click.echo(_said(budget), err=True)


def _said(budget: EgressBudget) -> str:
    used, reserved = budget.used_micros / _MICROS, budget.reserved_micros / _MICROS
    return f"{used:.6g} of {budget.limit_micros / _MICROS:g} spent this {budget.period}, {reserved:.6g} reserved"


def _short_row(entry: LedgerEntry) -> tuple[object, ...]:
    """A line of the table for people; it has to fit 80 columns."""
    from triptych.v1.job_pb2 import DataClass

    return (
        entry.job.removeprefix("jobs/"),
        age(time.time() - entry.end_time.ToMilliseconds() / 1000),
        entry.model,
        enum_word(DataClass, entry.data_class),
        entry.why,
        entry.outcome,
        f"{entry.cost_micros / _MICROS:.6g}",
    )


def _row(entry: LedgerEntry) -> tuple[object, ...]:
    from triptych.v1.job_pb2 import DataClass

    return (
        entry.id,
        entry.job,
        enum_word(DataClass, entry.data_class),
        entry.model,
        entry.host,
        entry.why,
        entry.outcome,
        entry.body_bytes,
        entry.image_count,
        entry.redaction_count,
        entry.input_token_count,
        entry.output_token_count,
        f"{entry.cost_micros / _MICROS:.6f}",
        entry.begin_time.ToJsonString(),
        entry.end_time.ToJsonString(),
        entry.body_digest,
        " ".join(entry.document_digests),
    )
