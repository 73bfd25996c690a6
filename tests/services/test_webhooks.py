"""Webhooks from the request to a real receiver: told once, signed, sent again, given up, replayed, private."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from types import SimpleNamespace

import grpc
import pytest
from pydantic import SecretStr
from receiver import Receiver
from service_process import facts, process

from triptych.client.webhooks import verify
from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker
from triptych.core.errors import MediaCorrupt, StageFailed
from triptych.core.records import new_job_id
from triptych.core.store import PREFIX
from triptych.core.submission import Submission, Submittal
from triptych.services import deliverer
from triptych.services.deliverer import MAX_PER_HOST, PAUSES_S
from triptych.v1 import job_service_pb2 as jobs_pb
from triptych.v1 import webhook_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobOptions, JobSpec, Webhook
from triptych.v1.job_service_pb2_grpc import JobServiceStub
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.ocr_service_pb2 import RecognizeRequest
from triptych.v1.reasoning_pb2 import ReasoningSpec
from triptych.v1.webhook_service_pb2 import DeliveryState as D

KEY, OLD_KEY = b"k" * 32, b"o" * 24
SECRET, OLD_SECRET = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, OLD_KEY))


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(deliverer, "LOOK_EVERY_S", 0.02)


@pytest.fixture
def listen():
    receivers = []

    def start(*args):
        receivers.append(Receiver(*args))
        return receivers[-1]

    yield start
    for each in receivers:
        each.close()


@pytest.fixture
def receiver(listen):
    return listen()


def values_for(*receivers, **changes):
    """Settings of a server that may tell these receivers."""
    return {
        "webhook_hosts": [f"http://{each.host}:{each.port}" for each in receivers],
        "webhook_private": True,
        "webhook_secrets": _secrets(default=SECRET),
        **changes,
    }


@pytest.fixture
def hooked(serve):
    """Starts a server that may tell these receivers."""

    async def start(*receivers, **changes):
        _, client = await serve(**values_for(*receivers, **changes))
        return client

    return start


def _secrets(**tenants):
    return {tenant: SecretStr(secret) for tenant, secret in tenants.items()}


def _spec(samples):
    return JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))


@pytest.fixture
def submit(samples):
    async def submit(client, url="", metadata=None, **options):
        if url:
            options["webhook"] = Webhook(url=url)
        request = jobs_pb.SubmitJobRequest(spec=_spec(samples), options=JobOptions(**options))
        return (await client.jobs.SubmitJob(request, metadata=metadata)).job

    return submit


async def got(receiver):
    """The next message that the receiver is told."""
    return await asyncio.to_thread(receiver.requests.get, timeout=30)


async def nothing_more(client, receiver):
    """Whether every message has been taken and the receiver has seen no other."""
    while await listed(client):  # noqa: ASYNC110 - what is waited for happens in another task
        await asyncio.sleep(0.005)
    return receiver.requests.empty()


async def listed(client, metadata=None, **fields):
    answer = await client.webhooks.ListDeliveries(pb.ListDeliveriesRequest(**fields), metadata=metadata)
    return list(answer.deliveries)


async def settled(client, count, state=D.DELIVERY_STATE_WAITING):
    """The only delivery, once so many attempts have been made of it and the last one is over."""
    while True:
        for delivery in await listed(client, state=state):
            if delivery.attempt_count == count and delivery.last_error:
                return delivery
        await asyncio.sleep(0.005)


async def make_due(store):
    """Moves the clock to the next attempt of everything that waits."""
    for host, _ in await store.redis.zrange(f"{PREFIX}outbox", 0, -1, withscores=True):
        for delivery_id in await store.redis.zrange(f"{PREFIX}outbox:{host.decode()}", 0, -1):
            await store.redis.zadd(f"{PREFIX}outbox:{host.decode()}", {delivery_id: 1})
        await store.redis.zadd(f"{PREFIX}outbox", {host: 1})


async def test_the_end_of_a_job_is_told_once_as_a_signed_cloud_event(hooked, receiver, submit, worker):
    client = await hooked(receiver)
    job = await submit(client, f"{receiver.url}?for=me", labels={"team": "x", "a": "b"})
    await worker.succeed(await worker.claim())
    message = await got(receiver)
    assert message.path == "/hook?for=me"
    assert message.headers["content-type"] == "application/cloudevents+json"
    signed = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode() + message.body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert message.headers["webhook-signature"] == f"v1,{digest}"
    assert abs(time.time() - int(message.headers["webhook-timestamp"])) < 60
    event = json.loads(message.body)
    ended = (await client.jobs.GetJob(jobs_pb.GetJobRequest(name=job.name))).job
    assert {name: value for name, value in event.items() if name != "data"} == {
        "specversion": "1.0", "id": job.name.removeprefix("jobs/"), "source": "triptych",
        "type": "triptych.job.succeeded", "subject": job.name, "time": ended.end_time.ToJsonString(),
        "datacontenttype": "application/json",
    }  # fmt: skip
    assert event["id"] == message.headers["webhook-id"]
    assert event["data"]["state"] == "JOB_STATE_SUCCEEDED"
    assert event["data"]["labels"] == {"a": "b", "team": "x"}
    assert not {"spec", "result"} & set(event["data"])
    assert verify(message.body, message.headers, SECRET) == event
    assert await nothing_more(client, receiver)


async def test_failed_and_cancelled_jobs_are_told_too(hooked, receiver, submit, worker):
    client = await hooked(receiver)
    await submit(client, receiver.url)
    await worker.fail(await worker.claim(), MediaCorrupt("no image"))
    failed = json.loads((await got(receiver)).body)
    assert (failed["type"], failed["data"]["error"]["message"]) == ("triptych.job.failed", "no image")
    job = await submit(client, receiver.url)
    await client.jobs.CancelJob(jobs_pb.CancelJobRequest(name=job.name))
    cancelled = json.loads((await got(receiver)).body)
    assert (cancelled["type"], cancelled["subject"]) == ("triptych.job.cancelled", job.name)


async def test_a_blocking_call_has_a_webhook_as_well(hooked, receiver, worker, samples):
    client = await hooked(receiver)
    options = JobOptions(webhook=Webhook(url=receiver.url))
    calling = client.ocr.Recognize(RecognizeRequest(spec=_spec(samples).ocr, options=options), timeout=30)
    await worker.succeed(await worker.claim())
    assert json.loads((await got(receiver)).body)["subject"] == (await calling).job.name


@pytest.mark.parametrize("own", [True, False])
async def test_a_retry_is_told_where_the_job_was_told(serve, listen, submit, worker, own):
    first, other = listen(), listen()
    _, client = await serve(**values_for(first, other, webhooks={"default": (other if own else first).url}))
    job = await submit(client, first.url if own else "")
    await worker.fail(await worker.claim(), MediaCorrupt("no image"))
    assert json.loads((await got(first)).body)["subject"] == job.name
    _, client = await serve(**values_for(first, other, webhooks={"default": other.url}))
    again = (await client.jobs.RetryJob(jobs_pb.RetryJobRequest(name=job.name))).job
    await worker.succeed(await worker.claim())
    assert json.loads((await got(first)).body)["subject"] == again.name
    assert other.requests.empty()


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_is_not_taken_is_sent_again_byte_for_byte_with_a_new_signature(
    hooked, listen, submit, worker, store, status, monkeypatch
):
    receiver, elsewhere = listen(), listen()
    client = await hooked(receiver, elsewhere)
    receiver.answers = [(status, {"location": elsewhere.url})] * 2
    await submit(client, receiver.url, labels={"z": "1", "y": "2", "x": "3"})
    await worker.succeed(await worker.claim())
    first = await got(receiver)
    waiting = await settled(client, 1)
    assert waiting.last_error == f"HTTP {status}"
    pause_s = waiting.next_attempt_time.ToMilliseconds() / 1000 - time.time()
    assert pause_s <= PAUSES_S[0] * 1.2
    now = time.time()
    monkeypatch.setattr("triptych.services.cloud_events.time.time", lambda: now + 100)
    await make_due(store)
    second = await got(receiver)
    assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert (await settled(client, 2)).url == receiver.url
    await make_due(store)
    assert (await got(receiver)).body == first.body
    assert await nothing_more(client, receiver)
    assert elsewhere.requests.empty()


async def test_a_receiver_that_is_busy_is_left_alone_until_it_wants_but_not_for_ever(hooked, receiver, submit, worker):
    client = await hooked(receiver)
    receiver.answers = [(503, {"retry-after": "3600"}), (503, {"retry-after": "99999999"})]
    for most_s in (3600, deliverer.MAX_RETRY_AFTER_S):
        await submit(client, receiver.url)
        await worker.succeed(await worker.claim())
        await got(receiver)
        delivery = await settled(client, 1)
        pause_s = delivery.next_attempt_time.ToMilliseconds() / 1000 - time.time()
        assert most_s - 60 < pause_s <= most_s
        await client.webhooks.DeleteDelivery(pb.DeleteDeliveryRequest(name=delivery.name))


async def test_after_the_last_attempt_it_is_a_dead_letter_that_a_replay_revives(
    hooked, receiver, submit, worker, store
):
    client = await hooked(receiver)
    attempts = len(PAUSES_S) + 1
    receiver.answers = [(500, {})] * attempts
    job = await submit(client, receiver.url)
    await worker.succeed(await worker.claim())
    for number in range(1, attempts):
        first = await got(receiver)
        await settled(client, number)
        await make_due(store)
    await got(receiver)
    dead = await settled(client, attempts, D.DELIVERY_STATE_DEAD)
    assert (dead.job, dead.last_error, dead.HasField("next_attempt_time")) == (job.name, "HTTP 500", False)
    replayed = (await client.webhooks.ReplayDelivery(pb.ReplayDeliveryRequest(name=dead.name))).delivery
    assert (replayed.name, replayed.state) == (dead.name, D.DELIVERY_STATE_WAITING)
    assert (await got(receiver)).body == first.body
    assert await nothing_more(client, receiver)


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(hooked, receiver, submit, worker):
    client = await hooked(receiver)
    receiver.answers = [(410, {})]
    await submit(client, receiver.url)
    await worker.succeed(await worker.claim())
    assert (await settled(client, 1, D.DELIVERY_STATE_DEAD)).last_error == "HTTP 410"


async def test_a_name_at_a_private_address_is_a_dead_letter_at_once(hooked, receiver, submit, worker):
    client = await hooked(webhook_hosts=[f"http://localhost:{receiver.port}"], webhook_private=False)
    await submit(client, f"http://localhost:{receiver.port}/hook")
    await worker.succeed(await worker.claim())
    dead = await settled(client, 1, D.DELIVERY_STATE_DEAD)
    assert dead.last_error == "localhost is at a private or reserved address"
    assert receiver.requests.empty()


async def test_rules_that_became_stricter_hold_for_what_waits(serve, hooked, receiver, submit, worker, store):
    server, client = await serve(**values_for(receiver))
    receiver.answers = [(500, {})]
    await submit(client, receiver.url)
    await worker.succeed(await worker.claim())
    await got(receiver)
    await settled(client, 1)
    await server.stop()
    strict = await hooked(webhook_hosts=[])
    await make_due(store)
    dead = await settled(strict, 2, D.DELIVERY_STATE_DEAD)
    assert dead.last_error == "webhooks are off: the operator has allow-listed no hosts"
    assert receiver.requests.empty()


async def test_a_slow_host_holds_up_nobody_else(hooked, listen, submit, worker):
    slow, quick = listen("127.0.0.1"), listen("127.0.0.2")
    slow.gate.clear()
    client = await hooked(slow, quick)
    count = 3 * MAX_PER_HOST
    for _ in range(count):
        await submit(client, slow.url)
        await worker.succeed(await worker.claim())
    for _ in range(MAX_PER_HOST):
        await got(slow)
    await submit(client, quick.url)
    await worker.succeed(await worker.claim())
    await got(quick)
    assert slow.requests.empty()
    assert len(await listed(client)) >= count
    slow.gate.set()
    for _ in range(count - MAX_PER_HOST):
        await got(slow)


async def test_a_message_whose_deliverer_was_killed_is_sent_again(
    hooked, receiver, submit, worker, store, settings, tmp_path
):
    receiver.gate.clear()
    variables = {
        "TRIPTYCH_WEBHOOK_HOSTS": json.dumps([f"http://{receiver.host}:{receiver.port}"]),
        "TRIPTYCH_WEBHOOK_PRIVATE": "true",
        "TRIPTYCH_WEBHOOK_SECRETS": json.dumps({"default": SECRET}),
    }
    with process(settings, tmp_path, "--listen", "127.0.0.1:0", **variables) as running:
        channel = grpc.aio.insecure_channel((await facts(running))["address"])
        killed = SimpleNamespace(jobs=JobServiceStub(channel))
        await submit(killed, receiver.url)
        await worker.succeed(await worker.claim())
        first = await got(receiver)
        running.kill()
        await channel.close()
    receiver.gate.set()
    client = await hooked(receiver)
    (delivery,) = await listed(client)
    assert (delivery.state, delivery.attempt_count) == (D.DELIVERY_STATE_WAITING, 1)
    await make_due(store)  # its lease ends
    second = await got(receiver)
    assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert await nothing_more(client, receiver)


async def test_the_operators_webhook_is_told_of_a_tenants_jobs_but_not_over_their_own(hooked, listen, submit, worker):
    default, own = listen(), listen()
    keys = {"api_keys": {"k1": "acme", "k2": "other"}}
    webhooks = {"webhooks": {"acme": default.url}, "webhook_secrets": _secrets(acme=f"{SECRET} {OLD_SECRET}")}
    client = await hooked(default, own, **keys, **webhooks)
    acme, other = (("x-api-key", "k1"),), (("x-api-key", "k2"),)
    for url, metadata in ((own.url, acme), ("", other), ("", acme)):
        job = await submit(client, url, metadata)
        await worker.succeed(await worker.claim())
    message = await got(default)
    assert json.loads(message.body)["subject"] == job.name
    # Two secrets, two signatures: the receiver may have either.
    assert len(message.headers["webhook-signature"].split()) == 2
    assert verify(message.body, message.headers, SECRET) == verify(message.body, message.headers, OLD_SECRET)
    await got(own)
    assert default.requests.empty()
    assert own.requests.empty()


async def test_a_child_of_a_job_is_not_told(hooked, receiver, worker, samples, store, settings):
    client = await hooked(receiver, webhooks={"default": receiver.url})
    documents = [{"input": InputSource(content=samples.png)}]
    spec = JobSpec(reasoning=ReasoningSpec(question="?", documents=documents))
    job = (await client.jobs.SubmitJob(jobs_pb.SubmitJobRequest(spec=spec))).job
    parent = await worker.claim("reasoning")
    # As the orchestrator does it.
    broker = Broker(settings)
    submission = Submission(settings, store, broker, open_blobs(settings))
    await submission.submit(Submittal(tenant="default", spec=_spec(samples), options=JobOptions(), parent=parent.id))
    await worker.succeed(await worker.claim())
    await worker.fail(parent, StageFailed("no answer"))
    assert json.loads((await got(receiver)).body)["subject"] == job.name
    assert await nothing_more(client, receiver)
    submission.close()
    broker.close()


async def test_a_webhook_that_is_not_allowed_is_refused_at_once(hooked, receiver, submit, fails, serve):
    client = await hooked(receiver, webhook_secrets={})
    _, off = await serve()
    for refusing, url, code, reason in (
        (client, "https://elsewhere.example/", "PERMISSION_DENIED", "WEBHOOK_NOT_ALLOWED"),
        (client, receiver.url, "PERMISSION_DENIED", "WEBHOOK_NOT_ALLOWED"),
        (off, receiver.url, "PERMISSION_DENIED", "WEBHOOK_NOT_ALLOWED"),
        (client, "no url", "INVALID_ARGUMENT", "FIELD_INVALID"),
    ):
        failed = await fails(submit(refusing, url))
        assert (failed.code, failed.reason) == (code, reason)
    assert not (await client.jobs.ListJobs(jobs_pb.ListJobsRequest())).jobs


async def test_an_empty_webhook_is_no_webhook(hooked, receiver, samples, fails):
    client = await hooked(receiver)
    request = jobs_pb.SubmitJobRequest(spec=_spec(samples), options=JobOptions(webhook=Webhook()))
    failed = await fails(client.jobs.SubmitJob(request))
    assert failed.error.metadata["field"] == "options.webhook.url"


async def test_deliveries_are_listed_newest_first_in_pages_and_by_state(hooked, receiver, submit, worker):
    client = await hooked(receiver)
    receiver.answers = [(status, {}) for status in (500, 410, 500)]
    names = []
    for _ in range(3):
        job = await submit(client, receiver.url)
        await worker.succeed(await worker.claim())
        await got(receiver)
        names.insert(0, job.name.replace("jobs", "deliveries"))
    await settled(client, 1, D.DELIVERY_STATE_DEAD)
    assert [d.name for d in await listed(client)] == names
    assert [d.name for d in await listed(client, state=D.DELIVERY_STATE_DEAD)] == [names[1]]
    assert [d.name for d in await listed(client, state=D.DELIVERY_STATE_WAITING)] == [names[0], names[2]]
    found, token = [], ""
    while True:
        request = pb.ListDeliveriesRequest(page_size=1, page_token=token)
        page = await client.webhooks.ListDeliveries(request)
        found += [d.name for d in page.deliveries]
        token = page.next_page_token
        if not token:
            break
    assert found == names


async def test_tokens_names_and_states_are_checked(client, fails):
    call = client.webhooks
    for refused in (
        call.ListDeliveries(pb.ListDeliveriesRequest(page_size=-1)),
        call.ListDeliveries(pb.ListDeliveriesRequest(page_token="x")),
        call.ListDeliveries(pb.ListDeliveriesRequest(state=99)),
        call.ReplayDelivery(pb.ReplayDeliveryRequest(name="jobs/x")),
        call.DeleteDelivery(pb.DeleteDeliveryRequest(name="")),
    ):
        assert (await fails(refused)).reason == "FIELD_INVALID"


async def test_a_delivery_is_private_to_its_tenant(hooked, receiver, submit, worker, fails):
    keys = {"api_keys": {"k1": "acme", "k2": "other"}, "webhook_secrets": _secrets(acme=SECRET)}
    client = await hooked(receiver, **keys)
    receiver.answers = [(410, {})]
    acme, other = (("x-api-key", "k1"),), (("x-api-key", "k2"),)
    await submit(client, receiver.url, acme)
    await worker.succeed(await worker.claim())
    await got(receiver)
    while not (mine := await listed(client, acme, state=D.DELIVERY_STATE_DEAD)):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert await listed(client, other) == []
    replay = client.webhooks.ReplayDelivery(pb.ReplayDeliveryRequest(name=mine[0].name), metadata=other)
    assert (await fails(replay)).reason == "DELIVERY_NOT_FOUND"
    await client.webhooks.DeleteDelivery(pb.DeleteDeliveryRequest(name=mine[0].name), metadata=other)
    assert await listed(client, acme) == mine
    await client.webhooks.DeleteDelivery(pb.DeleteDeliveryRequest(name=mine[0].name), metadata=acme)
    assert await listed(client, acme) == []
    assert receiver.requests.empty()


async def test_an_unknown_delivery_is_not_found_and_dropping_it_is_no_error(client, fails):
    name = f"deliveries/{new_job_id()}"
    assert (await fails(client.webhooks.ReplayDelivery(pb.ReplayDeliveryRequest(name=name)))).code == "NOT_FOUND"
    await client.webhooks.DeleteDelivery(pb.DeleteDeliveryRequest(name=name))


async def test_secrets_and_urls_are_in_no_log_line_and_in_no_job(hooked, receiver, submit, worker, caplog):
    caplog.set_level(logging.DEBUG)
    client = await hooked(receiver, webhook_secrets=_secrets(default=SECRET))
    receiver.answers = [(500, {}), (410, {})]
    for _ in range(2):
        job = await submit(client, f"{receiver.url}?token=hush")
        await worker.succeed(await worker.claim())
        await got(receiver)
    await settled(client, 1, D.DELIVERY_STATE_DEAD)
    await settled(client, 1, D.DELIVERY_STATE_WAITING)
    records = [record for record in caplog.records if record.name.startswith("triptych")]
    told = " ".join(str(vars(record)) for record in records)
    assert "webhook" in told
    full = (await client.jobs.GetJob(jobs_pb.GetJobRequest(name=job.name))).job
    jobs = (await client.jobs.ListJobs(jobs_pb.ListJobsRequest())).jobs
    for hidden in (SECRET, SECRET.removeprefix("whsec_"), KEY.decode(), "hush"):
        assert hidden not in told
        assert hidden not in str(full)
        assert hidden not in str(jobs)


async def test_attempts_and_dead_letters_are_counted(hooked, receiver, submit, worker, eventually):
    def count(outcome):
        return deliverer.ATTEMPTS.labels(outcome)._value.get()

    before = {outcome: count(outcome) for outcome in ("taken", "again", "dead")}
    client = await hooked(receiver)
    receiver.answers = [(500, {}), (410, {}), (200, {})]
    for _ in range(3):
        await submit(client, receiver.url)
        await worker.succeed(await worker.claim())
        await got(receiver)

    async def counted():
        return {outcome: count(outcome) - before[outcome] for outcome in before} == dict.fromkeys(before, 1)

    async def dead():
        return deliverer.DEAD._value.get() == 1

    await eventually(counted)
    await eventually(dead)
    # Nothing is counted later.
    assert await counted()
