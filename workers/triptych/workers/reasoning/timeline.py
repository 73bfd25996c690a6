"""Keeps what ran, in order of start, and tells watchers as it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from triptych.v1.job_pb2 import JobEvent, JobProgress, ProgressUnit
from triptych.v1.reasoning_pb2 import StageReport
from triptych.workers.reasoning.children import ChildOutcome

# However many documents are read at once, watchers hear of their pages no more often than this.
TELL_EVERY_S = 0.5


@dataclass(slots=True, kw_only=True)
class _Step:
    """A stage that was begun, and how far it is."""

    report: StageReport
    progress: JobProgress = field(default_factory=JobProgress)
    ended: bool = False

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.ended:
            return 1.0
        total = self.progress.total_unit_count
        return min(1.0, self.progress.completed_unit_count / total) if total else 0.0


class Timeline:
    """The stages of one reasoning.

    Args:
        report: Told of every event.
        total: Stages that there will be as far as is known, for the percentage; see `expect`.
    """

    def __init__(self, report: Callable[[JobEvent], Awaitable[None]], *, total: int) -> None:
        self._report = report
        self._total = total
        self._steps: list[_Step] = []
        self._percent = 0
        self._told_at = float("-inf")
        self._telling = asyncio.Lock()

    @property
    def stages(self) -> list[StageReport]:
        """Stages that ended well, in order of start."""
        return [step.report for step in self._steps if step.ended]

    def expect(self, more: int) -> None:
        """Says that there will be more stages than was thought, or (negative) fewer; the percentage never falls."""
        self._total = max(len(self._steps), self._total + more)

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[StageReport]:
        """Times one stage; the body may fill in the job, the model and whether it was cached.

        A body that raises leaves no report: the error says what happened.
        """
        step = _Step(report=StageReport(stage=name))
        self._steps.append(step)
        self._total = max(self._total, len(self._steps))
        begun = time.monotonic()
        await self._tell(name)
        yield step.report
        if not step.report.HasField("elapsed"):
            step.report.elapsed.FromNanoseconds(int((time.monotonic() - begun) * 1e9))
        step.ended = True
        await self._report(JobEvent(stage=step.report))
        await self._tell(name)

    async def moved(self, stage: StageReport, progress: JobProgress) -> None:
        """Notes how far a running stage is; watchers are told now and then.

        Args:
            stage: As `stage` gave it.
            progress: Of its child job.
        """
        for step in self._steps:
            if step.report is stage:
                step.progress = progress
        if not self._telling.locked() and time.monotonic() - self._told_at >= TELL_EVERY_S:
            await self._tell(stage.stage)

    async def _tell(self, name: str) -> None:
        """Tells how far all stages of a name are together, in pages or in audio where that is known, else in stages."""
        # One after the other: what is further arrives later.
        async with self._telling:
            self._told_at = time.monotonic()
            await self._report(JobEvent(progress=self._progress(name)))

    def _progress(self, name: str) -> JobProgress:
        done = sum(step.share for step in self._steps)
        # A child that begins anew, or stages that turn up later, take nothing back.
        self._percent = max(self._percent, min(100, int(100 * done / self._total)))
        alike = [step.progress for step in self._steps if step.report.stage == name]
        known = [progress for progress in alike if progress.total_unit_count]
        progress = JobProgress(stage=name, percent=self._percent)
        if known and len({each.unit for each in known}) == 1:
            progress.unit = known[0].unit
            progress.completed_unit_count = sum(each.completed_unit_count for each in known)
            if len(known) == len(alike):
                progress.total_unit_count = sum(each.total_unit_count for each in known)
        else:
            progress.unit = ProgressUnit.PROGRESS_UNIT_STAGE
            progress.completed_unit_count = sum(step.ended for step in self._steps)
            progress.total_unit_count = self._total
        return progress


def fill(stage: StageReport, outcome: ChildOutcome) -> None:
    """Notes the child job that ran a stage."""
    stage.job = outcome.job
    stage.elapsed.FromNanoseconds(int(outcome.elapsed_s * 1e9))
    stage.model.CopyFrom(outcome.model)
    stage.cached = outcome.cached
