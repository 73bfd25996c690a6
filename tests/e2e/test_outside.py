"""Models outside over the real wire: services, workers, Redis and the server that answers are all processes."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_stack import Process, until
from workers.documents import encoded, picture

from triptych.client import Client, specs
from triptych.core.errors import BudgetExhausted, EgressDenied, TriptychError
from triptych.core.testing import ThrowawayRedis, free_port
from triptych.v1.job_pb2 import (
    DATA_CLASS_INTERNAL,
    DATA_CLASS_PUBLIC,
    DATA_CLASS_RESTRICTED,
    JobOptions,
    JobState,
)
from triptych.v1.vision_pb2 import GenerationConfig

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parents[1]
FAR = "The total is 42."
MODELS = """
[models.far]
kind = "vision"
engine = "remote"
licence = "LicenseRef-far"
[models.far.remote]
base_url = "http://127.0.0.1:{port}/v1"
model = "far-1"
input_price = 2.0
output_price = 10.0
concurrency = 64
"""
# As eager to send out as a policy can be, but for what is restricted.
POLICY = """
[tenants.default]
budget = {budget}
[tenants.default.public]
models = ["far"]
[tenants.default.internal]
models = ["far"]
escalate_below = 1.0
"""


class Deployment:
    """Redis, services, two vision workers and a server outside, whose every byte is in `log`."""

    def __init__(self, folder, budget, **variables):
        self.redis = ThrowawayRedis()
        self.log = folder / "received"
        self.log.touch()
        self._server = subprocess.Popen(
            [sys.executable, str(TESTS / "chat_server.py"), str(self.log)], stdout=subprocess.PIPE, text=True
        )
        (folder / "models.toml").write_text(MODELS.format(port=int(self._server.stdout.readline())))
        (folder / "policy.toml").write_text(POLICY.format(budget=budget))
        env = {
            "TRIPTYCH_REDIS_URL": self.redis.url,
            "TRIPTYCH_STATE_DIR": str(folder),
            "TRIPTYCH_MODELS_FILE": str(folder / "models.toml"),
            "TRIPTYCH_POLICY_FILE": str(folder / "policy.toml"),
            "TRIPTYCH_LEASE_S": "2",
            "TALKER_CONFIDENCE": "0.5",
        } | variables
        self.address = f"127.0.0.1:{free_port()}"
        service = ("-m", "triptych.services", "all", "--listen", self.address)
        self.service = Process(service, env, folder, "service")
        self.workers = [Process((TESTS / "talking_worker.py", "vision"), env, folder, f"worker-{n}") for n in range(2)]

    def __enter__(self):
        self.redis.start()
        processes = [process.start() for process in (self.service, *self.workers)]
        for process in processes:
            process.until_ready()
        return self

    def __exit__(self, *_):
        for process in (self.service, *self.workers):
            process.kill()
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()
        self.redis.close()

    def received(self):
        return self.log.read_bytes()


@pytest.fixture
def deploy(tmp_path):
    opened = []

    def deploy_with(budget, **variables):
        opened.append(Deployment(tmp_path, budget, **variables))
        return opened[-1].__enter__()

    yield deploy_with
    for deployment in opened:
        deployment.__exit__()


def named(model="far"):
    return GenerationConfig(model=model, max_output_tokens=20)


def test_no_byte_of_a_restricted_document_reaches_the_server_outside(deploy):
    deployment = deploy(budget=100)
    page = encoded(picture("SECRET PLAN"))
    with Client(deployment.address) as client:
        restricted = JobOptions(data_class=DATA_CLASS_RESTRICTED)
        for options in (restricted, JobOptions()):
            assert client.generate("What is it?", [page], options=options).text == "here: What is it?"
            with pytest.raises(EgressDenied):
                client.generate("What is it?", [page], named(), options=options)
        assert deployment.received() == b""
        assert client.ledger()[0] == []
        # The same page does get there when it may, and then it is found in what was received.
        public = JobOptions(data_class=DATA_CLASS_PUBLIC)
        assert client.generate("What is it?", [page], named(), options=public).text == FAR
        internal = JobOptions(data_class=DATA_CLASS_INTERNAL)
        assert client.generate("What is it?", [page], options=internal).text == FAR
        assert deployment.received().count(b"data:image/png;base64,") == 2
        entries, budget = client.ledger()
        assert [entry.why for entry in entries] == ["escalation", "named"]
        assert sum(entry.cost_micros for entry in entries) == budget.used_micros == 480


def test_sixty_four_callers_of_two_workers_never_pass_the_budget_and_the_ledger_adds_up(deploy):
    # A call may cost 352 + some bytes at most, and costs 240.
    deployment = deploy(budget=0.004)
    options = JobOptions(data_class=DATA_CLASS_PUBLIC)
    seen = []

    def ask(client, number):
        try:
            assert client.generate(f"Question {number}?", [], named(), options=options).text == FAR
        except BudgetExhausted:
            return False
        budget = client.ledger(limit=1)[1]
        seen.append(budget.used_micros + budget.reserved_micros)
        return True

    with Client(deployment.address) as client, ThreadPoolExecutor(64) as threads:
        made = sum(threads.map(lambda number: ask(client, number), range(64)))
        entries, budget = client.ledger(limit=1000)
    assert 5 < made < 64
    assert len(entries) == made == deployment.received().count(b"POST /v1/chat/completions")
    assert max(seen) <= budget.limit_micros == 4000
    assert sum(entry.cost_micros for entry in entries) == budget.used_micros == 240 * made
    assert budget.reserved_micros == 0


def test_a_call_outside_is_cancelled_with_its_job_and_the_worker_goes_on(deploy):
    # A model outside may be the default: then workers load none.
    deployment = deploy(budget=100, TRIPTYCH_VISION_MODEL="far")
    with Client(deployment.address) as client:
        options = JobOptions(data_class=DATA_CLASS_PUBLIC)
        job = client.submit(specs.vision("HANG", [], named("")), options)
        until(lambda: b"HANG" in deployment.received())
        began = time.monotonic()
        client.cancel_job(job.name)
        with pytest.raises(TriptychError):
            client.result(client.wait_job(job.name, timeout_s=30))
        assert time.monotonic() - began < 5
        assert client.get_job(job.name).state == JobState.JOB_STATE_CANCELLED
        [entry] = until(lambda: client.ledger()[0])
        assert (entry.outcome, entry.cost_micros) == ("cancelled", entry.reserved_micros)
        assert client.generate("And now?", [], options=options).text == FAR
