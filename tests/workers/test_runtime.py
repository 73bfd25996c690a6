"""A worker process outlives what its Redis goes through."""

import os
import signal
import subprocess
import sys
import time

import pytest

from triptych.core import jobs, lookup
from triptych.core.broker import Broker
from triptych.core.jobs import NewJob
from triptych.core.records import TERMINAL, new_job_id
from triptych.core.store import Store


class Process:
    """A real worker of the queue that needs no model."""

    def __init__(self, settings, tmp_path):
        self._log, ready = tmp_path / "worker.log", tmp_path / "ready"
        env = os.environ | {
            "TRIPTYCH_REDIS_URL": settings.redis_url,
            "TRIPTYCH_STATE_DIR": str(settings.state_dir),
            "TRIPTYCH_READY_FILE": str(ready),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "triptych.workers", "reasoning"]
            self._running = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=log, stderr=log)
        self.until(ready.exists)

    def until(self, condition):
        while not condition():
            assert self._running.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def signal(self, number):
        self._running.send_signal(number)

    def logged(self, text):
        return text in self._log.read_text()

    def alive(self):
        return self._running.poll() is None

    def close(self):
        self._running.kill()
        self._running.wait()


@pytest.fixture
def process(settings, tmp_path):
    process = Process(settings, tmp_path)
    yield process
    process.close()


@pytest.mark.timeout(90)
def test_a_message_that_comes_when_redis_has_no_memory_left_ends_no_worker(process, settings, redis_used):
    store, broker = Store(settings.redis_url), Broker(settings)

    def submit():
        job = NewJob(
            id=new_job_id(), tenant="t", kind="reasoning", lane=1, spec=b"", queue_timeout_ms=60_000,
            execution_timeout_ms=60_000, ttl_ms=60_000,
        )  # fmt: skip
        store.run(jobs.create(job, max_pending=9))
        broker.publish(job.kind)
        return job.id

    def ended(job_id):
        return store.run(lookup.get(job_id, "t")).state in TERMINAL

    first = submit()
    process.until(lambda: ended(first))  # now it listens
    process.signal(signal.SIGSTOP)
    second = submit()
    redis_used(2)
    process.signal(signal.SIGCONT)
    process.until(lambda: process.logged("OutOfMemoryError"))
    redis_used(0)
    # The message is lost; the caretaker sends another one.
    process.until(lambda: ended(second))
    assert process.alive()
    broker.close()
    store.close()
