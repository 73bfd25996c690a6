"""Asks what a deployment can do and how busy it is."""

from __future__ import annotations

from triptych.client.steps import Flow, call
from triptych.v1.job_pb2 import JobKind
from triptych.v1.reasoning_service_pb2 import ListPipelinesRequest, ListPipelinesResponse, Pipeline
from triptych.v1.system_service_pb2 import (
    EgressBudget,
    GetServerInfoRequest,
    GetServerInfoResponse,
    LedgerEntry,
    ListLedgerEntriesRequest,
    ListLedgerEntriesResponse,
    ListModelsRequest,
    ListModelsResponse,
    ListQueuesRequest,
    ListQueuesResponse,
    Model,
    Queue,
)


def server_info() -> Flow[GetServerInfoResponse]:
    """Gives version and limits."""
    return (yield from call("SystemService", "GetServerInfo", GetServerInfoRequest(), GetServerInfoResponse))


def models(kind: JobKind.ValueType) -> Flow[list[Model]]:
    """Gives all models, of one kind or of every."""
    found: list[Model] = []
    token = ""
    while True:
        request = ListModelsRequest(kind=kind, page_token=token)
        page = yield from call("SystemService", "ListModels", request, ListModelsResponse)
        found.extend(page.models)
        token = page.next_page_token
        if not token:
            return found


def pipelines() -> Flow[list[Pipeline]]:
    """Gives all plans of reasoning, wrong ones too."""
    reply = yield from call("ReasoningService", "ListPipelines", ListPipelinesRequest(), ListPipelinesResponse)
    return list(reply.pipelines)


def queues() -> Flow[list[Queue]]:
    """Gives all queues, one per kind and lane."""
    found: list[Queue] = []
    token = ""
    while True:
        request = ListQueuesRequest(page_token=token)
        page = yield from call("SystemService", "ListQueues", request, ListQueuesResponse)
        found.extend(page.queues)
        token = page.next_page_token
        if not token:
            return found


def ledger(limit: int) -> Flow[tuple[list[LedgerEntry], EgressBudget]]:
    """Gives the newest entries of the ledger, at most `limit`, and the budget."""
    found: list[LedgerEntry] = []
    token = ""
    while True:
        request = ListLedgerEntriesRequest(page_size=min(500, limit - len(found)), page_token=token)
        page = yield from call("SystemService", "ListLedgerEntries", request, ListLedgerEntriesResponse)
        found.extend(page.entries)
        token = page.next_page_token
        if not token or len(found) >= limit:
            return found, page.budget
