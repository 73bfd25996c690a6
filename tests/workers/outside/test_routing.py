"""Who answers a vision job: through the kind's own code, a real batcher, and a real server of chat completions."""

import json
import threading

import pytest
from toy_stack import until
from workers.documents import OneStation, encoded, picture
from workers.local_talker import LocalTalker

from triptych.core.errors import (
    BudgetExhausted,
    EgressDenied,
    FeatureDisabled,
    JobCancelled,
    OutputInvalid,
    RemoteUnavailable,
)
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import (
    DATA_CLASS_CONFIDENTIAL,
    DATA_CLASS_INTERNAL,
    DATA_CLASS_PUBLIC,
    DATA_CLASS_RESTRICTED,
    DATA_CLASS_UNSPECIFIED,
    JobSpec,
)
from triptych.v1.vision_pb2 import CHAT_ROLE_USER, ChatMessage, ContentPart, GenerationConfig, ImagePart, VisionSpec
from triptych.workers.attempt import Attempt
from triptych.workers.kinds import vision
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.outside.routing import Routes, Routing
from triptych.workers.testing import MemoryBackstage, MemoryUnits
from triptych.workers.unit_store import Taken

LIMITS = PageLimits(max_page_count=10, max_page_pixels=4_000_000)
FAR = "The total is 42."
POLICY = """
[tenants.acme]
budget = 100
default_class = "internal"
[tenants.acme.public]
models = ["far"]
"""
BLOB = f"blobs/sha256-{'a' * 64}"


class Worker:
    """One worker: a local model, and the outside."""

    def __init__(self, world, talker, stations):
        self.world = world
        self.talker = talker
        self._stations = stations

    def open(self, policy=POLICY, **remote):
        self.routing = Routing(self.world.open(policy, **remote), "near")
        # The catalogue knows it, so that it can be the default; its station is the test's.
        self.world.outside.catalog._by_name["near"] = self.world.outside.catalog.get("smollm2-135m-instruct")

    def attempt(self, text="hello", *, data_class=DATA_CLASS_PUBLIC, image=None, documents=(), units=None, **config):
        parts = [ContentPart(text=text)]
        if image:
            parts.insert(0, ContentPart(image=image))
        spec = VisionSpec(
            messages=[ChatMessage(role=CHAT_ROLE_USER, parts=parts)],
            config=GenerationConfig(**{"max_output_tokens": 20, **config}),
        )
        backstage = MemoryBackstage({BLOB: encoded(picture("PRIVATE"))})
        backstage.units = units or MemoryUnits()
        return Attempt(
            backstage,
            job_id="j1",
            tenant="acme",
            number=1,
            lane=1,
            spec=JobSpec(vision=spec),
            execution_timeout_s=60,
            documents=documents,
            data_class=data_class,
        )

    def run(self, *args, **options):
        return self.run_attempt(self.attempt(*args, **options))

    def run_attempt(self, attempt):
        return vision.run(attempt, attempt.spec.vision, Routes(self.routing, self._stations, attempt), LIMITS)

    def begin(self, *args, **options):
        """Runs a job in a thread; gives the attempt, the thread and where its outcome will be."""
        attempt, outcome = self.attempt(*args, **options), []

        def work():
            try:
                outcome.append(self.run_attempt(attempt))
            except Exception as error:  # noqa: BLE001 - the outcome
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return attempt, thread, outcome

    def told(self, attempt):
        events = attempt._backstage.events
        return "".join(event.text_delta.text for event in events if event.HasField("text_delta"))


@pytest.fixture
def worker(world):
    talker = LocalTalker()
    with OneStation(talker, max_items=1) as stations:
        yield Worker(world, talker, stations)
        talker.gate.set()


def test_a_model_outside_that_is_named_answers(worker):
    worker.open()
    attempt = worker.attempt(model="far")
    result = worker.run_attempt(attempt)
    assert (result.text, result.model.model) == (FAR, "far")
    assert worker.told(attempt) == FAR
    [entry] = worker.world.entries()
    assert (entry.leaving.why, entry.leaving.job_id, entry.leaving.data_class) == ("named", "j1", "public")


def test_what_a_job_and_its_parent_read_is_in_the_ledger(worker):
    worker.open()
    worker.run(model="far", image=ImagePart(input=InputSource(blob=BLOB)), documents=("b" * 64, "a" * 64))
    assert worker.world.entries()[0].leaving.documents == ("a" * 64, "b" * 64)
    assert worker.world.entries()[0].leaving.image_count == 1


