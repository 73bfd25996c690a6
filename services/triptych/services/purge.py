"""Purges a document or a tenant: stops the jobs that read it, removes what comes of it, and looks for what is left."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from triptych.core.cancellation import cancel_tree
from triptych.core.errors import JobNotFound
from triptych.core.purging import Purge
from triptych.core.store import Store
from triptych.services.backend import Backend
from triptych.v1.blob_service_pb2 import PurgeResponse


async def purge(backend: Backend, tenant: str, document: str, stop_s: float) -> PurgeResponse:
    """Purges; a job that does not stop in time stays, and counts as a trace.

    Args:
        backend: Stores and events.
        tenant: Whose.
        document: Name of the document's blob; empty: everything of the tenant.
        stop_s: How long running jobs may take to stop.

    Raises:
        BackendUnavailable: Redis cannot be reached; what was begun is finished by another purge.
    """
    store = Store(backend.settings.redis_url)
    try:
        one = Purge(store, backend.blobs, tenant=tenant, document=document)
        await _stop(backend, one, tenant, time.monotonic() + stop_s)
        removed = await asyncio.to_thread(one.remove)
        return PurgeResponse(
            job_count=removed.job_count,
            unit_count=removed.unit_count,
            blob_count=removed.blob_count,
            remaining_count=await asyncio.to_thread(one.traces),
        )
    finally:
        store.close()


async def _stop(backend: Backend, one: Purge, tenant: str, until: float) -> None:
    """Cancels the jobs and waits for their end, also of children that came meanwhile."""
    asked: set[str] = set()
    while new := await asyncio.to_thread(one.running) - asked:
        for job_id in new:
            with suppress(JobNotFound):
                await cancel_tree(backend.store, job_id, tenant)
        for job_id in new:
            with suppress(JobNotFound):
                await backend.hub.wait(job_id, tenant, max(0, until - time.monotonic()))
        asked |= new
