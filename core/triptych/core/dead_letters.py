"""The dead letters of a tenant: jobs of which units were set aside, until somebody retries or drops them."""

from __future__ import annotations

from triptych.core.store import Op, Script

_retried = Script("retried")


def retried(job_id: str, tenant: str) -> Op[None]:
    """Takes a job that was retried, with its parts, off the list; the jobs themselves stay."""
    return _retried(lambda _done: None, job_id, tenant)
