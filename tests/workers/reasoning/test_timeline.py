"""What watchers hear of the stages of a reasoning."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from workers.reasoning import test_pipeline
from workers.reasoning.paper import paragraph
from workers.reasoning.test_pipeline import PDF, PNG

from triptych.v1.job_pb2 import JobProgress, JobSpec, ProgressUnit
from triptych.workers.reasoning import timeline as timelines
from triptych.workers.reasoning.children import ChildOutcome, OnProgress
from triptych.workers.reasoning.generation import MAX_AT_ONCE
from triptych.workers.reasoning.ingest import MAX_READ_AT_ONCE
from triptych.workers.reasoning.pipeline import answer
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


@pytest.mark.parametrize(
    ("pipeline", "question", "says"),
    [
        ("summarize", "", "Sentence 1 of page 1 is about rent and water."),
        ("classify", "", "invoice"),
        ("answer", "Do all documents have the same total due?", "610"),
    ],
)
async def test_a_request_is_done_when_its_last_stage_is(pipeline: str, question: str, says: str) -> None:
    long = [
        paragraph(*(f"Sentence {n} of page {number} is about rent and water." for n in range(20)), number=number)
        for number in range(1, 31)
    ]
    given = {
        PDF: test_pipeline.pages(*long, paragraph("Total due: 610", number=31)),
        PNG: test_pipeline.pages(paragraph("Total due: 610")),
    }
    spec, log = test_pipeline.request(PDF, PNG, question=question), test_pipeline.Log()
    spec.pipeline = pipeline
    await answer(spec, test_pipeline.ScriptedChildren(given, says), log, test_pipeline.SHIPPED_ONLY)
    told = [event.progress for event in log.events if event.HasField("progress")]
    counted = [progress for progress in told if progress.unit == STAGE]
    assert all(progress.completed_unit_count <= progress.total_unit_count for progress in counted)
    assert [progress.percent for progress in told] == sorted(progress.percent for progress in told)
    assert told[-1].percent == 100
    assert all(progress.percent < 100 for progress in told[:-1])


class Counting(test_pipeline.ScriptedChildren):
    """Counts the children of each kind that run at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def run(self, spec: JobSpec, *, stage: str, on_progress: OnProgress | None = None) -> ChildOutcome:
        self.running[stage] += 1
        self.most[stage] = max(self.most[stage], self.running[stage])
        # Whoever may run does so before this one ends.
        await asyncio.sleep(0.01)
        try:
            return await super().run(spec, stage=stage, on_progress=on_progress)
        finally:
            self.running[stage] -= 1


async def test_one_request_keeps_no_more_children_going_than_leaves_room_for_others() -> None:
    contents = [PDF + b"%d" % number for number in range(32)]
    children = Counting(dict.fromkeys(contents, test_pipeline.pages(paragraph("Total due: 610"))), "invoice")
    spec = test_pipeline.request(*contents, question="")
    spec.pipeline = "classify"
    await answer(spec, children, test_pipeline.Log(), test_pipeline.SHIPPED_ONLY)
    assert children.most == {"ocr": MAX_READ_AT_ONCE, "classify": MAX_AT_ONCE}
