"""Deliveries of the caller's webhooks: looking at them, sending them again, dropping them."""
# ruff: noqa: N802 - methods bear the contract's names

from __future__ import annotations

import uuid
from typing import Any

from triptych.core import deliveries
from triptych.core.deliveries import Delivery
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.paging import from_token, page_size, query_digest, to_token
from triptych.v1 import webhook_service_pb2 as pb
from triptych.v1.webhook_service_pb2_grpc import WebhookServiceServicer

DEFAULT_PAGE_SIZE = 100
# Looks into the index for one page; then it is short, and the caller asks again.
_MAX_LOOKS = 40


class Webhooks(WebhookServiceServicer):
    """Messages that are not taken yet, private to the caller's tenant."""

    def __init__(self, backend: Backend) -> None:
        self._store = backend.store

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, _context: Any) -> pb.ListDeliveriesResponse:
        """Lists deliveries, newest first."""
        fields.known_enums(request, "")
        size, query = page_size(request.page_size, DEFAULT_PAGE_SIZE), query_digest(f"deliveries {request.state}")
        place = from_token(request.page_token, query, 2)
        after = _place(*place) if place else ""
        found: list[pb.Delivery] = []
        more = True
        for _ in range(_MAX_LOOKS):
            limit = size - len(found)
            page = await self._store.run(deliveries.list_page(CALLER.get().tenant, after=after, limit=limit))
            found += [_message(each) for each in page if request.state in (0, _state(each))]
            more = len(page) == limit
            if page:
                after = page[-1].place
            if not more or len(found) == size:
                break
        ended_ms, _, last = after.partition(" ")
        token = to_token(query, int(ended_ms), uuid.UUID(last).int) if more else ""
        return pb.ListDeliveriesResponse(deliveries=found, next_page_token=token)

    async def ReplayDelivery(self, request: pb.ReplayDeliveryRequest, _context: Any) -> pb.ReplayDeliveryResponse:
        """Sends a delivery again at once, with a new series of attempts."""
        delivery = await self._store.run(deliveries.replay(fields.delivery_id(request.name), CALLER.get().tenant))
        return pb.ReplayDeliveryResponse(delivery=_message(delivery))

    async def DeleteDelivery(self, request: pb.DeleteDeliveryRequest, _context: Any) -> pb.DeleteDeliveryResponse:
        """Drops a delivery; one that is not there is no error."""
        await self._store.run(deliveries.drop(fields.delivery_id(request.name), CALLER.get().tenant))
        return pb.DeleteDeliveryResponse()


def _place(ended_ms: int, number: int) -> str:
    fields.need(number < 1 << 128, "page_token", "is none that this method gave")
    return f"{ended_ms} {uuid.UUID(int=number)}"


def _state(delivery: Delivery) -> pb.DeliveryState.ValueType:
    return pb.DeliveryState.DELIVERY_STATE_DEAD if delivery.dead else pb.DeliveryState.DELIVERY_STATE_WAITING


def _message(delivery: Delivery) -> pb.Delivery:
    message = pb.Delivery(
        name=f"deliveries/{delivery.id}",
        job=f"jobs/{delivery.id}",
        url=delivery.url,
        state=_state(delivery),
        attempt_count=delivery.attempts,
        last_error=delivery.last_error,
    )
    message.create_time.FromMilliseconds(delivery.record.end_ms)
    if delivery.next_ms:
        message.next_attempt_time.FromMilliseconds(delivery.next_ms)
    return message
