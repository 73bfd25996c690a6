"""What services tell of models outside: refusals before a job begins, the ledger and the budget of a tenant."""

import secrets

import pytest

from triptych.core import spending
from triptych.core.errors import FieldInvalid
from triptych.core.spending import Leaving
from triptych.services.backend import Backend
from triptych.v1 import job_service_pb2
from triptych.v1 import system_service_pb2 as pb
from triptych.v1.job_pb2 import (
    DATA_CLASS_CONFIDENTIAL,
    DATA_CLASS_PUBLIC,
    DATA_CLASS_RESTRICTED,
    DATA_CLASS_UNSPECIFIED,
    JobOptions,
    JobSpec,
)
from triptych.v1.vision_pb2 import CHAT_ROLE_USER, ChatMessage, ContentPart, GenerationConfig, VisionSpec

MODELS = """
[models.far]
kind = "vision"
engine = "remote"
licence = "LicenseRef-far"
remote = { base_url = "http://127.0.0.1:9/v1", model = "far-1", output_price = 10.0 }
"""
POLICY = """
[tenants.default]
budget = 2.5
period = "day"
[tenants.default.public]
models = ["far"]
"""


@pytest.fixture
def files(tmp_path):
    """Settings that name a catalogue and a policy."""
    models, policy = tmp_path / "models.toml", tmp_path / "policy.toml"
    models.write_text(MODELS)
    policy.write_text(POLICY)
    return {"models_file": models, "policy_file": policy}


@pytest.fixture
async def system(serve, files):
    _, client = await serve(**files)
    return client.system


@pytest.fixture
def submit(serve, files):
    async def submit_with(data_class):
        _, client = await serve(**files)
        turn = ChatMessage(role=CHAT_ROLE_USER, parts=[ContentPart(text="hello")])
        spec = JobSpec(vision=VisionSpec(messages=[turn], config=GenerationConfig(model="far")))
        request = job_service_pb2.SubmitJobRequest(spec=spec, options=JobOptions(data_class=data_class))
        return client.jobs.SubmitJob(request, timeout=10)

    return submit_with


@pytest.mark.parametrize("data_class", [DATA_CLASS_UNSPECIFIED, DATA_CLASS_CONFIDENTIAL, DATA_CLASS_RESTRICTED])
async def test_a_model_outside_that_the_policy_forbids_is_refused_at_once(submit, fails, data_class):
    failure = await fails(await submit(data_class))
    assert (failure.code, failure.reason) == ("PERMISSION_DENIED", "EGRESS_DENIED")


async def test_one_that_the_policy_allows_is_accepted(submit):
    assert (await (await submit(DATA_CLASS_PUBLIC))).job.name


async def test_a_wrong_policy_stops_the_start(settings, files):
    files["policy_file"].write_text(POLICY.replace("far", "near"))
    with pytest.raises(FieldInvalid, match=r"policy\.toml: tenants\.default\.public\.models"):
        Backend.open(settings.model_copy(update=files))


async def record(store, tenant, cost):
    """An entry of the ledger; gives the facts."""
    facts = Leaving(
        id=secrets.token_hex(16),
        tenant=tenant,
        job_id="j1",
        data_class="public",
        model="far",
        host="127.0.0.1:9",
        documents=("a" * 64,),
        body_digest="b" * 64,
        body_bytes=321,
        image_count=1,
        redaction_count=2,
        why="escalation",
    )
    policy = spending_policy()
    await store.run(spending.reserve(facts, 500, policy, ttl_s=60, kept_s=3600))
    await store.run(spending.settle(facts.id, "ok", cost, input_tokens=11, output_tokens=3))
    return facts


def spending_policy():
    from triptych.core.policy import parse

    return parse(POLICY, "policy").of("default")


async def test_an_entry_tells_who_sent_what_where_and_what_it_cost(system, store):
    facts = await record(store, "default", 77)
    answer = await system.ListLedgerEntries(pb.ListLedgerEntriesRequest(), timeout=10)
    [entry] = answer.entries
    assert (entry.id, entry.job, entry.data_class) == (facts.id, "jobs/j1", DATA_CLASS_PUBLIC)
    assert (entry.model, entry.host, entry.why, entry.outcome) == ("far", "127.0.0.1:9", "escalation", "ok")
    assert list(entry.document_digests) == [f"sha256-{'a' * 64}"]
    assert entry.body_digest == f"sha256-{'b' * 64}"
    assert (entry.body_bytes, entry.image_count, entry.redaction_count) == (321, 1, 2)
    assert (entry.input_token_count, entry.output_token_count) == (11, 3)
    assert (entry.cost_micros, entry.reserved_micros) == (77, 500)
    assert entry.period_start_time.ToSeconds() <= entry.begin_time.ToSeconds() <= entry.end_time.ToSeconds()
    budget = answer.budget
    assert (budget.limit_micros, budget.used_micros, budget.reserved_micros) == (2_500_000, 77, 0)
    assert budget.period == "day"
    assert budget.period_start_time == entry.period_start_time


async def test_a_ledger_is_its_tenants_own(system, store):
    await record(store, "somebody-else", 77)
    answer = await system.ListLedgerEntries(pb.ListLedgerEntriesRequest(), timeout=10)
    assert not answer.entries
    assert answer.budget.used_micros == 0


async def test_pages_go_on_where_they_ended(system, store, fails):
    made = [(await record(store, "default", 1)).id for _ in range(5)]
    found, token = [], ""
    while True:
        request = pb.ListLedgerEntriesRequest(page_size=2, page_token=token)
        page = await system.ListLedgerEntries(request, timeout=10)
        found += [entry.id for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]
    failure = await fails(system.ListLedgerEntries(pb.ListLedgerEntriesRequest(page_token="x"), timeout=10))
    assert failure.reason == "FIELD_INVALID"
