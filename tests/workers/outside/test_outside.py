"""Calls of a real server of chat completions: what is sent, what comes back, how it fails, what it is counted as."""

import base64
import io
import json
import threading
import time
import traceback

import numpy as np
import pytest
from PIL import Image
from toy_stack import until
from workers.outside.conftest import POLICY, prompt

from triptych.core.errors import (
    BudgetExhausted,
    ExecutionTimeout,
    FieldInvalid,
    JobCancelled,
    OutputInvalid,
    RemoteUnavailable,
)
from triptych.core.testing import free_port
from triptych.v1.vision_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP
from triptych.workers.outside import station
from triptych.workers.outside.breaker import FAILURES, Breaker

WAIT_S = 30


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch):
    monkeypatch.setattr(station, "_FIRST_BACKOFF_S", 0.02)


def failure(future, kind):
    with pytest.raises(kind) as caught:
        future.result(WAIT_S)
    return caught.value


def test_an_answer_streams_and_names_model_server_and_usage(world):
    world.open()
    told = []
    done = world.ask(prompt(on_text=lambda text, count: told.append((text, count)))).result(WAIT_S)
    assert done.value.text == "The total is 42."
    assert [text for text, _ in told] == ["The ", "The total ", "The total is ", "The total is 42."]
    assert [count for _, count in told] == [1, 2, 3, 4]
    assert done.value.finish_reason == FINISH_REASON_STOP
    assert (done.value.usage.input_token_count, done.value.usage.output_token_count) == (100, 4)
    model = done.value.model
    assert (model.model, model.revision, model.licence) == ("far", "tiny-chat-2", "LicenseRef-far")
    assert model.engine == f"remote/127.0.0.1:{world.chat.port}"
    assert not done.value.HasField("confidence")


def test_the_request_has_every_option_and_the_key(world, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "s3cret")
    world.open(api_key_env="FAR_KEY")
    asked = prompt("a", "b", temperature=0.5, top_p=0.75, seed=7, stop_sequences=("\n",), max_output_tokens=3)
    world.ask(asked).result(WAIT_S)
    [request], [headers] = world.chat.requests, world.chat.headers
    assert headers["path"] == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer s3cret"
    assert request == {
        "model": "far-1",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        "max_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.75,
        "seed": 7,
        "stop": ["\n"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("sent", [True, False])
def test_what_some_servers_refuse_can_be_left_out(world, sent):
    world.open(send_temperature=sent, strict_schema=sent)
    world.chat.plans = [{"pieces": ("{}",)}]
    world.ask(prompt(temperature=0.5), schema="{}").result(WAIT_S)
    [request] = world.chat.requests
    assert [name in request for name in ("temperature", "top_p", "seed")] == [sent] * 3
    assert ("strict" in request["response_format"]["json_schema"]) == sent


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            {"error": {"message": "PRIVATE", "type": "invalid_request_error", "code": "unsupported_value"}},
            "unsupported_value",
        ),
        ({"error": {"message": "PRIVATE", "type": "PRIVATE text", "code": 7}}, ""),
        ({"error": "PRIVATE"}, ""),
        (["PRIVATE"], ""),
    ],
)
def test_why_a_server_refuses_is_logged_without_contents(world, caplog, body, why):
    world.open()
    world.chat.plans = [{"status": 400, "body": json.dumps(body).encode()}]
    failure(world.ask(prompt()), FieldInvalid)
    [record] = [record for record in caplog.records if "refused a call" in record.getMessage()]
    assert (record.status, record.why.split(" ")[0]) == (400, why)
    assert "PRIVATE" not in "".join(f"{each.getMessage()} {each.__dict__}" for each in caplog.records)


def test_a_key_that_is_not_there_is_told_before_anything_leaves(world, monkeypatch):
    monkeypatch.delenv("FAR_KEY", raising=False)
    world.open(api_key_env="FAR_KEY")
    assert "FAR_KEY is not set" in failure(world.ask(prompt()), RemoteUnavailable).message
    assert world.chat.connections == 0
    assert [(entry.outcome, entry.cost) for entry in world.entries()] == [("refused", 0)]


@pytest.mark.parametrize("key", [b"s3cret\nkey2", "s3cret\u2013x".encode(), b"\xffs3cret"])
def test_a_key_that_is_none_is_told_before_anything_leaves_and_not_shown(world, tmp_path, caplog, key):
    caplog.set_level("DEBUG")
    (tmp_path / "key").write_bytes(key)
    world.open(api_key_file=str(tmp_path / "key"))
    error = failure(world.ask(prompt()), RemoteUnavailable)
    assert error.metadata["cause"] == "key"
    assert world.chat.connections == 0
    assert [(entry.outcome, entry.cost) for entry in world.entries()] == [("refused", 0)]
    assert "s3cret" not in "".join(traceback.format_exception(error)) + caplog.text


