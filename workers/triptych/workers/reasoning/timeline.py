"""Keeps what ran, in order of start, and tells watchers as it goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from triptych.v1.job_pb2 import JobEvent, JobProgress, ProgressUnit
from triptych.v1.reasoning_pb2 import StageReport
from triptych.workers.reasoning.children import ChildOutcome


class Timeline:
    """The stages of one reasoning.

    Args:
        report: Told of every event.
        total: Stages that there will be, for the percentage.
    """

    def __init__(self, report: Callable[[JobEvent], Awaitable[None]], *, total: int) -> None:
        self._report = report
        self._total = total
        self._started: list[StageReport] = []
        self._ended = 0

    @property
    def stages(self) -> list[StageReport]:
        """Stages that ended well, in order of start."""
        return [stage for stage in self._started if stage.HasField("elapsed")]

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[StageReport]:
        """Times one stage; the body may fill in the job, the model and whether it was cached.

        A body that raises leaves no report: the error says what happened.
        """
        stage = StageReport(stage=name)
        self._started.append(stage)
        begun = time.monotonic()
        await self._tell_progress(name)
        yield stage
        if not stage.HasField("elapsed"):
            stage.elapsed.FromNanoseconds(int((time.monotonic() - begun) * 1e9))
        self._ended += 1
        await self._report(JobEvent(stage=stage))
        await self._tell_progress(name)

    async def _tell_progress(self, name: str) -> None:
        progress = JobProgress(
            stage=name,
            percent=min(100, 100 * self._ended // self._total),
            completed_unit_count=self._ended,
            total_unit_count=self._total,
            unit=ProgressUnit.PROGRESS_UNIT_STAGE,
        )
        await self._report(JobEvent(progress=progress))


def fill(stage: StageReport, outcome: ChildOutcome) -> None:
    """Notes the child job that ran a stage."""
    stage.job = outcome.job
    stage.elapsed.FromNanoseconds(int(outcome.elapsed_s * 1e9))
    stage.model.CopyFrom(outcome.model)
    stage.cached = outcome.cached
