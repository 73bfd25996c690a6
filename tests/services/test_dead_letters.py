"""Jobs of which units were set aside: listing them, running them again, dropping them."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration
from workers.sharing import Worker, document

from triptych.core import jobs, lookup
from triptych.core.errors import WorkerLost
from triptych.core.records import new_job_id
from triptych.core.store import PREFIX
from triptych.v1 import blob_service_pb2 as blobs
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobPriority, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrConfig, OcrSpec

S = JobState


@pytest.fixture
def submit(client, samples):
    async def submit(**fields):
        source = InputSource(content=samples.png, display_name="page.png")
        spec = JobSpec(ocr=OcrSpec(input=source, config=OcrConfig(enable_words=True)))
        return (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec, **fields))).job

    return submit


@pytest.fixture
def fail(worker):
    async def fail():
        record = await worker.claim()
        await worker.fail(record, WorkerLost("workers died on it"))
        return record

    return fail


@pytest.fixture
def bury(fail, store):
    """Ends the next job as one whose workers died on two of its pages."""

    async def bury():
        record = await fail()
        end_ms = (await store.run(lookup.get(record.id, "default"))).end_ms
        await store.redis.hset(f"{PREFIX}job:{record.id}", "set_aside", "page:7 page:9")
        await store.redis.zadd(f"{PREFIX}dead:default", {record.id: end_ms})
        return f"jobs/{record.id}"

    return bury


@pytest.fixture
def letters(client):
    async def letters(**conditions):
        found, token = [], ""
        while True:
            job_filter = pb.JobFilter(set_aside=True, **conditions)
            page = await client.jobs.ListJobs(pb.ListJobsRequest(filter=job_filter, page_size=2, page_token=token))
            found += page.jobs
            token = page.next_page_token
            if not token:
                return found

    return letters


async def test_a_retry_is_a_new_job_with_the_same_specification_and_options(client, submit, fail, store):
    options = JobOptions(
        priority=JobPriority.JOB_PRIORITY_BATCH,
        queue_timeout=Duration(seconds=7200),
        execution_timeout=Duration(seconds=90),
        result_ttl=Duration(seconds=120),
        cache_policy=CachePolicy.CACHE_POLICY_REFRESH,
        labels={"team": "x"},
    )
    job = await submit(options=options)
    old = await fail()
    again = (await client.jobs.RetryJob(pb.RetryJobRequest(name=job.name))).job
    assert (again.state, again.priority, again.labels) == (S.JOB_STATE_PENDING, options.priority, {"team": "x"})
    assert again.name != job.name
    new = await store.run(lookup.get(again.name.removeprefix("jobs/"), "default"))
    assert new.job_options() == options
    assert (new.job_spec(), new.execution_timeout_ms) == (old.job_spec(), 90_000)
    assert (await client.jobs.GetJob(pb.GetJobRequest(name=job.name))).job.state == S.JOB_STATE_FAILED


async def test_a_retry_does_only_what_was_set_aside(client, settings, store):
    worker = Worker(settings)
    source = InputSource(content=document(3))
    job = (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=JobSpec(ocr=OcrSpec(input=source))))).job

    async def work():
        attempt = await asyncio.to_thread(worker.execution.claim, "ocr")
        return await asyncio.to_thread(worker.run, attempt)

    killed = await asyncio.to_thread(worker.execution.claim, "ocr")
    await store.redis.hset(f"{PREFIX}blame:{killed.job_id}", "page:2", settings.max_lost_workers)
    await store.run(jobs.release(killed.job_id, killed.number))
    first = await work()
    assert first.set_aside_units == ["page:2"]
    assert worker.engine.read == {1: 1, 3: 1}
    again = (await client.jobs.RetryJob(pb.RetryJobRequest(name=job.name))).job
    second = await work()
    assert (second.name, second.set_aside_units) == (again.name, [])
    assert [page.HasField("error") for page in second.result.ocr.pages] == [False, False, False]
    assert worker.engine.read == {1: 1, 2: 1, 3: 1}
    await asyncio.to_thread(worker.close)


async def test_only_a_job_that_has_ended_is_retried(client, submit, worker, fails):
    job = await submit()
    await worker.claim()
    failed = await fails(client.jobs.RetryJob(pb.RetryJobRequest(name=job.name)))
    assert (failed.code, failed.reason) == ("FAILED_PRECONDITION", "JOB_NOT_TERMINAL")
    unknown = pb.RetryJobRequest(name=f"jobs/{new_job_id()}")
    assert (await fails(client.jobs.RetryJob(unknown))).reason == "JOB_NOT_FOUND"


async def test_the_same_request_id_gives_the_same_new_job(client, submit, fail, fails):
    request_id, first_id = new_job_id(), new_job_id()
    job = await submit(request_id=first_id)
    await fail()
    request = pb.RetryJobRequest(name=job.name, request_id=request_id)
    first, second = [(await client.jobs.RetryJob(request)).job.name for _ in range(2)]
    assert first == second
    # The id of the first submission would give the job that failed, not a new one.
    failed = await fails(client.jobs.RetryJob(pb.RetryJobRequest(name=job.name, request_id=first_id)))
    assert failed.reason == "REQUEST_ID_REUSED"


async def test_a_job_whose_input_is_gone_cannot_be_retried(client, submit, fail, fails):
    job = await submit()
    record = await fail()
    await client.blobs.DeleteBlob(blobs.DeleteBlobRequest(name=record.job_spec().ocr.input.blob))
    assert (await fails(client.jobs.RetryJob(pb.RetryJobRequest(name=job.name)))).reason == "BLOB_NOT_FOUND"


async def test_a_part_is_retried_with_the_job_that_started_it(client, submit, worker, store, part_of, fails):
    parent = await submit()
    record = await worker.claim()
    child_id = await part_of(record)
    await store.redis.zadd(f"{PREFIX}dead:default", {child_id: 1})
    await worker.fail(record, WorkerLost("workers died on its part"))
    failed = await fails(client.jobs.RetryJob(pb.RetryJobRequest(name=f"jobs/{child_id}")))
    assert failed.reason == "FIELD_INVALID"
    assert parent.name in failed.error.message
    await client.jobs.RetryJob(pb.RetryJobRequest(name=parent.name))
    assert not await store.redis.exists(f"{PREFIX}dead:default")


async def test_dead_letters_are_listed_by_their_end_with_their_units(submit, bury, letters, worker):
    submitted = [await submit(options=JobOptions(labels={"n": str(number)})) for number in range(3)]
    await submit()
    buried = [await bury() for _ in submitted]
    await worker.succeed(await worker.claim())
    found = await letters()
    # Two may end within one millisecond; then either may come first.
    assert sorted(job.name for job in found) == sorted(buried)
    assert [job.end_time.ToMilliseconds() for job in found] == sorted(
        (job.end_time.ToMilliseconds() for job in found), reverse=True
    )
    assert found[0].set_aside_units == ["page:7", "page:9"]
    assert [job.name for job in await letters(labels={"n": "1"})] == [submitted[1].name]
    assert not await letters(max_create_time=submitted[0].create_time)


async def test_a_retried_or_deleted_job_is_a_dead_letter_no_more(client, submit, bury, letters):
    for _ in range(3):
        await submit()
    kept, retried, dropped = [await bury() for _ in range(3)]
    await client.jobs.RetryJob(pb.RetryJobRequest(name=retried))
    await client.jobs.DeleteJob(pb.DeleteJobRequest(name=dropped))
    assert [job.name for job in await letters()] == [kept]
    assert (await client.jobs.GetJob(pb.GetJobRequest(name=retried))).job.set_aside_units == ["page:7", "page:9"]
