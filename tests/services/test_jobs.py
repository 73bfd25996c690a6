"""JobService over the wire: submitting, waiting, watching, listing, cancelling, deleting."""

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from triptych.core import jobs, lookup
from triptych.core.errors import MediaCorrupt
from triptych.core.records import new_job_id
from triptych.core.sources import inputs
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobEvent, JobKind, JobOptions, JobPriority, JobSpec, JobState, JobView
from triptych.v1.ocr_pb2 import OcrPage, OcrSpec
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument
from triptych.v1.vision_pb2 import CHAT_ROLE_USER, ChatMessage, ContentPart, ImagePart, VisionSpec

S = JobState


@pytest.fixture
def submit(client, samples):
    async def submit(**fields):
        spec = JobSpec(ocr=OcrSpec(input=InputSource(content=fields.pop("content", samples.png))))
        return (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec, **fields))).job

    return submit


async def test_a_job_is_accepted_at_once_and_waits_for_a_worker(client, submit):
    job = await submit(options=JobOptions(labels={"team": "x"}))
    assert (job.kind, job.state, job.priority) == (
        JobKind.JOB_KIND_OCR, S.JOB_STATE_PENDING, JobPriority.JOB_PRIORITY_NORMAL,
    )  # fmt: skip
    assert not job.HasField("spec")
    full = (await client.jobs.GetJob(pb.GetJobRequest(name=job.name))).job
    assert full.spec.ocr.input.blob.startswith("blobs/sha256-")
    assert full.labels == {"team": "x"}


async def test_a_password_reaches_the_worker_and_is_told_to_nobody(client, samples, store):
    locked = InputSource(content=samples.pdf, password="open sesame")
    image = ImagePart(input=InputSource(content=samples.png, password="open sesame"))
    turn = ChatMessage(role=CHAT_ROLE_USER, parts=[ContentPart(image=image), ContentPart(text="What is it?")])
    for spec in (
        JobSpec(ocr=OcrSpec(input=locked)),
        JobSpec(vision=VisionSpec(messages=[turn])),
        JobSpec(reasoning=ReasoningSpec(documents=[SourceDocument(input=locked)], question="What is due?")),
    ):
        name = (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec))).job.name
        told = [
            await client.jobs.GetJob(pb.GetJobRequest(name=name, view=JobView.JOB_VIEW_FULL)),
            await client.jobs.WaitJob(
                pb.WaitJobRequest(name=name, timeout=Duration(nanos=1_000_000), view=JobView.JOB_VIEW_FULL), timeout=5
            ),
            await client.jobs.ListJobs(pb.ListJobsRequest()),
            await anext(aiter(client.jobs.WatchJob(pb.WatchJobRequest(name=name)))),
        ]
        assert all(b"sesame" not in answer.SerializeToString() for answer in told)
        assert told[0].job.spec.WhichOneof("spec") == spec.WhichOneof("spec")
        record = await store.run(lookup.get(name.removeprefix("jobs/"), "default"))
        assert [source.password for _, source in inputs(record.job_spec())] == ["open sesame"]


async def test_a_password_is_of_bounded_length(client, samples, fails):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.pdf, password="x" * 256)))
    failed = await fails(client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec)))
    assert failed.reason == "FIELD_INVALID"
    assert failed.error.metadata["field"] == "spec.ocr.input.password"


async def test_the_message_is_in_the_queue_when_the_answer_arrives(submit, store):
    await submit()
    assert await store.redis.llen("triptych:broker:ocr") == 1


async def test_the_same_request_id_joins_the_same_job(submit):
    request_id = new_job_id()
    first, second = await asyncio.gather(submit(request_id=request_id), submit(request_id=request_id))
    assert first.name == second.name


async def test_a_request_id_with_another_body_is_refused(submit, samples, client, fails):
    request_id = new_job_id()
    await submit(request_id=request_id)
    other = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.pdf)))
    failed = await fails(client.jobs.SubmitJob(pb.SubmitJobRequest(spec=other, request_id=request_id)))
    assert (failed.code, failed.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_validate_only_makes_no_job(client, submit):
    assert not (await submit(validate_only=True)).name
    assert not (await client.jobs.ListJobs(pb.ListJobsRequest())).jobs


async def test_a_full_lane_says_when_to_come_back(serve, samples, fails):
    _, client = await serve(max_pending_per_lane=1)
    request = pb.SubmitJobRequest(spec=JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png))))
    await client.jobs.SubmitJob(request)
    failed = await fails(client.jobs.SubmitJob(request))
    assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    # No worker has taken anything yet, so that nobody knows; in a minute at most somebody will.
    assert failed.error.retry_after_s == 30
    assert failed.metadata["grpc-retry-pushback-ms"] == "30000"
    # One who cannot wait so long hears the reason at once.
    hurried = await fails(client.jobs.SubmitJob(request, timeout=20))
    assert hurried.reason == "QUEUE_FULL"
    assert hurried.metadata["grpc-retry-pushback-ms"] == "-1"


