"""A job's history is checked against the contract: what is in order passes, and each broken promise is named."""

import pytest

from triptych.core import errors
from triptych.core.history import violations
from triptych.core.outcomes import broken_family
from triptych.v1.common_pb2 import PageRange
from triptych.v1.job_pb2 import Heartbeat, Job, JobEvent, JobKind, JobProgress, JobResult, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult, OcrSpec
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment

PENDING, RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED = (
    JobState.Value(f"JOB_STATE_{name}")
    for name in ("PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED")
)
PAGES = [OcrPage(page_number=number, text=f"page {number}") for number in (1, 2, 3)]


def job(state, attempt=1, *, error=None, pages=PAGES, **fields):
    found = Job(name="jobs/j", kind=JobKind.JOB_KIND_OCR, state=state, attempt=attempt, **fields)
    found.create_time.FromMilliseconds(1)
    if error is None or not isinstance(error, errors.QueueTimeout):
        found.start_time.FromMilliseconds(2)
    if state in (SUCCEEDED, FAILED, CANCELLED):
        found.end_time.FromMilliseconds(3)
    if state == SUCCEEDED:
        found.result.ocr.CopyFrom(OcrResult(source_page_count=3, pages=pages))
    elif error is not None:
        found.error.CopyFrom(error.to_status())
    return found


def history(*events, snapshot=PENDING):
    """The watch of a job: a snapshot, then the events, each after the one before."""
    told = [JobEvent(cursor="0-0", attempt=1, job=job(snapshot))]
    for place, event in enumerate(events, 1):
        told.append(JobEvent(cursor=f"{place}-0"))
        told[-1].MergeFrom(event)
    return told


def state(state, attempt=1, **fields):
    return JobEvent(attempt=attempt, job=job(state, attempt, **fields))


def page(number, attempt=1):
    return JobEvent(attempt=attempt, ocr_page=PAGES[number - 1])


def percent(value, attempt=1):
    return JobEvent(attempt=attempt, progress=JobProgress(stage="ocr", percent=value))


def rules(events, *found, **changes):
    return [violation.rule for violation in violations(events, *(found or [job(SUCCEEDED, **changes)]))]


PLAIN = (state(PENDING), state(RUNNING), percent(0), page(1), percent(33), page(2), page(3), percent(100))
LOST = (*PLAIN, state(PENDING), state(RUNNING, 2), percent(0, 2), page(1, 2), page(2, 2), page(3, 2))


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (history(*PLAIN, state(SUCCEEDED)), job(SUCCEEDED)),
        (history(*PLAIN, state(SUCCEEDED), snapshot=SUCCEEDED), job(SUCCEEDED)),
        (history(*LOST, state(SUCCEEDED, 2)), job(SUCCEEDED, 2)),
        (history(*PLAIN, state(CANCELLING), state(SUCCEEDED)), job(SUCCEEDED)),
        (history(*PLAIN), job(RUNNING)),
    ],
    ids=["plain", "watched_afterwards", "a_worker_was_lost", "cancelled_too_late", "still_running"],
)
def test_what_the_contract_allows_passes(events, found):
    assert violations(events, found) == []


def test_a_job_that_fails_is_cancelled_or_comes_too_late_passes():
    for final, error in (
        (FAILED, errors.MediaCorrupt("half a page")),
        (FAILED, errors.WorkerLost("3 workers died")),
        (FAILED, errors.EgressDenied("restricted")),
        (FAILED, errors.BudgetExhausted("none is left")),
        (FAILED, errors.RemoteUnavailable("no answer")),
        (CANCELLED, errors.JobCancelled("by its caller")),
    ):
        assert rules(history(*PLAIN, state(final, error=error)), job(final, error=error)) == []
    late = errors.QueueTimeout("not started")
    assert rules(history(state(PENDING), state(FAILED, error=late)), job(FAILED, error=late)) == []


def test_a_watch_that_broke_goes_on_with_a_snapshot_and_heartbeats_stand_still():
    events = history(*PLAIN, state(SUCCEEDED))
    beat = JobEvent(cursor=events[4].cursor, heartbeat=Heartbeat())
    ahead = JobEvent(cursor=events[4].cursor, attempt=1, job=job(SUCCEEDED))
    assert rules([*events[:5], beat, ahead, *events[5:]]) == []
    place = JobEvent(cursor=events[1].cursor, attempt=1, progress=JobProgress(stage="queued", queue_position=4))
    assert rules([*events[:2], place, *events[2:]]) == []
    assert rules([*events[:5], JobEvent(cursor="1-0", heartbeat=Heartbeat()), *events[5:]]) == ["cursor"]