@pytest.mark.parametrize("data_class", [DATA_CLASS_RESTRICTED, DATA_CLASS_CONFIDENTIAL, DATA_CLASS_UNSPECIFIED])
def test_what_the_policy_keeps_reaches_no_socket_when_a_model_outside_is_named(worker, data_class):
    worker.open()
    with pytest.raises(EgressDenied):
        worker.run(model="far", data_class=data_class, image=ImagePart(input=InputSource(blob=BLOB)))
    assert worker.world.chat.connections == 0
    assert worker.world.entries() == []


def test_a_restricted_document_reaches_no_socket_however_busy_and_unsure_the_local_model_is(worker):
    worker.open(POLICY + "overflow_after_s = 0\nescalate_below = 1.0")
    worker.talker.confidence = 0.0
    worker.talker.gate.clear()
    image = ImagePart(input=InputSource(blob=BLOB))
    jobs = [worker.begin(data_class=DATA_CLASS_RESTRICTED, image=image) for _ in range(4)]
    worker.talker.started.wait(10)
    worker.talker.gate.set()
    for _, thread, outcome in jobs:
        thread.join(30)
        assert outcome[0].text == "here: hello"
    assert worker.world.chat.connections == 0
    assert worker.world.chat.received == b""
    # The very same job in another class does get there.
    assert worker.run(image=image).text == FAR
    assert worker.world.chat.connections > 0


def test_without_a_policy_nothing_leaves(worker):
    worker.open("")
    assert worker.run().text == "here: hello"
    with pytest.raises(EgressDenied):
        worker.run(model="far")
    assert worker.world.chat.connections == 0


def test_passages_read_elsewhere_stay_where_places_of_pages_are_redacted(worker):
    worker.open(POLICY + "redact_boxes = [[0, 0, 1, 0.2]]\n")
    with pytest.raises(EgressDenied):
        worker.run("passages of a document", model="far", documents=("b" * 64,))
    assert worker.world.chat.connections == 0


@pytest.mark.parametrize("options", [{"output_regex": "a+"}, {"output_choices": ["a"]}, {"enable_copying": True}])
def test_what_no_protocol_holds_an_answer_to_is_refused_outside(worker, options):
    worker.open()
    with pytest.raises(FeatureDisabled):
        worker.run(model="far", image=ImagePart(input=InputSource(blob=BLOB)), **options)
    assert worker.world.chat.connections == 0


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"number": {"type": "string"}, "total": {"type": "number"}},
        "required": ["number", "total"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    "answer",
    [
        '{"total":42,"number":"7"}',
        '{"number":"7","total":42}\n',
        '{"number":"M\\u00fcller",' + " " * 40 + '"total":42}',
    ],
)
def test_a_document_from_outside_need_not_be_written_as_ours_are(worker, answer):
    worker.open()
    worker.world.chat.plans = [{"pieces": (answer,)}]
    result = worker.run(model="far", output_json_schema=SCHEMA)
    assert result.output_json == result.text == answer


def test_a_document_from_outside_that_does_not_satisfy_the_schema_is_refused_and_not_quoted(worker):
    worker.open()
    for answer in ('{"total":"PRIVATE","number":"7"}', '{"total":1,"number":"7","PRIVATE":1}', "PRIVATE"):
        worker.world.chat.plans = [{"pieces": (answer,)}]
        with pytest.raises(OutputInvalid) as caught:
            worker.run(model="far", output_json_schema=SCHEMA)
        assert "PRIVATE" not in str(caught.value.to_status())


# Overflow.


def test_jobs_overflow_when_the_local_wait_is_too_long_and_come_back_when_it_is_not(worker):
    worker.open(POLICY + "overflow_after_s = 0.3\n")
    worker.talker.gate.clear()
    _, thread, outcome = worker.begin("first")
    worker.talker.started.wait(10)
    until(lambda: worker.routing.wait("near").estimate_s() > 0.3)
    attempt = worker.attempt("second")
    assert worker.run_attempt(attempt).text == worker.told(attempt) == FAR
    assert worker.run(data_class=DATA_CLASS_PUBLIC).model.model == "far"
    assert [entry.leaving.why for entry in worker.world.entries()] == ["overflow", "overflow"]
    worker.talker.gate.set()
    thread.join(30)
    assert outcome[0].text == "here: first"
    assert worker.run("third").text == "here: third"


def test_a_job_overflows_nowhere_if_there_is_no_help(worker):
    worker.open(POLICY + "overflow_after_s = 0\n", retries=0)
    worker.talker.gate.clear()
    _, thread, outcome = worker.begin("first")
    worker.talker.started.wait(10)
    worker.world.chat.plans = [{"status": 503}]
    second, second_thread, second_outcome = worker.begin("second")
    until(worker.world.entries)
    worker.talker.gate.set()
    for each in (thread, second_thread):
        each.join(30)
    assert [outcome[0].text, second_outcome[0].text] == ["here: first", "here: second"]
    assert worker.told(second) == "here: second"


