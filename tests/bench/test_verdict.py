"""The bench that says zero would say otherwise: whatever goes wrong with a request or its job is found."""

import pytest
from chaos_run.aftermath import Remains
from chaos_run.ledger import Ledger
from chaos_run.request import LABEL, Request, Told
from chaos_run.samples import Sample
from chaos_run.strike import Strike
from chaos_run.verdict import judge

from triptych.client import specs
from triptych.core.errors import BackendUnavailable, MediaCorrupt, WorkerLost
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import Heartbeat, Job, JobEvent, JobKind, JobOptions, JobResult, JobState
from triptych.v1.ocr_pb2 import OcrPage, OcrResult

PENDING, RUNNING, SUCCEEDED, FAILED = (
    JobState.Value(f"JOB_STATE_{name}") for name in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED")
)
SPEC = specs.ocr(InputSource(content=b"picture"))
STATES = (PENDING, RUNNING, SUCCEEDED)


def request(mode="watch", **changes):
    sample = Sample(name="ocr, a page", spec=SPEC, truth="Invoice number 12345")
    return Request(number=0, tenant="alpha", mode=mode, sample=sample, options=JobOptions(), **changes)


def result(text="Invoice number 12345"):
    page = OcrPage(page_number=1, text=text)
    return JobResult(ocr=OcrResult(source_page_count=1, pages=[page]))


def remains(name="jobs/a", states=STATES, *, found=None, error=None, number=0):
    job = Job(name=name, kind=JobKind.JOB_KIND_OCR, state=states[-1], attempt=1, spec=SPEC, labels={LABEL: str(number)})
    for time in (job.create_time, job.start_time, job.end_time)[: len(states)]:
        time.FromMilliseconds(1)
    if error:
        job.error.CopyFrom(error.to_status())
    elif states[-1] == SUCCEEDED:
        job.result.CopyFrom(found or result())
    events = [JobEvent(cursor="0-0", attempt=1, job=Job(state=PENDING, attempt=1))]
    for place, state in enumerate(states, 1):
        told = Job(state=state, attempt=1, kind=job.kind)
        if place == len(states):
            told.CopyFrom(job)
        events.append(JobEvent(cursor=f"{place}-0", attempt=1, job=told))
    return Remains(tenant="alpha", job=job, events=events, result=job.result if job.HasField("result") else None)


def found(requests, left, *, strikes=(), ledger=None):
    verdict = judge(requests, left, strikes, ledger or Ledger())
    return len(verdict.lost), len(verdict.duplicated), len(verdict.violations), len(verdict.redone)


def test_what_went_well_is_clean():
    asked = request(names={"jobs/a"})
    asked.told.append(Told(BackendUnavailable("Redis is away")))
    struck = Strike(fault="Redis killed", recovered_s=1)
    verdict = judge([asked], [remains()], [struck], Ledger())
    assert verdict.clean
    assert verdict.line == "lost 0, duplicated 0, violations 0"


@pytest.mark.parametrize(
    ("counts", "asked", "left"),
    [
        pytest.param((1, 0, 0, 0), request(names={"jobs/a", "jobs/b"}, mode="call"), [remains()], id="gone"),
        pytest.param((1, 0, 0, 0), request(), [remains(states=(PENDING, RUNNING))], id="never ended"),
        pytest.param(
            (1, 0, 0, 0), request(), [remains(states=(PENDING, RUNNING, FAILED), error=WorkerLost("x"))], id="failed"
        ),
        pytest.param((0, 1, 0, 0), request(), [remains(), remains("jobs/b")], id="two jobs"),
        pytest.param((0, 0, 1, 0), request(), [remains(found=result("Invoice"))], id="wrong text"),
        pytest.param((0, 0, 1, 0), request(told=[Told(MediaCorrupt("x"))]), [remains()], id="wrong error"),
        pytest.param((0, 0, 2, 0), request(), [remains(states=(PENDING, SUCCEEDED))], id="impossible history"),
    ],
)
def test_what_is_wrong_is_counted(counts, asked, left):
    assert found([asked], left) == counts


def test_a_watch_that_missed_an_event_is_a_violation():
    left = remains()
    assert found([request(watched=left.events)], [left]) == (0, 0, 0, 0)
    ahead = JobEvent(cursor="2-0", heartbeat=Heartbeat())
    assert found([request(watched=[*left.events[:1], *left.events[2:]])], [left]) != (0, 0, 0, 0)
    assert found([request(watched=[*left.events[:3], ahead, left.events[3]])], [left]) == (0, 0, 0, 0)


def test_what_nobody_asked_about_is_counted_by_the_ledger():
    ledger = Ledger()
    ledger.created["a"] = ledger.created["b"] = ledger.ends["b"] = 1
    ledger.ends["a"] = 2
    ledger.units["a", "page:1"] = {1, 2}
    assert found([request()], [remains()], ledger=ledger) == (1, 1, 0, 1)


def test_a_fault_that_was_not_recovered_from_is_a_violation():
    assert found([], [], strikes=[Strike(fault="disk full")]) == (0, 0, 1, 0)
