"""Checks what was told of a job, event by event, against what the contract promises.

    PENDING ──▶ RUNNING ──▶ SUCCEEDED | FAILED | CANCELLED
       ▲ │       │ │ ▲
       │ │       │ └─┼─▶ CANCELLING ──▶ CANCELLED, or SUCCEEDED | FAILED if it was too late
       │ └───────┼───┼─▶ FAILED | CANCELLED
       └─────────┘   └── with the next attempt

For tests, ours and those of whoever builds on the suite.
"""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.outcomes import Violation, broken_outcome, broken_result
from triptych.core.records import TERMINAL
from triptych.v1.job_pb2 import Job, JobEvent, JobProgress, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.transcription_pb2 import TranscriptSegment

_PENDING, _RUNNING, _CANCELLING = (
    JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_CANCELLING,
)  # fmt: skip
_ENDED_BADLY = frozenset({JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED})
_NEXT: dict[JobState.ValueType, frozenset[JobState.ValueType]] = {
    JobState.JOB_STATE_UNSPECIFIED: frozenset({_PENDING}),
    _PENDING: _ENDED_BADLY | {_RUNNING},
    _RUNNING: TERMINAL | {_PENDING, _CANCELLING},
    _CANCELLING: TERMINAL,
}


def violations(events: Iterable[JobEvent], job: Job, result: JobResult | None = None) -> list[Violation]:
    """Checks one whole watch of a job, broken and resumed or not.

    Args:
        events: All that WatchJob gave, beginning with the first event that is kept.
        job: The job afterwards, JOB_VIEW_FULL.
        result: What lies in `Job.result_blob`, if the result does.
    """
    history = History(job.name)
    for event in events:
        history.see(event)
    return history.end(job, result)