def test_a_byte_order_mark_is_no_part_of_a_key(world, tmp_path):
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfs3cret\n")
    world.open(api_key_file=str(tmp_path / "key"))
    world.ask(prompt()).result(WAIT_S)
    assert world.chat.headers[0]["authorization"] == "Bearer s3cret"


def test_an_image_is_sent_as_pixels_and_scaled_to_its_bound(world):
    world.open(max_image_pixels=10_000)
    pixels = np.zeros((200, 400, 3), np.uint8)
    pixels[:, 200:] = 255
    world.ask(prompt("see", pixels)).result(WAIT_S)
    _text, image = world.chat.requests[0]["messages"][0]["content"]
    scheme, _, data = image["image_url"]["url"].partition(",")
    assert scheme == "data:image/png;base64"
    seen = Image.open(io.BytesIO(base64.b64decode(data)))
    assert seen.size == (141, 70)
    assert seen.info == {}
    assert (seen.getpixel((10, 10)), seen.getpixel((130, 60))) == ((0, 0, 0), (255, 255, 255))
    [entry] = world.entries()
    assert entry.leaving.image_count == 1
    assert entry.leaving.body_bytes == int(world.chat.headers[0]["content-length"])


def test_an_answer_that_was_cut_at_its_bound_says_so(world):
    world.open()
    world.chat.plans = [{"finish": "length"}]
    assert world.ask(prompt()).result(WAIT_S).value.finish_reason == FINISH_REASON_LENGTH


SCHEMA = json.dumps({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]})


def test_a_schema_travels_along_and_the_answer_is_held_to_it(world):
    world.open()
    world.chat.plans = [
        {"pieces": ['{"total"', ": 42}"]},
        {"pieces": ['{"total"', ': "42"}']},
        {"pieces": ["42, I think"]},
    ]
    result = world.ask(prompt(), schema=SCHEMA).result(WAIT_S).value
    assert result.output_json == result.text == '{"total": 42}'
    shape = world.chat.requests[0]["response_format"]
    assert shape["type"] == "json_schema"
    assert shape["json_schema"]["schema"] == json.loads(SCHEMA)
    for _ in range(2):
        failure(world.ask(prompt(), schema=SCHEMA), OutputInvalid)


def test_the_usage_that_the_server_tells_is_what_it_costs(world):
    world.open()
    world.ask(prompt()).result(WAIT_S)
    [entry] = world.entries()
    assert (entry.input_tokens, entry.output_tokens) == (100, 4)
    assert entry.cost == 100 * 2 + 4 * 10 == world.spent().used
    assert entry.cost <= entry.reserved
    assert world.spent().reserved == 0


def test_a_server_that_counts_more_than_was_reserved_passes_the_budget_and_that_is_logged(world, caplog):
    world.open(POLICY.replace("budget = 100", "budget = 0.001"))
    world.chat.plans = [{"usage": (1000, 4)}]
    world.ask(prompt()).result(WAIT_S)
    assert world.spent().used == 1000 * 2 + 4 * 10 > 1000
    assert "cost more than was reserved" in caplog.text
    failure(world.ask(prompt()), BudgetExhausted)


@pytest.mark.parametrize("count", [float("inf"), 10**12])
def test_a_server_that_counts_nonsense_is_charged_what_was_reserved(world, count):
    world.open(retries=0)
    world.chat.plans = [{"usage": (count, 4)}]
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "cut"
    [entry] = world.entries()
    assert (entry.outcome, entry.cost) == ("cut", entry.reserved)


def test_without_usage_an_estimate_is_charged(world):
    world.open()
    world.chat.plans = [{"usage": None}]
    done = world.ask(prompt("x" * 700)).result(WAIT_S)
    [entry] = world.entries()
    assert (entry.input_tokens, entry.output_tokens) == (264, 5)
    assert entry.cost == 264 * 2 + 5 * 10
    assert done.value.usage.input_token_count == 264


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_call_that_was_refused_for_now_is_made_again(world, status):
    world.open()
    world.chat.plans = [{"status": status}, {"status": status, "headers": {"retry-after": "0"}}]
    assert world.ask(prompt()).result(WAIT_S).value.text == "The total is 42."
    assert [entry.outcome for entry in world.entries()] == [f"http_{status}", f"http_{status}", "ok"]
    assert [entry.cost for entry in world.entries()] == [0, 0, 240]


