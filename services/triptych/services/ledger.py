"""The ledger of what left to models outside, and the budget, as the contract tells them."""

from __future__ import annotations

from triptych.core import spending
from triptych.core.policy import CLASSES
from triptych.core.spending import Entry
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.paging import from_token, page_size, query_digest, to_token
from triptych.v1 import system_service_pb2 as pb
from triptych.v1.job_pb2 import DataClass

DEFAULT_PAGE_SIZE = 100


async def list_entries(backend: Backend, request: pb.ListLedgerEntriesRequest) -> pb.ListLedgerEntriesResponse:
    """Gives a page of the caller's entries, and what its tenant has spent.

    Raises:
        FieldInvalid: The page asked for is none.
    """
    tenant = CALLER.get().tenant
    size, query = page_size(request.page_size, DEFAULT_PAGE_SIZE), query_digest("ledger")
    place = from_token(request.page_token, query, 2)
    after = "-".join(map(str, place)) if place else ""
    found = await backend.store.run(spending.list_page(tenant, after=after, limit=size))
    token = to_token(query, *map(int, found[-1].place.split("-"))) if len(found) == size else ""
    policy = backend.policy.of(tenant)
    spent = await backend.store.run(spending.spent(tenant, policy))
    budget = pb.EgressBudget(
        limit_micros=policy.budget_micros,
        used_micros=spent.used,
        reserved_micros=spent.reserved,
        period=policy.period,
    )
    budget.period_start_time.FromMilliseconds(spent.period_ms)
    return pb.ListLedgerEntriesResponse(entries=map(_message, found), next_page_token=token, budget=budget)


def _message(entry: Entry) -> pb.LedgerEntry:
    left = entry.leaving
    message = pb.LedgerEntry(
        id=left.id,
        job=f"jobs/{left.job_id}",
        data_class=CLASSES.get(left.data_class, DataClass.DATA_CLASS_UNSPECIFIED),
        model=left.model,
        host=left.host,
        document_digests=[f"sha256-{digest}" for digest in left.documents],
        body_digest=f"sha256-{left.body_digest}",
        body_bytes=left.body_bytes,
        image_count=left.image_count,
        redaction_count=left.redaction_count,
        why=left.why,
        outcome=entry.outcome,
        input_token_count=entry.input_tokens,
        output_token_count=entry.output_tokens,
        cost_micros=entry.cost,
        reserved_micros=entry.reserved,
    )
    message.period_start_time.FromMilliseconds(entry.period_ms)
    message.begin_time.FromMilliseconds(entry.begin_ms)
    message.end_time.FromMilliseconds(entry.end_ms)
    return message
