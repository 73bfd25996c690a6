"""Jobs of any kind: submitting, watching, cancelling and retrying them."""
# ruff: noqa: N802 - methods bear the contract's names

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from triptych.core import dead_letters, jobs, lookup
from triptych.core.cancellation import cancel_tree
from triptych.core.errors import FieldInvalid, JobNotTerminal
from triptych.core.records import TERMINAL, JobRecord
from triptych.services import fields
from triptych.services.backend import Backend
from triptych.services.caller import CALLER
from triptych.services.deadlines import patience_s
from triptych.services.intake import Intake, Wanted
from triptych.services.joblist import JobList
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.job_pb2 import JobView
from triptych.v1.job_service_pb2_grpc import JobServiceServicer


class Jobs(JobServiceServicer):
    """The only way to submit work without waiting for it."""

    def __init__(self, backend: Backend, intake: Intake) -> None:
        self._backend = backend
        self._intake = intake
        self._list = JobList(backend.store)

    async def SubmitJob(self, request: pb.SubmitJobRequest, _context: Any) -> pb.SubmitJobResponse:
        """Accepts a job; with validate_only, only says whether it would be."""
        wanted = Wanted(
            spec=request.spec,
            options=request.options,
            request_id=request.request_id,
            path=f"spec.{request.spec.WhichOneof('spec')}" if request.spec.WhichOneof("spec") else "spec",
            waits=False,
        )
        if request.validate_only:
            await self._intake.check(wanted, CALLER.get())
            return pb.SubmitJobResponse()
        record = await self._intake.submit(wanted, CALLER.get())
        return pb.SubmitJobResponse(job=record.to_job(JobView.JOB_VIEW_BASIC))

    async def GetJob(self, request: pb.GetJobRequest, _context: Any) -> pb.GetJobResponse:
        """Gives the latest state."""
        fields.known_enums(request, "")
        record = await self._get(fields.job_id(request.name))
        return pb.GetJobResponse(job=record.to_job(request.view or JobView.JOB_VIEW_FULL))

    async def ListJobs(self, request: pb.ListJobsRequest, _context: Any) -> pb.ListJobsResponse:
        """Lists the caller's jobs, newest first."""
        fields.known_enums(request, "")
        if request.view == JobView.JOB_VIEW_FULL:
            raise FieldInvalid("view", "FULL is not given in lists; get the jobs one by one")
        return await self._list.page(request, CALLER.get().tenant)

    async def WaitJob(self, request: pb.WaitJobRequest, context: Any) -> pb.WaitJobResponse:
        """Waits for the end of a job, or of the time."""
        fields.known_enums(request, "")
        job_id = fields.job_id(request.name)
        most_s = float(self._backend.settings.max_wait_s)
        # More than the most is no error: the caller calls again.
        asked_s = fields.duration(request, "timeout", 0, float("inf"), "")
        timeout_s = patience_s(context, most_s if asked_s is None else min(asked_s, most_s))
        waiting = self._backend.hub.wait(job_id, CALLER.get().tenant, timeout_s)
        record = await self._backend.drain.call(waiting)
        return pb.WaitJobResponse(job=record.to_job(request.view or JobView.JOB_VIEW_FULL))

    async def WatchJob(self, request: pb.WatchJobRequest, _context: Any) -> AsyncIterator[pb.WatchJobResponse]:
        """Streams a job's events until it is terminal."""
        events = self._backend.hub.watch(
            fields.job_id(request.name),
            CALLER.get().tenant,
            after_cursor=request.after_cursor,
            partials=request.include_partials,
            heartbeat_s=self._backend.settings.heartbeat_s,
        )
        async for event in self._backend.drain.stream(events):
            yield pb.WatchJobResponse(event=event)

    async def CancelJob(self, request: pb.CancelJobRequest, _context: Any) -> pb.CancelJobResponse:
        """Asks for cancellation, of child jobs too."""
        job_id = fields.job_id(request.name)
        await cancel_tree(self._backend.store, job_id, CALLER.get().tenant)
        record = await self._get(job_id)
        return pb.CancelJobResponse(job=record.to_job(JobView.JOB_VIEW_BASIC))

    async def RetryJob(self, request: pb.RetryJobRequest, _context: Any) -> pb.RetryJobResponse:
        """Submits an ended job again; it leaves the dead letters, but stays with what came of it."""
        record = await self._get(fields.job_id(request.name))
        if record.parent:
            # Nobody would use its result: the job that started it has ended, or has gone on without it.
            raise FieldInvalid("name", f"{request.name} is a part of jobs/{record.parent}; retry that one")
        if not record.terminal:
            raise JobNotTerminal(f"{request.name} is not terminal; only a job that has ended can be retried")
        wanted = Wanted(
            spec=record.job_spec(),
            options=record.job_options(),
            request_id=request.request_id,
            path=f"spec.{record.kind}",
            waits=False,
            retry_of=record.id,
            webhook=record.webhook,
        )
        again = await self._intake.submit(wanted, CALLER.get())
        await self._backend.store.run(dead_letters.retried(record.id, record.tenant))
        return pb.RetryJobResponse(job=again.to_job(JobView.JOB_VIEW_BASIC))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Any) -> pb.DeleteJobResponse:
        """Deletes a job and its inline result; a result blob, which other jobs may share, lives out its time."""
        job_id, tenant = fields.job_id(request.name), CALLER.get().tenant
        if request.force and (await self._get(job_id)).state not in TERMINAL:
            await cancel_tree(self._backend.store, job_id, tenant)
            timeout_s = patience_s(context, self._backend.settings.max_wait_s)
            record = await self._backend.drain.call(self._backend.hub.wait(job_id, tenant, timeout_s))
            if not record.terminal:
                raise JobNotTerminal(f"{request.name} is being cancelled but still runs; delete it again later")
        await self._backend.store.run(jobs.delete(job_id, tenant))
        return pb.DeleteJobResponse()

    async def _get(self, job_id: str) -> JobRecord:
        return await self._backend.store.run(lookup.get(job_id, CALLER.get().tenant))
