"""Money for models outside: reserved before a call, settled after it, with an entry in the ledger for each.

    reserve ──▶ (the call) ──settle──▶ used, entry
       │            └─ nobody settles in time ──▶ used in full, entry "lost"
       └─ over the budget ──▶ nothing

Each step is one script, so no call is granted that could take used and reserved over the budget, however many workers
call at once, and the costs of a period's entries add up to what is used of it. If a server counts more than was
reserved for a call, its word is what is used: the budget is then passed by the difference, and nothing more is granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import BudgetExhausted
from triptych.core.policy import TenantPolicy
from triptych.core.remote_server import MICROS
from triptych.core.store import PREFIX, Op, Script

_reserve, _settle, _budget = (Script(name) for name in ("reserve", "settle_spending", "budget"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What is about to leave: who sends which bytes where. Every fact of it is in the ledger.

    Attributes:
        id: Of the call, 32 hexadecimal digits.
        job_id: Whose call it is.
        data_class: In force.
        model: Name in the catalogue.
        host: Host and port of the server.
        documents: Digests of what the job and its parent read, 64 hex digits each.
        body_digest: SHA-256 of the bytes that are sent, in hexadecimal digits.
        body_bytes: Their number.
        image_count: Images among them.
        redaction_count: Places that were painted over or taken out.
        why: "named", "overflow" or "escalation".
    """

    id: str
    tenant: str
    job_id: str
    data_class: str
    model: str
    host: str
    documents: tuple[str, ...]
    body_digest: str
    body_bytes: int
    image_count: int
    redaction_count: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call that ended, as the ledger tells it. Times are ms since the epoch, money is in millionths.

    Attributes:
        place: Of the entry, for `list_page`.
        outcome: "ok", "cancelled", "cut", "timed_out", "unreachable", "lost", "refused" or "http_<status>".
        cost: What it is counted as.
        reserved: What was set aside for it.
        period_ms: Beginning of the period that pays.
    """

    place: str
    leaving: Leaving
    outcome: str
    input_tokens: int
    output_tokens: int
    cost: int
    reserved: int
    period_ms: int
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A tenant's budget in the period that runs, in millionths; it began at `period_ms`."""

    used: int
    reserved: int
    period_ms: int


def reserve(leaving: Leaving, amount: int, policy: TenantPolicy, *, ttl_s: float, kept_s: float) -> Op[None]:
    """Sets money aside before anything leaves.

    Args:
        leaving: What is about to leave.
        amount: The most that it can cost, in millionths.
        policy: The tenant's.
        ttl_s: Longest the call can take; who does not settle it by then lost it.
        kept_s: How long the ledger keeps its entry.

    Raises:
        BudgetExhausted: The budget does not have it.
    """

    def parse(answer: list[Any]) -> None:
        granted, used, reserved = answer
        if not granted:
            left = max(0, policy.budget_micros - used - reserved) / MICROS
            raise BudgetExhausted(
                f"the call may cost {amount / MICROS:.6g}; {left:.6g} of {policy.budget:g} a {policy.period} is left",
                metadata={"model": leaving.model},
            )

    facts: dict[str, str | int] = {
        "job_id": leaving.job_id,
        "data_class": leaving.data_class,
        "model": leaving.model,
        "host": leaving.host,
        "documents": " ".join(leaving.documents),
        "body_digest": leaving.body_digest,
        "body_bytes": leaving.body_bytes,
        "image_count": leaving.image_count,
        "redaction_count": leaving.redaction_count,
        "why": leaving.why,
    }
    return _reserve(
        parse, leaving.id, leaving.tenant, policy.period, policy.budget_micros, amount, int(ttl_s * 1000),
        int(kept_s * 1000), *(part for fact in facts.items() for part in fact),
    )  # fmt: skip


def settle(call_id: str, outcome: str, cost: int, *, input_tokens: int = 0, output_tokens: int = 0) -> Op[bool]:
    """Ends a call with what it cost, in millionths. False: it has ended before, perhaps as lost."""
    return _settle(bool, call_id, outcome, cost, "input_tokens", input_tokens, "output_tokens", output_tokens)


def spent(tenant: str, policy: TenantPolicy) -> Op[Spent]:
    """Gives what a tenant has spent and set aside in the period that runs."""

    def parse(answer: list[Any]) -> Spent:
        return Spent(used=answer[0], reserved=answer[1], period_ms=int(answer[2]))

    return _budget(parse, tenant, policy.period)


def list_page(tenant: str, *, after: str, limit: int) -> Op[list[Entry]]:
    """Gives some of a tenant's entries, newest first, from the one after this place on ("": from the newest)."""

    def parse(answer: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
        # redis-py has made dicts of the fields.
        return [_entry(place.decode(), tenant, found) for place, found in answer]

    start = f"({after}" if after else "+"
    return Op(("XREVRANGE", f"{PREFIX}ledger:{tenant}", start, "-", "COUNT", limit), parse)


def _entry(place: str, tenant: str, found: Mapping[bytes, bytes]) -> Entry:
    def text(name: str) -> str:
        return found.get(name.encode(), b"").decode()

    def number(name: str) -> int:
        return int(text(name) or 0)

    leaving = Leaving(
        id=text("id"),
        tenant=tenant,
        job_id=text("job_id"),
        data_class=text("data_class"),
        model=text("model"),
        host=text("host"),
        documents=tuple(text("documents").split()),
        body_digest=text("body_digest"),
        body_bytes=number("body_bytes"),
        image_count=number("image_count"),
        redaction_count=number("redaction_count"),
        why=text("why"),
    )
    return Entry(
        place=place,
        leaving=leaving,
        outcome=text("outcome"),
        input_tokens=number("input_tokens"),
        output_tokens=number("output_tokens"),
        cost=number("cost"),
        reserved=number("reserved"),
        period_ms=number("period_ms"),
        begin_ms=number("begin_ms"),
        end_ms=number("end_ms"),
    )
