"""A real server on a free port, a real Redis, and a worker that plays by the rules of the queue."""

import asyncio
import contextlib
import struct
import zlib

import grpc
import pytest
from grpc_status import rpc_status

from triptych.core import jobs, load, lookup
from triptych.core.errors import from_status
from triptych.core.lookup import ANY_TENANT
from triptych.core.records import KINDS, JobRecord, new_job_id
from triptych.core.store import AsyncStore
from triptych.services.server import Server
from triptych.v1 import (
    blob_service_pb2_grpc,
    job_service_pb2_grpc,
    ocr_service_pb2_grpc,
    reasoning_service_pb2_grpc,
    system_service_pb2_grpc,
    transcription_service_pb2_grpc,
    vision_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrPage, OcrResult


def _png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * height) if width * height < 1e6 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Samples:
    """Heads of files; the services never look further."""

    png = _png(8, 8)
    huge_png = _png(60_000, 60_000)
    pdf = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
    wav = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0"
    text = b"nothing but words"


@pytest.fixture
def samples():
    return Samples


class Failure:
    """What a call that had to fail said."""

    def __init__(self, error, call):
        self.code = error.code().name
        self.rpc = error
        self.call = call
        # aio errors keep their trailers elsewhere than rpc_status looks.
        details = dict(error.trailing_metadata() or ())
        self.metadata = {key: value for key, value in details.items() if isinstance(value, str)}
        raw = details.get("grpc-status-details-bin")
        self.status = rpc_status.status_pb2.Status.FromString(raw) if raw else None
        self.error = from_status(self.status) if raw else None
        self.reason = self.error.reason if self.error else ""

    def __repr__(self):
        return f"{self.code} {self.reason}: {self.rpc.details()}"


async def eventually(condition):
    """Asks until it holds; the test's own time-out ends what never comes."""
    while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
        await asyncio.sleep(0.005)


async def failure(call):
    """Awaits a call (or drains a stream) that has to fail."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return Failure(error, call)
    pytest.fail("the call succeeded")


@pytest.fixture
def fails():
    return failure


@pytest.fixture(name="eventually")
def _eventually():
    return eventually


class Client:
    """All stubs on one channel."""

    def __init__(self, address):
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.blobs = blob_service_pb2_grpc.BlobServiceStub(self.channel)
        self.system = system_service_pb2_grpc.SystemServiceStub(self.channel)
        self.ocr = ocr_service_pb2_grpc.OcrServiceStub(self.channel)
        self.transcription = transcription_service_pb2_grpc.TranscriptionServiceStub(self.channel)
        self.vision = vision_service_pb2_grpc.VisionServiceStub(self.channel)
        self.reasoning = reasoning_service_pb2_grpc.ReasoningServiceStub(self.channel)
        self.webhooks = webhook_service_pb2_grpc.WebhookServiceStub(self.channel)


@pytest.fixture
async def serve(settings):
    """Starts servers: `server, client = await serve(drain_s=1)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(services=None, **changes):
            # Short, so that a test ends soon after its last line.
            values = {"listen": "127.0.0.1:0", "drain_s": 0.5, **changes}
            own = settings.model_copy(update=values)
            server = Server(own, services) if services else Server(own)
            client = Client(await server.start())
            stack.push_async_callback(server.stop)
            stack.push_async_callback(client.channel.close)
            return server, client

        yield start


@pytest.fixture
async def client(serve):
    """A client of a server that hosts everything."""
    _, client = await serve()
    return client


@pytest.fixture
async def store(settings):
    store = AsyncStore(settings.redis_url)
    yield store
    await store.close()


class Worker:
    """Claims what waits, by the same operations as a real worker, and lets the test decide what comes of it."""

    def __init__(self, store, lease_s=10):
        self.store = store
        self.lease_s = lease_s

    async def announce(self, *kinds, ttl_s=600):
        for kind in kinds or KINDS:
            await self.store.run(load.announce(kind, "hand-1", ["a-model"], ttl_s))

    async def claim(self, kind="ocr"):
        """Takes the next waiting job, as soon as there is one."""
        while True:
            record = await self.store.run(jobs.claim(kind, "hand-1", self.lease_s))
            if isinstance(record, JobRecord):
                return record
            await asyncio.sleep(0.005)

    async def emit(self, record, event):
        return await self.store.run(jobs.emit(record.id, record.attempt, event))

    async def succeed(self, record, result=None):
        result = result or JobResult(ocr=OcrResult(source_page_count=1, pages=[OcrPage(page_number=1, text="hello")]))
        assert await self.store.run(jobs.succeed(record.id, record.attempt, result))

    async def fail(self, record, error):
        assert await self.store.run(jobs.fail(record.id, record.attempt, error))

    async def cancelled(self, record):
        """Waits until the job's caller wants it no more; gives the job's state then."""

        async def asked():
            renewal = await self.store.run(jobs.renew(record.id, record.attempt, self.lease_s))
            return renewal.standing == "cancel"

        await eventually(asked)
        return (await self.store.run(lookup.get(record.id, ANY_TENANT))).state


@pytest.fixture
async def worker(store):
    worker = Worker(store)
    await worker.announce()
    return worker


@pytest.fixture
def part_of(store):
    """Records a waiting job that a running one has started; gives its id."""

    async def record_part(parent):
        part = jobs.NewJob(
            id=new_job_id(), tenant=parent.tenant, kind="vision", lane=0, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000, parent=parent.id,
        )  # fmt: skip
        return (await store.run(jobs.create(part, max_pending=10)))[1]

    return record_part
