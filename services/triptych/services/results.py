"""Finds the results of jobs that have ended, for callers who want them written otherwise."""

from __future__ import annotations

import asyncio

from google.rpc.status_pb2 import Status

from triptych.core.errors import FieldInvalid, JobNotTerminal, from_status
from triptych.core.lookup import get
from triptych.core.records import JobRecord
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.caller import CALLER


async def ended_job(backend: Backend, name: str, kind: str) -> JobRecord:
    """Gives a job of the caller's that has succeeded.

    Args:
        backend: Where jobs are.
        name: "jobs/<id>", from the field "job".
        kind: The job has to be of it.

    Raises:
        FieldInvalid: It is no name of a job, or the job is of another kind.
        JobNotFound, JobNotTerminal: There is no such job, or it has not ended.
        TriptychError: The error with which it ended.
    """
    record = await backend.store.run(get(fields.job_id(name, "job"), CALLER.get().tenant))
    if record.kind != kind:
        raise FieldInvalid("job", f"{name} is a job of kind {record.kind}, not {kind}")
    if not record.terminal:
        raise JobNotTerminal(f"{name} has not ended; its result can be written when it has")
    if record.error:
        error = from_status(Status.FromString(record.error))
        error.metadata.setdefault("job", name)
        raise error
    return record


async def raw_result(backend: Backend, record: JobRecord) -> bytes:
    """Gives the result of a job that has succeeded, wherever it lies: a serialized JobResult.

    Raises:
        BlobNotFound: It is kept no more.
    """
    blob = record.result_blob
    return await asyncio.to_thread(backend.blobs.read, record.tenant, blob) if blob else record.result