class History:
    """The state machine that a watch has to follow.

    Heartbeats, which tell a waiting job's place in the queue, and snapshots say where it is; the rest moves it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[Violation] = []
        self._state = JobState.JOB_STATE_UNSPECIFIED
        self._attempt = 0
        self._cursor = ""
        # What a snapshot was ahead of us, still to be told.
        self._foretold: list[tuple[JobState.ValueType, int]] = []
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._percent = 0
        self._pages: dict[int, OcrPage] = {}
        self._segments: dict[int, TranscriptSegment] = {}

    def see(self, event: JobEvent) -> None:
        """Takes the next event."""
        which = event.WhichOneof("event")
        if not self._cursor and which != "job":
            self._complain("snapshot", f"the watch begins with {which}")
        beat = which == "heartbeat" or event.progress.HasField("queue_position")
        if beat or (which == "job" and event.cursor == self._cursor) or not self._cursor:
            self._stand(event)
            return
        if _position(event.cursor) <= _position(self._cursor):
            self._complain("cursor", f"{event.cursor} comes after {self._cursor}")
        self._cursor = event.cursor
        if self._state in TERMINAL:
            self._complain("end", f"{which} is told after {_name(self._state)}")
        if which == "job":
            self._move(event)
        else:
            self._partial(event)

    def end(self, job: Job, result: JobResult | None = None) -> list[Violation]:
        """Compares with the job as it is now (JOB_VIEW_FULL), and gives all that was found."""
        if (job.state, job.attempt) != (self._state, max(1, self._attempt)):
            told = f"{_name(self._state)} in attempt {self._attempt}"
            self._complain("record", f"{told} was told, {_name(job.state)} in attempt {job.attempt} is recorded")
        for state, attempt in self._foretold:
            self._complain("snapshot", f"{_name(state)} in attempt {attempt} was shown and never told")
        if job.HasField("start_time") != bool(self._attempt):
            self._complain("record", f"start_time does not fit {self._attempt} attempts")
        times_ms = [time.ToMilliseconds() for time in (job.create_time, job.start_time, job.end_time)]
        if (set_ms := [time_ms for time_ms in times_ms if time_ms]) != sorted(set_ms):
            self._complain("record", f"created, started and ended at {times_ms}")
        if job.state == JobState.JOB_STATE_SUCCEEDED:
            kept = result or job.result
            self._found.extend(broken_result(job, kept))
            self._compare(kept)
        return self._found

    def _stand(self, event: JobEvent) -> None:
        """A snapshot or a heartbeat: nothing happens at it."""
        if self._cursor and event.cursor != self._cursor:
            self._complain("cursor", f"a heartbeat stands at {event.cursor}, not at {self._cursor}")
        self._cursor = self._cursor or event.cursor
        if event.HasField("job") and (event.job.state, event.job.attempt) != (self._state, max(1, self._attempt)):
            self._foretold.append((event.job.state, event.job.attempt))

    def _move(self, event: JobEvent) -> None:
        """The state changes."""
        job = event.job
        waited = self._state == _PENDING
        cached = waited and job.cached and job.state == JobState.JOB_STATE_SUCCEEDED
        if job.state not in _NEXT.get(self._state, ()) and not cached:
            self._complain("transition", f"{_name(self._state)} -> {_name(job.state)}")
        runs = job.state == _RUNNING
        due = self._attempt + 1 if runs else max(1, self._attempt)
        if not event.attempt == job.attempt == due:
            found = f"attempt {event.attempt} (its job: {job.attempt})"
            self._complain("attempt", f"{_name(job.state)} is told of {found} instead of {due}")
        if runs:
            self._attempt = event.attempt
            self._begin_attempt()
        self._state = job.state
        self._foretold = [seen for seen in self._foretold if seen != (job.state, job.attempt)]
        if job.state in TERMINAL:
            self._found.extend(broken_outcome(job, waited=waited))
        elif job.WhichOneof("outcome"):
            self._complain("outcome", f"{_name(job.state)} with {job.WhichOneof('outcome')}")

    def _partial(self, event: JobEvent) -> None:
        """The attempt says something."""
        which = event.WhichOneof("event")
        if self._state != _RUNNING or event.attempt != self._attempt:
            at = f"{_name(self._state)} in attempt {self._attempt}"
            self._complain("partial", f"{which} of attempt {event.attempt} while {at}")
        if which == "progress":
            self._progress(event.progress)
        elif which == "ocr_page":
            if event.ocr_page.page_number in self._pages:
                self._complain("page", f"page {event.ocr_page.page_number} is told twice in attempt {event.attempt}")
            self._pages[event.ocr_page.page_number] = event.ocr_page
        elif which == "transcript_segment":
            if event.transcript_segment.index <= max(self._segments, default=-1):
                self._complain("segment", f"segment {event.transcript_segment.index} is told out of order")
            self._segments[event.transcript_segment.index] = event.transcript_segment

    def _progress(self, progress: JobProgress) -> None:
        if progress.HasField("percent"):
            if not self._percent <= progress.percent <= 100:
                self._complain("progress", f"{progress.percent} % after {self._percent} % in one attempt")
            self._percent = progress.percent

    def _compare(self, result: JobResult) -> None:
        """What the last attempt told stands in the result. An event may be missing (Redis was away); none is wrong."""
        pages = {page.page_number: page for page in result.ocr.pages}
        for number, page in self._pages.items():
            if pages.get(number) != page:
                self._complain("page", f"page {number} was told otherwise than it stands in the result")
        for index, segment in self._segments.items():
            if index >= len(result.transcription.segments) or result.transcription.segments[index] != segment:
                self._complain("segment", f"segment {index} was told otherwise than it stands in the result")

    def _complain(self, rule: str, message: str) -> None:
        self._found.append(Violation(job=self._name, rule=rule, message=message))


def _position(cursor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in cursor.split("-"))


def _name(state: JobState.ValueType) -> str:
    return JobState.Name(state).removeprefix("JOB_STATE_")
