"""Brings messages about ended jobs to their webhooks, again and again until they are taken or given up."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import Counter as Counts
from contextlib import suppress

from prometheus_client import Counter, Gauge

from triptych.core import deliveries
from triptych.core.deliveries import Delivery
from triptych.core.errors import BackendUnavailable, FieldInvalid, WebhookNotAllowed
from triptych.core.store import Op
from triptych.services.backend import Backend
from triptych.services.cloud_events import body_of, headers_of
from triptych.services.poster import Answer, NameLookup, Poster

log = logging.getLogger("triptych.webhooks")

ATTEMPTS = Counter("triptych_webhook_attempts", "Attempts to deliver a message, by what came of them", ["outcome"])
DEAD = Gauge("triptych_webhook_dead_letters", "Messages that were given up and can be replayed")

LOOK_EVERY_S = 1.0
# Pauses after the first attempt, the second, ...: about 28 hours in all.
PAUSES_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
# The longest that a receiver can put us off.
MAX_RETRY_AFTER_S = 10 * 3600
MAX_AT_ONCE = 32
# One host that answers slowly leaves room for the others.
MAX_PER_HOST = 4
# From the answer, or the lack of one, to its record.
_SETTLE_S = 15
_GONE = 410


class Deliverer:
    """Takes what is due and posts it. Several of them, in several processes, share the work."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._rules = backend.webhooks
        self._timeout_s = backend.settings.webhook_timeout_s
        self._poster = Poster(NameLookup(MAX_AT_ONCE), self._rules.check_addresses, ssl.create_default_context())
        # Host -> attempts under way.
        self._busy: Counts[str] = Counts()
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Delivers until cancelled; attempts that are under way then are finished as errands."""
        while True:
            self._freed.clear()
            try:
                await self._take()
            except BackendUnavailable:
                log.debug("nothing is delivered: Redis is away")
            except Exception:
                # Whatever it is, without a deliverer nobody would be told any more.
                log.exception("deliveries could not be taken")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._freed.wait()

    async def _take(self) -> None:
        free = MAX_AT_ONCE - self._busy.total()
        if not free:
            return
        lease_s = self._timeout_s + _SETTLE_S
        leased = await self._backend.store.run(
            deliveries.lease(lease_s=lease_s, limit=free, per_host=MAX_PER_HOST, busy=self._busy)
        )
        DEAD.set(leased.dead_count)
        for delivery in leased.deliveries:
            self._busy[delivery.host] += 1
            self._backend.errands.run(self._deliver(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._backend.store.run(await self._outcome(delivery))
        finally:
            self._busy[delivery.host] -= 1
            self._busy += Counts()  # forgets zeros
            self._freed.set()

    async def _outcome(self, delivery: Delivery) -> Op[bool]:
        """Makes an attempt; gives what to record."""
        try:
            answer = await self._attempt(delivery)
        except (WebhookNotAllowed, FieldInvalid) as refusal:
            return self._give_up(delivery, refusal.message)
        except Exception:
            # It must not be attempted for ever because of a mistake of ours.
            log.exception("a message could not be sent", extra={"job_id": delivery.id})
            answer = Answer(error="internal error")
        if 200 <= answer.status < 300:
            self._tell(delivery, "taken", f"HTTP {answer.status}")
            return deliveries.taken(delivery)
        error = answer.error or f"HTTP {answer.status}"
        if answer.status == _GONE or delivery.series > len(PAUSES_S):
            return self._give_up(delivery, error)
        self._tell(delivery, "again", error)
        pause_s = PAUSES_S[delivery.series - 1] * random.uniform(0.8, 1.2)
        return deliveries.again(delivery, max(pause_s, min(answer.retry_after_s, MAX_RETRY_AFTER_S)), error)

    async def _attempt(self, delivery: Delivery) -> Answer:
        tenant = delivery.record.tenant
        # The operator may have changed the rules since the job was accepted.
        url = self._rules.check(delivery.url, tenant)
        body = body_of(delivery.record)
        headers = headers_of(delivery.id, body, self._rules.secrets_of(tenant))
        return await self._poster.post(url, headers, body, timeout_s=self._timeout_s)

    def _give_up(self, delivery: Delivery, error: str) -> Op[bool]:
        self._tell(delivery, "dead", error)
        return deliveries.give_up(delivery, self._backend.settings.webhook_dead_ttl_s, error)

    def _tell(self, delivery: Delivery, outcome: str, met: str) -> None:
        ATTEMPTS.labels(outcome).inc()
        log.log(
            logging.WARNING if outcome == "dead" else logging.INFO,
            "webhook: %s",
            outcome,
            # Not the URL: some bear a secret in it.
            extra={"job_id": delivery.id, "host": delivery.host, "attempt": delivery.attempts, "met": met},
        )
