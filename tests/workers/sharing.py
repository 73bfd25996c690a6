"""Workers of one deployment that share units, and an engine that counts what it reads."""

import threading
from collections import Counter

from PIL import Image
from workers.documents import OneStation, encoded

from triptych.core import jobs, lookup
from triptych.core.blob_choice import open_blobs
from triptych.core.blobs import digest_of
from triptych.core.broker import Broker
from triptych.core.jobs import NewJob
from triptych.core.records import new_job_id
from triptych.core.sources import inputs
from triptych.core.store import Store
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import CachePolicy, JobResult, JobSpec
from triptych.v1.ocr_pb2 import OcrConfig, OcrPage, OcrSpec
from triptych.workers.engines.base import Engine
from triptych.workers.execution import Execution
from triptych.workers.kinds import ocr

MARKER = "words that only this document has"


def document(page_count, first_shade=1):
    """A TIFF whose pages are told apart by their shade."""
    pages = [Image.new("RGB", (16, 16), (first_shade + n,) * 3) for n in range(page_count)]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


class CountingReader(Engine):
    """Reads a page's shade, and counts how often.

    Attributes:
        read: Shade -> times.
        gate: Open by default; clear it to keep a batch running.
        started: Set when a batch begins.
    """

    def __init__(self, revision="1"):
        self.model = ModelRef(model="shades", revision=revision, engine="shades/1")
        self.read = Counter()
        self.bad = set()
        self.started, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def load(self):
        pass

    def cost(self, item):
        return 1

    def run_batch(self, items):
        self.started.set()
        self.gate.wait(30)
        shades = [int(item.pixels[0, 0, 0]) for item in items]
        self.read.update(shades)
        return [ValueError("no") if shade in self.bad else OcrPage(text=f"{MARKER} {shade}") for shade in shades]


class Worker:
    """Everything of a real OCR worker but Celery and the thread that renews leases."""

    def __init__(self, settings, engine=None):
        self.settings = settings
        self.store, self.broker, self.blobs = Store(settings.redis_url), Broker(settings), open_blobs(settings)
        self.execution = Execution(settings, self.store, self.blobs, self.broker, worker="w")
        self.engine = engine or CountingReader()
        self.stations = OneStation(self.engine, max_items=2)
        self.stations.station.start()

    def job(self, data=b"", *, tenant="t", lane=1, policy=CachePolicy.CACHE_POLICY_USE, spec=None, **ocr_spec):
        """Records a job at a document; gives its id."""
        if spec is None:
            name = self.blobs.put(tenant, data).name
            config = OcrConfig(**ocr_spec.pop("config", {}))
            spec = JobSpec(ocr=OcrSpec(input=InputSource(blob=name), config=config, **ocr_spec))
        documents = tuple(digest_of(source.blob) for _, source in inputs(spec))
        job = NewJob(
            id=new_job_id(), tenant=tenant, kind=spec.WhichOneof("spec"), lane=lane, spec=spec.SerializeToString(),
            queue_timeout_ms=60_000, execution_timeout_ms=60_000, ttl_ms=60_000, cache_policy=policy,
            documents=documents,
        )  # fmt: skip
        return self.store.run(jobs.create(job, max_pending=99))[1]

    def attempt(self, *args, **kwargs):
        """A claimed job at a document; no other waits."""
        job_id = self.job(*args, **kwargs)
        attempt = self.execution.claim("ocr")
        assert attempt.job_id == job_id
        return attempt

    def run(self, attempt):
        """Runs an attempt to its outcome; gives the job."""
        try:
            result = ocr.run(attempt, attempt.spec.ocr, self.stations)
            self.execution.succeed(attempt, JobResult(ocr=result))
        except Exception as error:  # noqa: BLE001 - as a worker's task does
            self.execution.fail(attempt, error)
        return self.ended(attempt.job_id, attempt.tenant)

    def read(self, *args, **kwargs):
        """Submits and runs a job; gives it."""
        return self.run(self.attempt(*args, **kwargs))

    def begin(self, attempt):
        """Runs an attempt in a thread."""
        thread = threading.Thread(target=self.run, args=(attempt,), daemon=True)
        thread.start()
        return thread

    def ended(self, job_id, tenant="t"):
        return self.store.run(lookup.get(job_id, tenant)).to_job()

    def pages_told(self, job_id):
        """Pages whose events watchers saw, in order."""
        from triptych.v1.job_pb2 import JobEvent

        entries = self.store.redis.xrange(f"triptych:events:{job_id}")
        events = [JobEvent.FromString(entry[b"event"]) for _, entry in entries if b"event" in entry]
        return [event.ocr_page.page_number for event in events if event.HasField("ocr_page")]

    def close(self):
        self.engine.gate.set()
        self.stations.station.stop()
        self.broker.close()
        self.store.close()