def test_retry_after_is_heeded_and_a_long_one_is_passed_on(world):
    world.open()
    world.chat.plans = [{"status": 429, "headers": {"retry-after": "1"}}]
    began = time.monotonic()
    world.ask(prompt()).result(WAIT_S)
    assert time.monotonic() - began >= 1
    world.chat.plans = [{"status": 429, "headers": {"retry-after": "3600"}}]
    error = failure(world.ask(prompt()), RemoteUnavailable)
    assert (error.retry_after_s, error.metadata["cause"]) == (3600, "http_429")


def test_retries_come_to_an_end(world):
    world.open(retries=2)
    world.chat.plans = [{"status": 500}] * 5
    error = failure(world.ask(prompt()), RemoteUnavailable)
    assert error.metadata == {"model": "far", "cause": "http_500"}
    assert len(world.chat.requests) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, FieldInvalid), (413, FieldInvalid), (422, FieldInvalid), (401, RemoteUnavailable), (402, RemoteUnavailable)],
)
def test_what_would_be_refused_again_is_not_asked_again(world, status, error):
    world.open()
    world.chat.plans = [{"status": status}]
    failure(world.ask(prompt()), error)
    assert len(world.chat.requests) == 1


def test_a_stream_that_breaks_before_any_text_is_asked_again_and_charged_in_full(world):
    world.open()
    world.chat.plans = [{"cut": 0}]
    assert world.ask(prompt()).result(WAIT_S).value.text == "The total is 42."
    cut, ok = world.entries()
    assert (cut.outcome, ok.outcome) == ("cut", "ok")
    assert cut.cost == cut.reserved > ok.cost
    assert world.spent().used == cut.cost + ok.cost


@pytest.mark.parametrize("plan", [{"cut": 2}, {"finish": None}])
def test_text_that_was_told_is_never_told_twice(world, plan):
    world.open()
    world.chat.plans = [plan]
    told = []
    failure(world.ask(prompt(on_text=lambda text, _: told.append(text))), RemoteUnavailable)
    assert len(world.chat.requests) == 1
    assert told == sorted(told, key=len) != []
    assert [entry.outcome for entry in world.entries()] == ["cut"]


@pytest.mark.parametrize("said", ['{"error": {"message": "overloaded"}}', "no json", '{"choices": 7}'])
def test_a_stream_that_is_none_is_a_failure(world, said):
    world.open(retries=0)
    world.chat.plans = [{"raw": said}]
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "cut"


def test_an_answer_without_end_is_not_listened_to(world):
    world.open(retries=0)
    world.chat.plans = [{"pieces": ["x" * 1000] * 100}]
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "cut"


def test_a_server_that_is_silent_is_left(world):
    world.open(quiet_timeout_s=0.2, retries=0)
    world.chat.plans = [{"hang": "headers"}]
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "timed_out"
    assert world.chat.gone.get(timeout=WAIT_S)
    [entry] = world.entries()
    assert (entry.outcome, entry.cost) == ("timed_out", entry.reserved)


def test_a_call_has_an_end_however_its_server_drips(world):
    world.open(timeout_s=0.3, retries=3)
    world.chat.plans = [{"hang": "text"}]
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "timed_out"
    assert len(world.chat.requests) == 1


def test_the_jobs_deadline_ends_a_call(world):
    world.open()
    world.chat.plans = [{"hang": "text"}]
    failure(world.ask(prompt(), deadline=time.monotonic() + 0.3), ExecutionTimeout)
    assert world.chat.gone.get(timeout=WAIT_S)


@pytest.mark.parametrize("where", ["headers", "text"])
def test_cancelling_closes_the_connection_at_once(world, where):
    world.open()
    world.chat.plans = [{"hang": where}]
    future = world.ask(prompt())
    until(lambda: world.chat.requests)
    began = time.monotonic()
    future.cancel()
    failure(future, JobCancelled)
    assert world.chat.gone.get(timeout=WAIT_S)
    assert time.monotonic() - began < 2
    [entry] = world.entries()
    assert (entry.outcome, entry.cost) == ("cancelled", entry.reserved)
    assert world.ask(prompt()).result(WAIT_S).value.text


def test_a_job_cancelled_before_its_call_sends_nothing(world):
    world.open(concurrency=1)
    gate = threading.Event()
    world.chat.plans = [{"gate": gate}]
    first = world.ask(prompt())
    until(lambda: world.chat.requests)
    second = world.ask(prompt())
    second.cancel()
    failure(second, JobCancelled)
    gate.set()
    first.result(WAIT_S)
    assert len(world.chat.requests) == 1