@pytest.mark.parametrize(
    ("rule", "events"),
    [
        ("transition", [state(PENDING), state(SUCCEEDED)]),
        ("transition", [state(RUNNING), state(SUCCEEDED)]),
        ("transition", [*PLAIN, state(CANCELLING), state(PENDING), state(RUNNING, 2), state(SUCCEEDED, 2)]),
        ("end", [*PLAIN, state(SUCCEEDED), state(SUCCEEDED)]),
        ("end", [*PLAIN, state(SUCCEEDED), percent(100)]),
        ("attempt", [*PLAIN, state(PENDING), state(RUNNING, 1), state(SUCCEEDED)]),
        ("attempt", [*PLAIN, state(PENDING), state(RUNNING, 3), state(SUCCEEDED, 3)]),
        ("attempt", [*LOST, state(SUCCEEDED, 1)]),
        ("progress", [state(PENDING), state(RUNNING), percent(50), percent(40), state(SUCCEEDED)]),
        ("page", [*PLAIN, page(2), state(SUCCEEDED)]),
        ("partial", [state(PENDING), page(1), state(RUNNING), state(SUCCEEDED)]),
        ("partial", [*LOST[:-1], page(3, 1), state(SUCCEEDED, 2)]),
        ("partial", [*PLAIN[:-1], state(CANCELLING), percent(100), state(SUCCEEDED)]),
        ("outcome", [*PLAIN, state(FAILED)]),
        ("outcome", [*PLAIN, state(RUNNING, error=errors.MediaCorrupt("x")), state(SUCCEEDED)]),
        ("reason", [*PLAIN, state(FAILED, error=errors.BackendUnavailable("no Redis"))]),
        ("reason", [*PLAIN, state(FAILED, error=errors.JobCancelled("x"))]),
        ("reason", [*PLAIN, state(CANCELLED, error=errors.ExecutionTimeout("x"))]),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(rule, events):
    last = events[-1].job if events[-1].HasField("job") else job(SUCCEEDED)
    assert rule in rules(history(*events), last)


def test_a_job_is_late_while_it_waits_and_has_other_errors_while_it_runs():
    late, bad = errors.QueueTimeout("x"), errors.MediaCorrupt("x")
    assert rules(history(*PLAIN, state(FAILED, error=late)), job(FAILED)).count("reason") == 1
    assert "reason" in rules(history(state(PENDING), state(FAILED, error=bad)), job(FAILED))
    again = job(FAILED, error=late)
    again.start_time.FromMilliseconds(2)
    assert rules(history(*PLAIN, state(PENDING), JobEvent(attempt=1, job=again)), again) == []


def test_cursors_rise_and_a_watch_begins_with_a_snapshot():
    events = history(*PLAIN, state(SUCCEEDED))
    assert "cursor" in rules([*events[:3], events[4], events[3], *events[5:]])
    assert "snapshot" in rules([JobEvent(cursor="0-0", attempt=1, progress=JobProgress()), *events[1:]])


def test_what_a_snapshot_showed_is_told_in_the_end():
    assert "snapshot" in rules(history(*PLAIN, state(SUCCEEDED), snapshot=CANCELLED))


def test_the_record_is_what_was_told():
    events = history(*PLAIN, state(SUCCEEDED))
    assert "record" in rules(events, attempt=2)
    assert "record" in rules(history(*PLAIN))
    backwards = job(SUCCEEDED)
    backwards.end_time.FromMilliseconds(1)
    assert "record" in rules(events, backwards)


def test_a_result_holds_every_page_once_and_those_that_were_told():
    events = history(*PLAIN, state(SUCCEEDED))
    assert set(rules(events, pages=PAGES[:2])) == {"page", "result"}
    assert rules(events, pages=[PAGES[1], PAGES[0], PAGES[2]]) == ["result"]
    other = OcrPage(page_number=2, text="something else")
    assert rules(events, pages=[PAGES[0], other, PAGES[2]]) == ["page"]
    asked = JobSpec(ocr=OcrSpec(pages=[PageRange(first_page=2)]))
    assert rules(history(*PLAIN[:2], page(2), state(SUCCEEDED)), pages=PAGES[1:], spec=asked) == []


def test_a_unit_that_was_set_aside_is_a_page_with_an_error():
    assert rules(history(*PLAIN[:4], state(SUCCEEDED)), set_aside_units=["page:2"]) == ["result"]
    lost = OcrPage(page_number=2, error=errors.WorkerLost("workers died on it").to_status())
    pages = [PAGES[0], lost, PAGES[2]]
    assert rules(history(*PLAIN[:4], state(SUCCEEDED)), pages=pages, set_aside_units=["page:2"]) == []


def test_a_large_result_is_checked_where_it_lies():
    whole, half = (JobResult(ocr=OcrResult(source_page_count=3, pages=pages)) for pages in (PAGES, PAGES[:1]))
    large = Job(name="jobs/j", kind=JobKind.JOB_KIND_OCR, state=SUCCEEDED, attempt=1, result_blob="blobs/sha256-0")
    large.start_time.FromMilliseconds(2)
    events = history(*PLAIN, JobEvent(attempt=1, job=large))
    assert violations(events, large, whole) == []
    assert "result" in [violation.rule for violation in violations(events, large, half)]


def test_segments_come_in_order_and_stand_where_they_say():
    def segment(index, text, start):
        return TranscriptSegment(index=index, text=text, text_start=start, text_end=start + len(text))

    first, second = segment(0, "and so", 0), segment(1, "my fellow", 7)
    heard = Job(name="jobs/j", kind=JobKind.JOB_KIND_TRANSCRIPTION, state=SUCCEEDED, attempt=1)
    heard.start_time.FromMilliseconds(2)
    heard.result.transcription.CopyFrom(TranscriptionResult(text="and so my fellow", segments=[first, second]))
    told = [JobEvent(attempt=1, transcript_segment=each) for each in (first, second)]
    ended = JobEvent(attempt=1, job=heard)
    assert rules(history(*PLAIN[:2], *told, ended), heard) == []
    assert "segment" in rules(history(*PLAIN[:2], *reversed(told), ended), heard)
    heard.result.transcription.segments[1].text_start = 3
    assert "result" in rules(history(*PLAIN[:2], ended), heard)


def test_children_end_with_their_parent_and_none_is_born_after_it():
    parent = job(CANCELLED, error=errors.JobCancelled("x"))
    assert list(broken_family(parent, [job(SUCCEEDED), job(CANCELLED)])) == []
    assert [found.rule for found in broken_family(parent, [job(RUNNING)])] == ["child"]
    late = job(SUCCEEDED)
    late.create_time.FromMilliseconds(4)
    assert [found.rule for found in broken_family(parent, [late])] == ["child"]
    assert list(broken_family(job(RUNNING), [job(RUNNING)])) == []
