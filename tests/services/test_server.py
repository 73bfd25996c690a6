"""A server's life: health, reflection, a Redis that goes and comes back, draining, the process itself."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from service_process import facts, process

from triptych.core import lookup
from triptych.core.testing import ThrowawayRedis
from triptych.services.server import SERVICES
from triptych.v1 import job_service_pb2, ocr_service_pb2, system_service_pb2
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobKind, JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.vision_service_pb2 import StreamGenerateRequest

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = {
    f"triptych.v1.{name}Service"
    for name in ["Transcription", "Ocr", "Vision", "Reasoning", "Job", "Blob", "System", "Webhook"]
}


def submit(client, samples, **fields):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    return client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec, **fields))


async def services(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {service.name async for answer in call for service in answer.list_services_response.service}


async def check(client, service=""):
    stub = health_pb2_grpc.HealthStub(client.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_reflection_lists_all_services(client):
    assert await services(client) == NAMES | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_a_process_can_host_one_typed_service_with_the_common_ones(serve, fails):
    _, client = await serve(["ocr"])
    assert {name for name in await services(client) if name.startswith("triptych")} == {
        f"triptych.v1.{name}Service" for name in ("Ocr", "Job", "Blob", "System", "Webhook")
    }
    assert (await fails(client.vision.StreamGenerate(StreamGenerateRequest()))).code == "UNIMPLEMENTED"
    _, client = await serve(["blobs"])
    assert {name for name in await services(client) if name.startswith("triptych")} == {"triptych.v1.BlobService"}


async def test_health_needs_no_key_and_knows_every_service(serve):
    _, client = await serve(api_keys={"k": "acme"})
    for name in ("", *NAMES):
        assert await check(client, name) == SERVING
    with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
        await check(client, "triptych.v1.Nothing")


async def test_limits_are_told(client, settings):
    info = await client.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert info.version
    assert info.limits.max_inline_bytes == settings.max_inline_bytes
    assert info.limits.heartbeat_interval.seconds == 15


async def test_models_are_listed_by_kind_and_page(client, store, worker):
    await worker.announce("ocr")
    names, token = [], ""
    while True:
        page = await client.system.ListModels(system_service_pb2.ListModelsRequest(page_size=2, page_token=token))
        names += [model.name for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(names)
    kind = JobKind.JOB_KIND_TRANSCRIPTION
    speakers, speech = (await client.system.ListModels(system_service_pb2.ListModelsRequest(kind=kind))).models
    assert (speech.name, speech.is_default, speech.ready_worker_count) == ("whisper-base", True, 0)
    assert (speakers.name, speakers.is_default) == ("campplus-zh-en", False)


async def test_queues_tell_their_load(client, worker, samples):
    await submit(client, samples)
    await submit(client, samples)
    await worker.claim()
    queues = (await client.system.ListQueues(system_service_pb2.ListQueuesRequest())).queues
    queue = next(queue for queue in queues if queue.name == "ocr.normal")
    assert len(queues) == 12
    assert (queue.pending_count, queue.running_count, queue.worker_count, queue.max_pending_count) == (1, 1, 1, 10_000)


@pytest.fixture
def own_redis():
    """A Redis that a test may kill."""
    server = ThrowawayRedis()
    yield server
    server.close()


async def until(client, status):
    """Follows health until it has this status."""
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
    async for answer in watch:
        if answer.status == status:
            watch.cancel()
            return


async def test_a_server_starts_without_redis_and_serves_when_it_comes(serve, own_redis, samples, fails):
    _, client = await serve(redis_url=own_redis.url)
    assert await check(client) == NOT_SERVING
    failed = await fails(submit(client, samples))
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
    assert failed.metadata["grpc-retry-pushback-ms"] == "1000"
    await asyncio.to_thread(own_redis.start)
    await until(client, SERVING)
    assert (await submit(client, samples)).job.name


async def test_jobs_outlive_a_redis_that_dies(serve, own_redis, samples, fails):
    await asyncio.to_thread(own_redis.start)
    _, client = await serve(redis_url=own_redis.url, heartbeat_s=0.2)
    job = (await submit(client, samples)).job
    watch = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name))
    messages = aiter(watch)
    cursor = (await anext(messages)).event.cursor
    own_redis.kill()
    failed = await fails(messages)
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
    await until(client, NOT_SERVING)
    assert (
        await fails(client.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name)))
    ).reason == "BACKEND_UNAVAILABLE"
    await asyncio.to_thread(own_redis.start)
    await until(client, SERVING)
    again = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name, after_cursor=cursor))
    assert (await anext(aiter(again))).event.job.state == JobState.JOB_STATE_PENDING
    waiting = client.jobs.WaitJob(job_service_pb2.WaitJobRequest(name=job.name), timeout=10)
    # What wakes watchers works again, too.
    await client.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=job.name))
    assert (await waiting).job.state == JobState.JOB_STATE_CANCELLED
    again.cancel()


async def test_a_draining_server_sends_everybody_elsewhere(serve, worker, samples, fails, store):
    server, client = await serve(drain_s=2)
    waits = ocr_service_pb2.RecognizeRequest(spec=OcrSpec(input=InputSource(content=samples.png)))
    first = client.ocr.Recognize(waits, timeout=30)
    record = await worker.claim()
    second = client.ocr.Recognize(waits, timeout=30)
    slow = await worker.claim()
    watch = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=f"jobs/{record.id}"))
    messages = aiter(watch)
    await anext(messages)
    health = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
    stopping = asyncio.ensure_future(server.stop())
    failed = await fails(messages)
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    failed = await fails(submit(client, samples))
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    async for answer in health:
        last = answer.status
    assert last == NOT_SERVING
    # A call that waits still gets its result; one whose job takes too long is sent elsewhere, and its job goes on.
    await worker.succeed(record)
    assert (await first).result.pages[0].text == "hello"
    assert (await fails(second)).reason == "SERVER_DRAINING"
    await stopping
    assert (await store.run(lookup.get(slow.id, "default"))).state == JobState.JOB_STATE_RUNNING


async def test_the_process_says_where_it_listens_and_drains_on_sigterm(settings, tmp_path):
    with process(settings, tmp_path, "ocr", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0") as running:
        told = await facts(running)
        assert told["pid"] == running.pid
        async with grpc.aio.insecure_channel(told["address"]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
        running.send_signal(signal.SIGTERM)
        _, lines = await asyncio.to_thread(running.communicate)
        assert running.returncode == 0, lines
        (listening,) = [each for each in map(json.loads, lines.splitlines()) if each.get("event") == "listening"]
        assert listening["address"] == told["address"]


async def test_the_process_ends_with_its_parent(settings, tmp_path):
    read, write = os.pipe()
    with process(settings, tmp_path, "--listen", "127.0.0.1:0", TRIPTYCH_PARENT_FD=str(read)) as running:
        os.close(read)
        await facts(running)
        os.close(write)
        assert await asyncio.to_thread(running.wait) == 0


async def test_an_address_that_is_taken_is_an_error(serve, settings, tmp_path):
    server, _ = await serve()
    with process(settings, tmp_path, "--listen", server.address) as running:
        _, lines = await asyncio.to_thread(running.communicate)
        assert running.returncode == 1
        assert f"cannot listen on {server.address}" in lines


def test_help_lists_the_services():
    told = subprocess.run(
        [sys.executable, "-m", "triptych.services", "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout  # fmt: skip
    assert all(name in told for name in SERVICES)
