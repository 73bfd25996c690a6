"""Submits, awaits and manages jobs of any kind."""

from __future__ import annotations

import time
import uuid

from triptych.client import blobs
from triptych.client.steps import Flow, Pause, backoff_s, call
from triptych.core.errors import InternalError, TimedOut, Unavailable, from_status
from triptych.v1.job_pb2 import Job, JobOptions, JobResult, JobSpec, JobState
from triptych.v1.job_service_pb2 import (
    CancelJobRequest,
    CancelJobResponse,
    DeleteJobRequest,
    DeleteJobResponse,
    GetJobRequest,
    GetJobResponse,
    JobFilter,
    ListJobsRequest,
    ListJobsResponse,
    RetryJobRequest,
    RetryJobResponse,
    SubmitJobRequest,
    SubmitJobResponse,
    WaitJobRequest,
    WaitJobResponse,
)

MAX_FAILURES = 8
WAIT_ROUND_S = 60.0
TERMINAL = frozenset({JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED})


def submit(spec: JobSpec, options: JobOptions | None, request_id: str) -> Flow[Job]:
    """Submits a job; an id is made up where the caller gives none, so that a retry cannot run it twice."""
    request = SubmitJobRequest(spec=spec, options=options, request_id=request_id or str(uuid.uuid4()))
    return (yield from call("JobService", "SubmitJob", request, SubmitJobResponse)).job


def get(name: str) -> Flow[Job]:
    """Gives a job with its outcome."""
    return (yield from call("JobService", "GetJob", GetJobRequest(name=name), GetJobResponse)).job


def list_jobs(job_filter: JobFilter | None, limit: int) -> Flow[list[Job]]:
    """Gives the newest jobs, at most `limit`."""
    found: list[Job] = []
    token = ""
    while len(found) < limit:
        request = ListJobsRequest(page_size=min(500, limit - len(found)), page_token=token, filter=job_filter)
        page = yield from call("JobService", "ListJobs", request, ListJobsResponse)
        found.extend(page.jobs)
        token = page.next_page_token
        if not token:
            break
    return found[:limit]


def cancel(name: str) -> Flow[Job]:
    """Asks for cancellation."""
    return (yield from call("JobService", "CancelJob", CancelJobRequest(name=name), CancelJobResponse)).job


def retry(name: str, request_id: str) -> Flow[Job]:
    """Submits an ended job again; an id is made up as in `submit`."""
    request = RetryJobRequest(name=name, request_id=request_id or str(uuid.uuid4()))
    return (yield from call("JobService", "RetryJob", request, RetryJobResponse)).job


def delete(name: str, force: bool) -> Flow[None]:
    """Deletes a job and its result."""
    yield from call("JobService", "DeleteJob", DeleteJobRequest(name=name, force=force), DeleteJobResponse)


def wait(name: str, timeout_s: float | None) -> Flow[Job]:
    """Waits until a job is terminal, in rounds of a minute.

    Raises:
        TimedOut: It was not terminal in time; it goes on.
        Unavailable: The services stayed away.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    failures = 0
    while True:
        round_s = WAIT_ROUND_S if end is None else max(0.0, min(WAIT_ROUND_S, end - time.monotonic()))
        request = WaitJobRequest(name=name)
        request.timeout.FromMilliseconds(int(round_s * 1000))
        try:
            job = (yield from call("JobService", "WaitJob", request, WaitJobResponse, round_s + 10)).job
        except Unavailable:
            failures += 1
            if failures > MAX_FAILURES:
                raise
            yield Pause(seconds=backoff_s(failures))
            continue
        failures = 0
        if job.state in TERMINAL:
            return job
        if end is not None and time.monotonic() >= end:
            raise TimedOut(f"{name} was not done after {timeout_s:g} s; it goes on", metadata={"job": name})


def outcome(job: Job) -> Flow[JobResult]:
    """Gives the result of a terminal job, fetched from the blob store if it is large.

    Raises:
        TriptychError: The error with which the job failed.
    """
    kind = job.WhichOneof("outcome")
    if kind == "error":
        error = from_status(job.error)
        error.metadata.setdefault("job", job.name)
        raise error
    if kind == "result_blob":
        return JobResult.FromString((yield from blobs.read(job.result_blob)))
    if kind == "result":
        return job.result
    raise InternalError(f"{job.name} has no outcome", metadata={"job": job.name})