def test_no_more_calls_than_allowed_are_under_way(world):
    world.open(concurrency=3)
    world.chat.plans = [{"gate": threading.Event()} for _ in range(3)]
    gates = [plan["gate"] for plan in world.chat.plans]
    futures = [world.ask(prompt()) for _ in range(12)]
    until(lambda: len(world.chat.requests) == 3)
    for gate in gates:
        gate.set()
    assert {future.result(WAIT_S).value.text for future in futures} == {"The total is 42."}
    assert world.chat.most == 3


def test_one_that_is_slow_holds_up_no_other(world):
    world.open(concurrency=4)
    gate = threading.Event()
    world.chat.plans = [{"gate": gate}]
    slow = world.ask(prompt())
    until(lambda: world.chat.requests)
    world.ask(prompt()).result(WAIT_S)
    assert not slow.done()
    gate.set()
    slow.result(WAIT_S)


def test_a_server_that_fails_is_left_alone_and_then_tried_with_one_call(world, monkeypatch):
    monkeypatch.setitem(Breaker.__init__.__kwdefaults__, "cool_s", 0.5)
    world.open(retries=0)
    world.chat.plans = [{"status": 500}] * FAILURES
    for _ in range(FAILURES):
        failure(world.ask(prompt()), RemoteUnavailable)
    error = failure(world.ask(prompt()), RemoteUnavailable)
    assert error.metadata == {"model": "far", "cause": "circuit_open"}
    assert error.retry_after_s
    assert len(world.chat.requests) == FAILURES
    time.sleep(0.6)  # the clock of the breaker
    gate = threading.Event()
    world.chat.plans = [{"gate": gate}]
    probe = world.ask(prompt())
    until(lambda: len(world.chat.requests) == FAILURES + 1)
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "circuit_open"
    gate.set()
    probe.result(WAIT_S)
    world.ask(prompt()).result(WAIT_S)


def test_a_server_that_is_not_there_costs_nothing(world):
    world.open(base_url=f"http://127.0.0.1:{free_port()}/v1", retries=1)
    assert failure(world.ask(prompt()), RemoteUnavailable).metadata["cause"] == "unreachable"
    assert [(entry.outcome, entry.cost) for entry in world.entries()] == [("unreachable", 0)] * 2


def test_redirects_are_not_followed(world):
    world.open()
    world.chat.plans = [{"status": 307, "headers": {"location": f"{world.chat.base_url}/elsewhere"}}]
    failure(world.ask(prompt()), RemoteUnavailable)
    assert len(world.chat.requests) == 1


def test_proxies_of_the_environment_are_not_asked(world, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    world.open()
    assert world.ask(prompt()).result(WAIT_S).value.text
    assert len(world.chat.requests) == 1


def test_over_the_budget_nothing_leaves(world):
    world.open(POLICY.replace("budget = 100", "budget = 0.0001"))
    error = failure(world.ask(prompt()), BudgetExhausted)
    assert error.metadata == {"model": "far"}
    assert world.chat.connections == 0


def test_sixty_four_at_once_never_pass_the_budget_and_the_ledger_adds_up(world):
    # A call may cost about 0.0004 at most and costs 0.00024: the budget has room for some of the calls only.
    world.open(POLICY.replace("budget = 100", "budget = 0.005"), concurrency=64)
    seen, over = [], threading.Event()

    def watch():
        while not over.is_set():
            now = world.spent()
            seen.append(now.used + now.reserved)

    watcher = threading.Thread(target=watch)
    watcher.start()
    futures = [world.ask(prompt()) for _ in range(64)]
    outcomes = [future.exception(WAIT_S) for future in futures]
    over.set()
    watcher.join()
    made, refused = outcomes.count(None), sum(isinstance(error, BudgetExhausted) for error in outcomes)
    assert made + refused == 64
    assert made == len(world.chat.requests) > 5
    assert refused > 5
    assert 0 < max(seen) <= 5000
    assert world.spent().used == sum(entry.cost for entry in world.entries()) == made * 240 <= 5000
    assert world.spent().reserved == 0


def test_nothing_of_contents_or_keys_is_logged(world, monkeypatch, caplog):
    monkeypatch.setenv("FAR_KEY", "s3cret-key")
    caplog.set_level("DEBUG")
    world.open(api_key_env="FAR_KEY", retries=1)
    world.chat.plans = [{"status": 500}, {"cut": 1, "pieces": ["private answer", "x"]}]
    failure(world.ask(prompt("private question")), RemoteUnavailable)
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "made again" in logged
    for secret in ("s3cret-key", "private"):
        assert secret not in logged