def test_what_was_told_from_outside_is_not_begun_again_here(worker):
    worker.open(POLICY + "overflow_after_s = 0\n", retries=0)
    worker.talker.gate.clear()
    _, thread, _ = worker.begin("first")
    worker.talker.started.wait(10)
    worker.world.chat.plans = [{"cut": 2}]
    with pytest.raises(RemoteUnavailable):
        worker.run("second")
    worker.talker.gate.set()
    thread.join(30)
    assert worker.talker.answered == 1


def test_what_came_from_outside_is_not_given_to_those_who_want_the_local_model(worker):
    worker.open(POLICY + "overflow_after_s = 0\n")
    units = MemoryUnits()
    worker.talker.gate.clear()
    _, thread, _ = worker.begin("first")
    worker.talker.started.wait(10)
    assert worker.run("second", units=units).text == FAR
    assert units.kept == {}
    worker.talker.gate.set()
    thread.join(30)
    assert worker.run("second", units=units).text == "here: second"
    assert len(units.kept) == 1


NO_HELP = [
    {"pieces": ("Sure! ", "here it is")},
    {"pieces": ("[" * 50_000,), "usage": None},
    {"pieces": (), "finish": "length"},
]


@pytest.mark.parametrize("plan", NO_HELP)
def test_an_answer_from_outside_that_does_not_satisfy_the_schema_is_no_help(worker, plan):
    worker.open(POLICY + "overflow_after_s = 0\n", retries=0)
    worker.talker.says = '{"number":"7","total":42}'
    worker.talker.gate.clear()
    _, thread, _ = worker.begin("first")
    worker.talker.started.wait(10)
    worker.world.chat.plans = [plan]
    second, second_thread, outcome = worker.begin("second", output_json_schema=SCHEMA, max_output_tokens=2000)
    until(worker.world.entries)
    worker.talker.gate.set()
    for each in (thread, second_thread):
        each.join(30)
    assert outcome[0].output_json == worker.told(second) == worker.talker.says


def test_a_document_from_outside_is_told_when_it_was_validated(worker):
    worker.open(POLICY + "overflow_after_s = 0\n")
    worker.talker.gate.clear()
    _, thread, _ = worker.begin("first")
    worker.talker.started.wait(10)
    worker.world.chat.plans = [{"pieces": ('{"total":42,', '"number":"7"}')}]
    attempt = worker.attempt("second", output_json_schema=SCHEMA)
    result = worker.run_attempt(attempt)
    assert result.output_json == worker.told(attempt) == '{"total":42,"number":"7"}'
    worker.talker.gate.set()
    thread.join(30)


def test_a_failure_of_our_own_outside_is_no_help_either(worker, monkeypatch):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    # Not a mistake that anybody expects.
    monkeypatch.setattr(worker.world.outside, "_station", None)
    attempt = worker.attempt()
    assert worker.run_attempt(attempt).text == worker.told(attempt) == "here: hello"


def test_jobs_do_not_overflow_to_a_model_that_has_all_the_calls_it_may_have(worker):
    worker.open(POLICY + "overflow_after_s = 0\n", concurrency=1)
    worker.talker.gate.clear()
    _, thread, _ = worker.begin("first")
    worker.talker.started.wait(10)
    gate = threading.Event()
    worker.world.chat.plans = [{"gate": gate}]
    _, second_thread, second = worker.begin("second")
    until(lambda: worker.world.chat.requests)
    _, third_thread, third = worker.begin("third")
    until(lambda: worker.routing.wait("near")._in_hand == 2)
    worker.talker.gate.set()
    third_thread.join(30)
    assert third[0].text == "here: third"
    gate.set()
    for each in (thread, second_thread):
        each.join(30)
    assert second[0].text == FAR
    assert len(worker.world.chat.requests) == 1


# Escalation.


def test_an_empty_answer_does_not_replace_an_unsure_one(worker):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    worker.world.chat.plans = [{"pieces": (), "finish": "length"}]
    attempt = worker.attempt()
    assert worker.run_attempt(attempt).text == worker.told(attempt) == "here: hello"


def test_an_unsure_answer_stands_if_the_worker_stops_meanwhile(worker):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    worker.talker.gate.clear()
    _, thread, outcome = worker.begin("hello")
    worker.talker.started.wait(10)
    worker.world.close_outside()
    worker.talker.gate.set()
    thread.join(30)
    assert outcome[0].text == "here: hello"


