"""Memory that runs out, and workers that grow: every job ends as it should."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import toy_pages
from prometheus_client.parser import text_string_to_metric_families
from toy_stack import ToyStack, until

from triptych.core import ceilings
from triptych.core.store import PREFIX, Store, keys
from triptych.v1.job_pb2 import JobSpec, JobState
from triptych.v1.ocr_pb2 import OcrSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

JOBS, PAGES, FIT = 12, 4, 2
MIB = 1 << 20


def submit(client, words):
    (source,) = client.sources([toy_pages.pdf(words)])
    return client.submit(JobSpec(ocr=OcrSpec(input=source))).name


def read_all(client, series, jobs=JOBS):
    """Has documents read at once, each of words of its own; gives what was read and what it should be."""
    documents = [[f"{series}{job:02}-{page}" for page in range(PAGES)] for job in range(jobs)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda words: submit(client, words), documents))
    ended = [client.wait_job(name, timeout_s=120) for name in names]
    assert [job.state for job in ended] == [JobState.JOB_STATE_SUCCEEDED] * jobs
    assert [[page.text for page in job.result.ocr.pages] for job in ended] == documents
    return ended


def samples(worker, name):
    """Gives the samples of a metric, by their labels."""
    with urllib.request.urlopen(f"http://{worker.until_ready()['metrics']}/metrics", timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_batches_that_do_not_fit_are_halved_and_the_ceiling_outlives_the_worker(tmp_path):
    env = {"TOY_MAX_PAGES": FIT, "TOY_BATCH_S": 0.05, "TRIPTYCH_METRICS_LISTEN": "127.0.0.1:0"}
    with ToyStack(tmp_path, tenants=("alpha",), **env) as stack, stack.client("alpha") as client:
        (worker,) = stack.workers
        read_all(client, "a")
        first = [len(batch["words"]) for batch in stack.batches()]
        assert max(first) > FIT, "larger ones were tried, and the system refused them"
        assert worker.deaths == 0
        refused = samples(worker, "triptych_out_of_memory_total")
        assert sum(refused.values()) >= 1
        ((labels, ceiling),) = samples(worker, "triptych_batch_ceiling").items()
        assert (dict(labels)["key"], ceiling) == ("None", FIT)
        store = Store(stack.redis.url)
        (place,) = until(lambda: list(keys(store, f"{PREFIX}ceilings:*")))
        found = until(lambda: store.run(ceilings.remembered(place.removeprefix(f"{PREFIX}ceilings:"))))
        store.close()
        assert {key: kept.safe_cost for key, kept in found.items()} == {"None": FIT}

        worker.kill()
        worker.start().until_ready()
        assert list(samples(worker, "triptych_batch_ceiling").values()) == [FIT]
        read_all(client, "b")
        second = [len(batch["words"]) for batch in stack.batches()[len(first) :]]
        assert max(second) == FIT, "the new worker knows"
        assert sum(samples(worker, "triptych_out_of_memory_total").values()) == 0


def test_a_worker_that_grows_beyond_its_bound_is_started_anew_and_nothing_is_lost(tmp_path):
    env = {
        "TOY_LEAK_BYTES": 20 * MIB,
        "TOY_BATCH_S": 0.3,
        "TRIPTYCH_WORKER_MAX_RSS_BYTES": 600 * MIB,
        "TRIPTYCH_MAX_BATCH_ITEMS": 4,
        "TRIPTYCH_WORKER_THREADS": 2,
        "TRIPTYCH_LEASE_S": 60,
    }
    with ToyStack(tmp_path, tenants=("alpha",), **env) as stack, stack.client("alpha") as client:
        (worker,) = stack.workers
        ended = read_all(client, "c")
        until(lambda: worker.deaths)
        assert set(worker.exit_codes) == {3}
        assert [job.attempt for job in ended] == [1] * JOBS, (
            "it finished what it had: a lease would have lasted a minute"
        )
        words = [word for batch in stack.batches() for word in batch["words"]]
        assert sorted(words) == sorted(f"c{job:02}-{page}" for job in range(JOBS) for page in range(PAGES))
        assert len({batch["pid"] for batch in stack.batches()}) > 1
