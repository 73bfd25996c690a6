"""What watchers hear of the stages of a reasoning."""

from __future__ import annotations

import pytest
from workers.reasoning import test_pipeline

from triptych.v1.job_pb2 import JobProgress, ProgressUnit
from triptych.workers.reasoning import timeline as timelines
from triptych.workers.reasoning.timeline import Timeline

PAGE, STAGE = ProgressUnit.PROGRESS_UNIT_PAGE, ProgressUnit.PROGRESS_UNIT_STAGE


def pages(done: int, total: int) -> JobProgress:
    return JobProgress(completed_unit_count=done, total_unit_count=total, unit=PAGE)


class Told:
    """A timeline and what it last told."""

    def __init__(self) -> None:
        self.log = test_pipeline.Log()
        self.timeline = Timeline(self.log, total=4)

    @property
    def last(self) -> tuple[int, int, int, int]:
        progress = self.log.events[-1].progress
        return progress.percent, progress.completed_unit_count, progress.total_unit_count, progress.unit


async def test_pages_of_all_documents_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "TELL_EVERY_S", 0)
    told = Told()
    async with told.timeline.stage("ocr") as one, told.timeline.stage("ocr") as other:
        assert told.last == (0, 0, 4, STAGE)
        await told.timeline.moved(one, pages(2, 10))
        # How many the other has is not known yet.
        assert told.last == (5, 2, 0, PAGE)
        await told.timeline.moved(other, pages(5, 10))
        assert told.last == (17, 7, 20, PAGE)
    assert told.last[0] == 50


async def test_a_child_that_begins_anew_takes_no_percent_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "TELL_EVERY_S", 0)
    told = Told()
    async with told.timeline.stage("ocr") as stage:
        await told.timeline.moved(stage, pages(8, 10))
        await told.timeline.moved(stage, pages(1, 10))
        assert told.last == (20, 1, 10, PAGE)


async def test_many_steps_are_told_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    async with told.timeline.stage("ocr") as stage:
        monkeypatch.setattr(timelines, "TELL_EVERY_S", 3600)
        for done in range(1000):
            await told.timeline.moved(stage, pages(done, 1000))
        assert len(told.log.events) == 1
    assert told.last == (25, 999, 1000, PAGE)
