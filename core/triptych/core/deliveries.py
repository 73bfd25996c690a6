"""Messages about ended jobs on their way to webhooks.

    job ends ──▶ WAITING ──lease──▶ (an attempt) ──taken──▶ gone
                  ▲   ▲                  │  │
                  │   └─────again────────┘  └─give_up──▶ DEAD ──▶ gone
                  └──────────────────replay───────────────┘

The script that ends a job also writes its delivery, which holds all that is told and outlives the job. Attempts are
fenced as those of jobs are: what comes of one counts only while no later one, and no replay, has begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import DeliveryNotFound
from triptych.core.records import JobRecord
from triptych.core.store import Op, Script

_lease, _settle, _list, _replay, _drop = (
    Script(name)
    for name in ("lease_deliveries", "settle_delivery", "list_deliveries", "replay_delivery", "drop_delivery")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one URL about one job. It bears the id of the job, which ends once.

    Attributes:
        record: The job as it ended, without specification and result.
        host: Host and port of the URL.
        attempts: Attempts so far, one that is under way included.
        series: Those since the delivery was made or replayed.
        next_ms: Next attempt, in ms since the epoch; 0: none.
        last_error: What the last attempt met.
        dead: Whether it was given up.
    """

    record: JobRecord
    url: str
    host: str
    attempts: int
    series: int
    next_ms: int
    last_error: str
    dead: bool

    @property
    def id(self) -> str:
        """The id, which is also the message's."""
        return self.record.id

    @property
    def place(self) -> str:
        """Where it stands among its tenant's, for `list_page`."""
        return f"{self.record.end_ms} {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """Deliveries to attempt now, and how many dead letters there are in all."""

    deliveries: Sequence[Delivery]
    dead_count: int


def lease(*, lease_s: float, limit: int, per_host: int, busy: Mapping[str, int]) -> Op[Leased]:
    """Takes deliveries that are due; who does not settle one in time loses it to the next attempt.

    Args:
        lease_s: Time for one attempt, in seconds.
        limit: Deliveries at most.
        per_host: Attempts at a time that one host gets of this process.
        busy: Host -> attempts that this process has under way.
    """

    def parse(answer: list[Any]) -> Leased:
        return Leased(deliveries=[_delivery(found) for found in answer[1:]], dead_count=answer[0])

    hosts: list[str | int] = [part for item in busy.items() for part in item]
    return _lease(parse, int(lease_s * 1000), limit, per_host, *hosts)


def taken(delivery: Delivery) -> Op[bool]:
    """Ends a delivery: the receiver has the message. False: fenced off."""
    return _settle(bool, delivery.id, delivery.attempts, delivery.series, "taken", 0, "")


def again(delivery: Delivery, after_s: float, error: str) -> Op[bool]:
    """Lets a delivery wait for its next attempt. False: fenced off."""
    return _settle(bool, delivery.id, delivery.attempts, delivery.series, "again", int(after_s * 1000), error)


def give_up(delivery: Delivery, kept_s: float, error: str) -> Op[bool]:
    """Makes a delivery a dead letter, kept for so long. False: fenced off."""
    return _settle(bool, delivery.id, delivery.attempts, delivery.series, "dead", int(kept_s * 1000), error)


def list_page(tenant: str, *, after: str, limit: int) -> Op[list[Delivery]]:
    """Gives some of a tenant's deliveries, newest first, from the one after this place on ("": from the newest)."""
    return _list(lambda answer: [_delivery(found) for found in answer], tenant, after, limit)


def replay(delivery_id: str, tenant: str) -> Op[Delivery]:
    """Makes a delivery due now, with a new series of attempts.

    Raises:
        DeliveryNotFound: No such delivery of this tenant.
    """

    def parse(answer: list[Any]) -> Delivery:
        if not answer:
            raise DeliveryNotFound(f"there is no delivery deliveries/{delivery_id}: it was made, dropped or expired")
        return _delivery(answer)

    return _replay(parse, delivery_id, tenant)


def drop(delivery_id: str, tenant: str) -> Op[bool]:
    """Removes a delivery. False: this tenant has none of this id."""
    return _drop(bool, delivery_id, tenant)


def _delivery(flat: list[bytes]) -> Delivery:
    found = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
    return Delivery(
        record=JobRecord.from_hash(found["id"].decode(), found),
        url=found["webhook"].decode(),
        host=found["host"].decode(),
        attempts=int(found["attempts"]),
        series=int(found["series"]),
        next_ms=int(float(found["next_ms"] or 0)),
        last_error=found.get("last_error", b"").decode(),
        dead="dead" in found,
    )