class SharedUnits(MemoryUnits):
    """Units of which one that a job computes is awaited by the others, as the real ones'."""

    def __init__(self):
        super().__init__()
        self._holders = {}

    def look(self, work, holder, names):
        return super().take(work, holder, names).known

    def take(self, work, holder, names):
        taken = super().take(work, holder, names)
        me = threading.current_thread()
        own = [name for name in taken.own if self._holders.setdefault((work.key, name), me) is me]
        return Taken(known=taken.known, own=own, elsewhere=[name for name in taken.own if name not in own])


def test_a_restricted_job_does_not_wait_for_the_same_question_outside(worker):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    units, gate = SharedUnits(), threading.Event()
    worker.world.chat.plans = [{"gate": gate}]
    _, thread, outcome = worker.begin("same", units=units)
    until(lambda: worker.world.chat.requests)
    _, twin_thread, twin = worker.begin("same", units=units, data_class=DATA_CLASS_RESTRICTED)
    twin_thread.join(10)
    assert [result.text for result in twin] == ["here: same"]
    gate.set()
    thread.join(30)
    assert outcome[0].text == FAR


def test_an_unsure_answer_is_replaced_and_never_told(worker):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    attempt = worker.attempt()
    assert worker.run_attempt(attempt).text == worker.told(attempt) == FAR
    assert [entry.leaving.why for entry in worker.world.entries()] == ["escalation"]


@pytest.mark.parametrize("confidence", [0.7, None])
def test_a_sure_answer_stands_and_is_told(worker, confidence):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = confidence
    attempt = worker.attempt()
    assert worker.run_attempt(attempt).text == worker.told(attempt) == "here: hello"
    assert worker.world.chat.connections == 0


def test_an_unsure_answer_stands_if_there_is_no_help(worker):
    worker.open(POLICY.replace("budget = 100", "budget = 0") + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    attempt = worker.attempt()
    result = worker.run_attempt(attempt)
    assert result.text == worker.told(attempt) == "here: hello"
    assert result.confidence == pytest.approx(0.4)
    assert worker.world.chat.connections == 0
    with pytest.raises(BudgetExhausted):
        worker.run(model="far")


def test_an_unsure_answer_that_is_known_is_not_given_to_who_may_have_a_surer_one(worker):
    worker.open(POLICY + "escalate_below = 0.6\n")
    worker.talker.confidence = 0.4
    units = MemoryUnits()
    assert worker.run(data_class=DATA_CLASS_RESTRICTED, units=units).text == "here: hello"
    assert worker.run(data_class=DATA_CLASS_RESTRICTED, units=units).text == "here: hello"
    assert worker.talker.answered == 1
    assert worker.run(units=units).text == FAR
    assert worker.run(data_class=DATA_CLASS_RESTRICTED, units=units).text == "here: hello"
    assert worker.talker.answered == 2


def test_a_class_whose_rule_says_nothing_of_it_is_not_escalated(worker):
    worker.open(POLICY + 'escalate_below = 0.6\n[tenants.acme.internal]\nmodels = ["far"]')
    worker.talker.confidence = 0.4
    assert worker.run(data_class=DATA_CLASS_INTERNAL).text == "here: hello"
    assert worker.world.chat.connections == 0


# Cancellation.


@pytest.mark.parametrize("rule", ["escalate_below = 1.0\n", "overflow_after_s = 0\n"])
def test_a_job_cancelled_while_it_is_outside_closes_the_connection(worker, rule):
    worker.open(POLICY + rule)
    worker.talker.confidence = 0.5
    if "overflow" in rule:
        worker.talker.gate.clear()
        worker.begin("first")
        worker.talker.started.wait(10)
    worker.world.chat.plans = [{"hang": "text"}]
    attempt, thread, outcome = worker.begin("second")
    until(lambda: worker.world.chat.requests)
    attempt.stop(JobCancelled("enough"))
    thread.join(30)
    assert isinstance(outcome[0], JobCancelled)
    assert worker.world.chat.gone.get(timeout=30)
    until(worker.world.entries)
    assert [entry.outcome for entry in worker.world.entries()] == ["cancelled"]
    worker.talker.gate.set()


def test_a_job_cancelled_while_it_waits_here_goes_nowhere(worker):
    worker.open(POLICY + "escalate_below = 1.0\n")
    worker.talker.confidence = 0.0
    worker.talker.gate.clear()
    _first, first_thread, _ = worker.begin("first", data_class=DATA_CLASS_RESTRICTED)
    worker.talker.started.wait(10)
    attempt, thread, outcome = worker.begin("second")
    until(lambda: attempt._open)
    attempt.stop(JobCancelled("enough"))
    thread.join(30)
    assert isinstance(outcome[0], JobCancelled)
    worker.talker.gate.set()
    first_thread.join(30)
    assert worker.talker.answered == 1
    assert worker.world.chat.connections == 0
