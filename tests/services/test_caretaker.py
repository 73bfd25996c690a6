"""What nobody holds is looked after: lost workers, late jobs, lost messages."""

import asyncio

from google.protobuf.duration_pb2 import Duration

from triptych.core.store import PREFIX
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobOptions, JobSpec
from triptych.v1.ocr_pb2 import OcrSpec

QUEUE = "triptych:broker:ocr"
# Short leases, so that a lost worker is soon noticed.
QUICK = {"lease_s": 0.6}


def spec(samples):
    return JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))


async def test_a_lost_workers_job_goes_back_to_its_queue(serve, worker, samples, store, eventually):
    worker.lease_s = 0.3
    _, client = await serve(**QUICK)
    job = (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec(samples)))).job
    watch = client.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
    await worker.claim()  # and never a word again
    worker.lease_s = 10
    again = await asyncio.wait_for(worker.claim(), 10)
    assert again.attempt == 2

    async def sent_again():
        return await store.redis.llen(QUEUE) == 2

    # The job is pending before its message is sent, and this worker needs no message.
    await eventually(sent_again)
    await worker.succeed(again)
    attempts = [message.event.attempt async for message in watch]
    assert attempts == sorted(attempts)
    assert attempts[-1] == 2


async def test_a_job_that_nobody_takes_in_time_fails(serve, samples):
    _, client = await serve(**QUICK)
    options = JobOptions(queue_timeout=Duration(nanos=50_000_000))
    job = (await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec(samples), options=options))).job
    ended = (await client.jobs.WaitJob(pb.WaitJobRequest(name=job.name), timeout=10)).job
    assert "QUEUE_TIMEOUT" in str(ended.error)


async def test_a_lost_message_is_sent_again(serve, samples, store, eventually):
    _, client = await serve(**QUICK)
    await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec(samples)))
    await store.redis.delete(QUEUE)
    await eventually(lambda: store.redis.llen(QUEUE))
    assert await store.redis.llen(QUEUE) >= 1


async def test_leases_are_safe_while_redis_is_young(serve, samples, store, worker):
    """A Redis that just came back must hear the workers before their jobs are given away."""
    worker.lease_s = 0.05
    _, client = await serve(lease_s=3600)
    await client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec(samples)))
    record = await worker.claim()
    await asyncio.sleep(1.5)
    assert await store.redis.zscore(f"{PREFIX}leases", record.id) is not None
