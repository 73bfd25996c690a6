"""The jobs of one live call: looks at what was said so far, of which nothing stays, and the ones that give finals."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc.status_pb2 import Status

from triptych.core import jobs
from triptych.core.cancellation import cancel_tree
from triptych.core.errors import (
    HostExhausted,
    JobNotFound,
    JobNotTerminal,
    QueueFull,
    QueueTimeout,
    RateLimited,
    Unavailable,
    from_status,
)
from triptych.core.records import JobRecord
from triptych.services.backend import Backend
from triptych.services.caller import Caller
from triptych.services.intake import Intake, Wanted
from triptych.services.live.sound import Sound
from triptych.services.live.terms import LiveTerms
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CACHE_POLICY_BYPASS, JobOptions, JobResult, JobSpec
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionResult, TranscriptionSpec

log = logging.getLogger("triptych.services")

# Whoever waits longer for a worker has lost interest in a look, and the call its sense.
_LOOK_QUEUE_S, _FINAL_QUEUE_S = 30, 120
# How long one attempt may take. Both are seconds of work.
_EXECUTION_S = 120
# Least that a record can be asked to be kept; it is deleted before.
_LOOK_TTL_S = 60
PASSING = (Unavailable, QueueFull, RateLimited, HostExhausted, QueueTimeout)
"""Errors after which the same job may succeed."""


class LiveJobs:
    """Submits jobs for one call, one at a time, and waits for them; whoever leaves meanwhile leaves none behind.

    Args:
        backend: Of the service.
        intake: Which checks and submits them.
        caller: Whose they are.
        context: Of the call, for its deadline.
        terms: Of the call.
    """

    def __init__(self, backend: Backend, intake: Intake, caller: Caller, context: Any, terms: LiveTerms) -> None:
        self._backend = backend
        self._intake = intake
        self._caller = caller
        self._context = context
        self._terms = terms

    async def check(self) -> None:
        """Checks what the jobs will be, so that the caller hears it at once.

        Raises:
            InvalidInput, NotFound: What the call wants can never succeed.
            NoWorker: Nobody serves it.
        """
        nothing = InputSource(content=Sound().wav(0, 0))
        options = JobOptions(labels=self._terms.labels)
        await self._intake.check(self._wanted(nothing, self._terms.config, options, passing=False), self._caller)

    async def look(self, wav: bytes) -> TranscriptionResult:
        """Gives what is heard; job and bytes are deleted.

        Raises:
            TriptychError: What the job ended with, or why there is none.
        """
        options = JobOptions(
            cache_policy=CACHE_POLICY_BYPASS,
            queue_timeout=Duration(seconds=_LOOK_QUEUE_S),
            execution_timeout=Duration(seconds=_EXECUTION_S),
            result_ttl=Duration(seconds=_LOOK_TTL_S),
        )
        _, result = await self._run(wav, self._terms.interim_config(), options, passing=True)
        return result

    async def final(self, wav: bytes) -> tuple[str, TranscriptionResult]:
        """Gives the job's name and its result.

        Raises:
            TriptychError: As `look`.
        """
        options = JobOptions(
            labels=self._terms.labels,
            queue_timeout=Duration(seconds=_FINAL_QUEUE_S),
            execution_timeout=Duration(seconds=_EXECUTION_S),
        )
        return await self._run(wav, self._terms.config, options, passing=False)

    async def _run(
        self, wav: bytes, config: TranscriptionConfig, options: JobOptions, *, passing: bool
    ) -> tuple[str, TranscriptionResult]:
        wanted = self._wanted(InputSource(content=wav), config, options, passing=passing)
        # A caller who goes away meanwhile must not leave a job behind that nobody knows of: the submission ends.
        submission = self._backend.errands.run(self._intake.submit(wanted, self._caller))
        record: JobRecord | None = None
        try:
            job = await asyncio.shield(submission)
            record = await self._backend.hub.wait(job.id, self._caller.tenant)
        finally:
            if record is None:
                self._backend.errands.run(self._abandon(submission))
            elif passing:
                self._backend.errands.run(self._forget(record))
        if record.error:
            error = from_status(Status.FromString(record.error))
            error.metadata.setdefault("job", f"jobs/{record.id}")
            raise error
        return f"jobs/{record.id}", (await self._result(record)).transcription

    def _wanted(
        self, source: InputSource, config: TranscriptionConfig, options: JobOptions, *, passing: bool
    ) -> Wanted:
        return Wanted(
            spec=JobSpec(transcription=TranscriptionSpec(input=source, config=config)),
            options=options,
            request_id="",
            path="config",
            waits=True,
            call_timeout_s=self._context.time_remaining() or 0,
            passing=passing,
        )

    async def _result(self, record: JobRecord) -> JobResult:
        if not record.result_blob:
            return JobResult.FromString(record.result)
        raw = await asyncio.to_thread(self._backend.blobs.read, record.tenant, record.result_blob)
        return JobResult.FromString(raw)

    async def _abandon(self, submission: asyncio.Task[JobRecord]) -> None:
        job = await submission
        log.info("cancelled: its call is gone", extra={"job_id": job.id, "trace_id": self._caller.trace_id})
        with suppress(JobNotFound):
            await cancel_tree(self._backend.store, job.id, job.tenant, abandoned=True)

    async def _forget(self, record: JobRecord) -> None:
        """Deletes a look that has ended: its bytes are nobody else's."""
        spec = record.job_spec()
        await asyncio.to_thread(self._backend.blobs.delete, record.tenant, spec.transcription.input.blob)
        with suppress(JobNotFound, JobNotTerminal):
            await self._backend.store.run(jobs.delete(record.id, record.tenant))
