"""What stands behind the services of one process: stores, queue, events, models, and work that outlives a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from triptych.core.blob_choice import open_blobs
from triptych.core.blobs import BlobStore
from triptych.core.broker import Broker
from triptych.core.catalog import Catalog
from triptych.core.errors import TriptychError
from triptych.core.events import EventHub
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.policy import Policy
from triptych.core.settings import Settings
from triptych.core.store import AsyncStore
from triptych.core.submission import Submission
from triptych.core.watermarks import Watermarks
from triptych.services.drain import Drain
from triptych.services.webhook_rules import WebhookRules

T = TypeVar("T")
log = logging.getLogger("triptych.services")


class Errands:
    """Work that goes on when the call that wanted it is gone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins the work; gives its task, which nobody has to await."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self, timeout_s: float) -> None:
        """Waits for all of it, then gives up the rest."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Whoever awaits the task reports the error as well; this keeps it when nobody does.
            bug = not isinstance(error, TriptychError)
            log.log(logging.ERROR if bug else logging.DEBUG, "errand failed", exc_info=error if bug else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Everything that servicers share; bound to the loop that made it."""

    settings: Settings
    store: AsyncStore
    blobs: BlobStore
    broker: Broker
    watermarks: Watermarks
    submission: Submission
    hub: EventHub
    catalog: Catalog
    pipelines: Pipelines
    policy: Policy
    webhooks: WebhookRules
    drain: Drain
    errands: Errands

    @classmethod
    def open(cls, settings: Settings) -> Backend:
        """Connects nothing yet: a Redis that is away is reported by each call until it is back.

        Raises:
            FieldInvalid: A setting of webhooks, the models' file or the policy is wrong.
        """
        catalog = Catalog.load(settings)
        store, broker, blobs = AsyncStore(settings.redis_url), Broker(settings), open_blobs(settings)
        return cls(
            settings=settings,
            store=store,
            blobs=blobs,
            broker=broker,
            watermarks=Watermarks(settings, store),
            submission=Submission(settings, store, broker, blobs),
            hub=EventHub(store, settings.redis_url),
            catalog=catalog,
            pipelines=Pipelines.load(settings, catalog),
            policy=Policy.load(settings, catalog),
            webhooks=WebhookRules(settings),
            drain=Drain(),
            errands=Errands(),
        )

    async def close(self) -> None:
        """Finishes errands and closes the connections."""
        await self.errands.finish(5)
        await self.hub.stop()
        await asyncio.to_thread(self.submission.close)
        await asyncio.to_thread(self.broker.close)
        await self.store.close()
