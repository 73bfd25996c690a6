"""Lists, replays and drops messages to webhooks that are not taken yet."""

from __future__ import annotations

from triptych.client.steps import Flow, call
from triptych.v1.webhook_service_pb2 import (
    DeleteDeliveryRequest,
    DeleteDeliveryResponse,
    Delivery,
    DeliveryState,
    ListDeliveriesRequest,
    ListDeliveriesResponse,
    ReplayDeliveryRequest,
    ReplayDeliveryResponse,
)


def list_deliveries(state: DeliveryState.ValueType, limit: int) -> Flow[list[Delivery]]:
    """Gives the newest deliveries, at most `limit`."""
    found: list[Delivery] = []
    token = ""
    while len(found) < limit:
        request = ListDeliveriesRequest(page_size=min(500, limit - len(found)), page_token=token, state=state)
        page = yield from call("WebhookService", "ListDeliveries", request, ListDeliveriesResponse)
        found.extend(page.deliveries)
        token = page.next_page_token
        if not token:
            break
    return found[:limit]


def replay(name: str) -> Flow[Delivery]:
    """Sends a delivery again at once."""
    request = ReplayDeliveryRequest(name=name)
    return (yield from call("WebhookService", "ReplayDelivery", request, ReplayDeliveryResponse)).delivery


def delete(name: str) -> Flow[None]:
    """Drops a delivery."""
    request = DeleteDeliveryRequest(name=name)
    yield from call("WebhookService", "DeleteDelivery", request, DeleteDeliveryResponse)