async def test_waiting_ends_with_the_job(client, submit, worker):
    job = await submit()
    waiting = client.jobs.WaitJob(pb.WaitJobRequest(name=job.name))
    await worker.succeed(await worker.claim())
    ended = (await waiting).job
    assert ended.state == S.JOB_STATE_SUCCEEDED
    assert ended.result.ocr.pages[0].text == "hello"


async def test_waiting_ends_with_the_time_which_is_no_error(client, submit):
    job = await submit()
    request = pb.WaitJobRequest(name=job.name, timeout=Duration(nanos=50_000_000))
    assert (await client.jobs.WaitJob(request)).job.state == S.JOB_STATE_PENDING


async def test_waiting_answers_before_the_deadline(client, submit):
    job = await submit()
    answer = await client.jobs.WaitJob(pb.WaitJobRequest(name=job.name), timeout=1)
    assert answer.job.state == S.JOB_STATE_PENDING


async def test_a_watch_tells_the_story_from_snapshot_to_outcome(client, submit, worker):
    job = await submit()
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name, include_partials=True))
    messages = aiter(watch)
    first = (await anext(messages)).event
    assert first.job.state == S.JOB_STATE_PENDING
    record = await worker.claim()
    await worker.emit(record, JobEvent(ocr_page=OcrPage(page_number=1, text="hello")))
    await worker.succeed(record)
    events = [message.event async for message in messages]
    assert "ocr_page" in [event.WhichOneof("event") for event in events]
    assert events[-1].job.state == S.JOB_STATE_SUCCEEDED
    assert events[-1].job.result.ocr.pages[0].text == "hello"
    assert await watch.code() == grpc.StatusCode.OK


async def test_a_watch_goes_on_after_a_cursor(client, submit, worker):
    job = await submit()
    record = await worker.claim()
    for number in (1, 2, 3):
        await worker.emit(record, JobEvent(ocr_page=OcrPage(page_number=number)))
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name, include_partials=True))
    async for message in watch:
        if message.event.ocr_page.page_number == 2:
            break
    watch.cancel()
    await worker.succeed(record)
    again = client.jobs.WatchJob(
        pb.WatchJobRequest(name=job.name, include_partials=True, after_cursor=message.event.cursor)
    )
    events = [message.event async for message in again]
    assert [event.ocr_page.page_number for event in events if event.HasField("ocr_page")] == [3]
    # Behind the last event there is only the outcome.
    last = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name, after_cursor=events[-1].cursor))
    assert [message.event.job.state async for message in last] == [S.JOB_STATE_SUCCEEDED]


async def test_a_watch_without_partials_has_states_only(client, submit, worker):
    job = await submit()
    record = await worker.claim()
    await worker.emit(record, JobEvent(ocr_page=OcrPage(page_number=1)))
    await worker.succeed(record)
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
    assert {message.event.WhichOneof("event") async for message in watch} == {"job"}


@pytest.mark.parametrize(("cursor", "reason"), [("rubbish", "FIELD_INVALID"), ("1-1", "CURSOR_EXPIRED")])
async def test_a_cursor_that_leads_nowhere_is_refused(client, submit, fails, cursor, reason):
    job = await submit()
    assert (await fails(client.jobs.WatchJob(pb.WatchJobRequest(name=job.name, after_cursor=cursor)))).reason == reason


async def test_silence_is_filled_with_the_place_in_the_queue_and_with_heartbeats(serve, samples, worker):
    _, client = await serve(heartbeat_s=0.05)
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    job = (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec))).job
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
    silent = [(await watch.read()).event for _ in range(3)]
    assert silent[-1].progress.stage == "queued"
    await worker.claim()
    while not (event := (await watch.read()).event).HasField("heartbeat"):
        pass
    watch.cancel()
    assert event.cursor


async def test_a_watcher_who_leaves_does_not_touch_the_job(client, submit, worker):
    job = await submit()
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
    await watch.read()
    watch.cancel()
    await worker.succeed(await worker.claim())
    assert (await client.jobs.GetJob(pb.GetJobRequest(name=job.name))).job.state == S.JOB_STATE_SUCCEEDED


async def test_cancelling_ends_a_waiting_job_and_asks_a_running_one(client, submit, worker):
    waiting = await submit()
    assert (await client.jobs.CancelJob(pb.CancelJobRequest(name=waiting.name))).job.state == S.JOB_STATE_CANCELLED
    running = await submit()
    record = await worker.claim()
    assert (await client.jobs.CancelJob(pb.CancelJobRequest(name=running.name))).job.state == S.JOB_STATE_CANCELLING
    await worker.cancelled(record)


async def test_cancelling_reaches_the_children(client, submit, worker, part_of):
    parent = await submit()
    record = await worker.claim()
    child_id = await part_of(record)
    await client.jobs.CancelJob(pb.CancelJobRequest(name=parent.name))
    assert (await client.jobs.GetJob(pb.GetJobRequest(name=f"jobs/{child_id}"))).job.state == S.JOB_STATE_CANCELLED


