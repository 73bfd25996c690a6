"""Cancels a job with everything that it started."""

from __future__ import annotations

from triptych.core import jobs
from triptych.core.errors import JobNotFound
from triptych.core.lookup import ANY_TENANT
from triptych.core.store import AsyncStore


async def cancel_tree(store: AsyncStore, job_id: str, tenant: str, *, abandoned: bool = False) -> None:
    """Asks for cancellation of a job and, below it, of its children. Terminal ones stay as they are.

    Args:
        store: Where they are.
        job_id: Of the job.
        tenant: Whose it is.
        abandoned: Whether its caller is gone; see `jobs.cancel`.

    Raises:
        JobNotFound: No such job of this tenant.
    """
    waiting = await store.run(jobs.cancel(job_id, tenant, abandoned=abandoned))
    while waiting:
        try:
            children = await store.run(jobs.cancel(waiting.pop(), ANY_TENANT))
        except JobNotFound:  # one that expired needs no cancelling
            continue
        waiting.extend(children)
