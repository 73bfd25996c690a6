"""What the end of a job has to look like: its outcome, its pages, its children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.core import errors
from triptych.core.errors import TriptychError, from_status
from triptych.core.records import KIND_NAMES, TERMINAL
from triptych.v1.job_pb2 import Job, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrResult, OcrSpec
from triptych.v1.transcription_pb2 import TranscriptionResult

# What a call can be told. A job that was accepted has nothing to do with it any more.
_OF_CALLS = (
    errors.Unavailable, errors.QueueFull, errors.RateLimited, errors.QuotaExceeded, errors.HostExhausted,
    errors.Unauthenticated, errors.PermissionDenied, errors.RequestIdReused, errors.JobNotTerminal,
    errors.UploadOffsetMismatch, errors.DeadlineRequired, errors.DigestMismatch, errors.CursorExpired,
    errors.JobNotFound, errors.UploadNotFound, errors.DeliveryNotFound,
)  # fmt: skip
# Some are of the same kinds, but tell of the call that a job made to a model outside.
_OF_MODELS = (errors.EgressDenied, errors.BudgetExhausted, errors.RemoteUnavailable)
# What can happen to a job while it waits for a worker.
_WHILE_WAITING = (errors.QueueTimeout, errors.CallTimeout, errors.JobCancelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise of the contract that a job breaks.

    Attributes:
        job: "jobs/<id>".
        rule: Which promise, in one word.
        message: What was seen instead.
    """

    job: str
    rule: str
    message: str


def broken_outcome(job: Job, *, waited: bool) -> Iterator[Violation]:
    """Yields what is wrong with the outcome of a terminal job: there is one, and it fits the state.

    Args:
        job: JOB_VIEW_FULL.
        waited: Whether it ended while it waited for a worker.
    """
    which = job.WhichOneof("outcome")
    if job.state == JobState.JOB_STATE_SUCCEEDED:
        if which not in ("result", "result_blob"):
            yield _violation(job, "outcome", f"SUCCEEDED with {which or 'nothing'}")
        elif which == "result" and job.result.WhichOneof("result") != KIND_NAMES[job.kind]:
            yield _violation(job, "outcome", f"a {KIND_NAMES[job.kind]} job gave {job.result.WhichOneof('result')}")
    elif which != "error":
        yield _violation(job, "outcome", f"{JobState.Name(job.state)} with {which or 'nothing'}")
    elif reason := _implausible(job, from_status(job.error), waited):
        yield _violation(job, "reason", reason)


def broken_result(job: Job, result: JobResult) -> Iterator[Violation]:
    """Yields what is wrong with the result of a job that succeeded (JOB_VIEW_FULL): it is complete and in order."""
    if result.HasField("ocr"):
        yield from _broken_pages(job, result.ocr)
    elif result.HasField("transcription"):
        yield from _broken_segments(job, result.transcription)


def broken_family(parent: Job, children: Sequence[Job]) -> Iterator[Violation]:
    """Yields the children that outlive their parent, or were born after its end."""
    if parent.state not in TERMINAL:
        return
    end_ms = parent.end_time.ToMilliseconds()
    for child in children:
        if child.state not in TERMINAL:
            yield _violation(child, "child", f"{JobState.Name(child.state)} although {parent.name} has ended")
        if child.create_time.ToMilliseconds() > end_ms:
            yield _violation(child, "child", f"created after the end of {parent.name}")


def _implausible(job: Job, error: TriptychError, waited: bool) -> str:
    """Gives why a job cannot have ended with this error; empty if it can."""
    if (job.state == JobState.JOB_STATE_CANCELLED) != isinstance(error, errors.JobCancelled):
        return f"{JobState.Name(job.state)} with {error.reason}"
    if isinstance(error, _OF_CALLS) and not isinstance(error, _OF_MODELS):
        return f"{error.reason} is an answer to a call, not the end of a job"
    if waited and not isinstance(error, _WHILE_WAITING):
        return f"{error.reason} while it waited for a worker"
    if not waited and isinstance(error, errors.QueueTimeout):
        return "QUEUE_TIMEOUT while a worker had it"
    return ""


def _broken_pages(job: Job, result: OcrResult) -> Iterator[Violation]:
    numbers = [page.page_number for page in result.pages]
    asked = _asked(job.spec.ocr, result.source_page_count)
    if numbers != asked:
        yield _violation(job, "result", f"pages {numbers} instead of {asked}")
    failed = {f"page:{page.page_number}" for page in result.pages if page.HasField("error")}
    if missing := set(job.set_aside_units) - failed:
        yield _violation(job, "result", f"{sorted(missing)} were set aside, but their pages carry no error")


def _asked(spec: OcrSpec, page_count: int) -> list[int]:
    ranges = [(asked.first_page, asked.last_page or page_count) for asked in spec.pages] or [(1, page_count)]
    return [number for first, last in sorted(ranges) for number in range(first, last + 1)]


def _broken_segments(job: Job, result: TranscriptionResult) -> Iterator[Violation]:
    for position, segment in enumerate(result.segments):
        if segment.index != position or result.text[segment.text_start : segment.text_end] != segment.text:
            yield _violation(job, "result", f"segment {position} is not where it says it is")


def _violation(job: Job, rule: str, message: str) -> Violation:
    return Violation(job=job.name, rule=rule, message=message)