async def test_a_failed_job_carries_its_error(client, submit, worker):
    job = await submit()
    await worker.fail(await worker.claim(), MediaCorrupt("not a PNG after all"))
    ended = (await client.jobs.GetJob(pb.GetJobRequest(name=job.name, view=JobView.JOB_VIEW_BASIC))).job
    assert ended.state == S.JOB_STATE_FAILED
    assert ended.error == MediaCorrupt("not a PNG after all").to_status()


async def test_only_a_terminal_job_is_deleted(client, submit, fails):
    job = await submit()
    failed = await fails(client.jobs.DeleteJob(pb.DeleteJobRequest(name=job.name)))
    assert (failed.code, failed.reason) == ("FAILED_PRECONDITION", "JOB_NOT_TERMINAL")
    await client.jobs.CancelJob(pb.CancelJobRequest(name=job.name))
    await client.jobs.DeleteJob(pb.DeleteJobRequest(name=job.name))
    failed = await fails(client.jobs.GetJob(pb.GetJobRequest(name=job.name)))
    assert (failed.code, failed.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")


async def test_force_cancels_before_it_deletes(client, submit, worker, fails):
    job = await submit()
    record = await worker.claim()
    deleting = client.jobs.DeleteJob(pb.DeleteJobRequest(name=job.name, force=True))
    await worker.cancelled(record)
    await worker.store.run(jobs.release(record.id, record.attempt))
    await deleting
    assert (await fails(client.jobs.GetJob(pb.GetJobRequest(name=job.name)))).reason == "JOB_NOT_FOUND"


async def test_force_gives_up_on_a_job_that_does_not_stop(client, submit, worker, fails):
    job = await submit()
    await worker.claim()
    failed = await fails(client.jobs.DeleteJob(pb.DeleteJobRequest(name=job.name, force=True), timeout=2))
    assert failed.reason == "JOB_NOT_TERMINAL"


async def test_pages_of_a_list_hold_each_job_once_newest_first(client, submit):
    names = [(await submit()).name for _ in range(5)]
    seen, token = [], ""
    while True:
        page = await client.jobs.ListJobs(pb.ListJobsRequest(page_size=2, page_token=token))
        seen += [job.name for job in page.jobs]
        token = page.next_page_token
        if len(seen) == 2:
            await submit()  # one that comes meanwhile shifts nothing
        if not token:
            break
    assert seen == names[::-1]


async def test_a_list_is_filtered(client, submit, worker):
    marked = await submit(options=JobOptions(labels={"a": "1", "b": "2"}))
    await submit(options=JobOptions(labels={"a": "2"}))
    done = await submit()
    await client.jobs.CancelJob(pb.CancelJobRequest(name=done.name))

    async def names(**conditions):
        answer = await client.jobs.ListJobs(pb.ListJobsRequest(filter=pb.JobFilter(**conditions)))
        return [job.name for job in answer.jobs]

    assert await names(labels={"a": "1"}) == [marked.name]
    assert await names(states=[S.JOB_STATE_CANCELLED]) == [done.name]
    assert await names(kinds=[JobKind.JOB_KIND_VISION]) == []
    assert await names(parent_job=f"jobs/{new_job_id()}") == []
    assert await names(max_create_time=marked.create_time) == []
    assert marked.name in await names(min_create_time=marked.create_time)


async def test_a_page_token_belongs_to_its_filter(client, submit, fails):
    for _ in range(2):
        await submit()
    token = (await client.jobs.ListJobs(pb.ListJobsRequest(page_size=1))).next_page_token
    other = pb.JobFilter(kinds=[JobKind.JOB_KIND_OCR])
    for request in (pb.ListJobsRequest(page_token=token, filter=other), pb.ListJobsRequest(page_token="rubbish")):
        failed = await fails(client.jobs.ListJobs(request))
        assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", "page_token")


async def test_a_list_has_no_full_view(client, fails):
    failed = await fails(client.jobs.ListJobs(pb.ListJobsRequest(view=JobView.JOB_VIEW_FULL)))
    assert failed.error.metadata["field"] == "view"


async def test_names_of_jobs_are_checked(client, fails):
    for name in ("", "jobs/", "jobs/42", "blobs/x", f"jobs/{new_job_id()}x"):
        for call in (
            client.jobs.GetJob(pb.GetJobRequest(name=name)),
            client.jobs.WatchJob(pb.WatchJobRequest(name=name)),
        ):
            assert (await fails(call)).reason == "FIELD_INVALID"
    unknown = f"jobs/{new_job_id()}"
    for call in (
        client.jobs.GetJob(pb.GetJobRequest(name=unknown)),
        client.jobs.WatchJob(pb.WatchJobRequest(name=unknown)),
        client.jobs.WaitJob(pb.WaitJobRequest(name=unknown)),
        client.jobs.CancelJob(pb.CancelJobRequest(name=unknown)),
        client.jobs.DeleteJob(pb.DeleteJobRequest(name=unknown)),
    ):
        assert (await fails(call)).reason == "JOB_NOT_FOUND"
