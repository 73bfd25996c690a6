"""Generation jobs from specification to result, on a tiny model with random weights and the real batcher."""

import json
import re

import numpy as np
import pytest
import tiny_models
from workers.documents import OneStation, encoded, picture, scan

from triptych.core.errors import (
    FieldInvalid,
    JobCancelled,
    MediaCorrupt,
    MediaEncrypted,
    MediaTypeUnsupported,
    RangeOutsideSource,
)
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import PROGRESS_UNIT_TOKEN, JobSpec
from triptych.v1.vision_pb2 import (
    CHAT_ROLE_ASSISTANT,
    CHAT_ROLE_SYSTEM,
    CHAT_ROLE_UNSPECIFIED,
    CHAT_ROLE_USER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    ChatMessage,
    ContentPart,
    GenerationConfig,
    ImagePart,
    VisionSpec,
)
from triptych.workers.attempt import Attempt
from triptych.workers.kinds import vision
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.testing import MemoryBackstage, MemoryUnits

LIMITS = PageLimits(max_page_count=10, max_page_pixels=4_000_000)


class Seeing:
    """The real engine; remembers the prompts."""

    def __init__(self, engine):
        self._engine = engine
        self.model, self.cost, self.batch_key = engine.model, engine.cost, engine.batch_key
        self.prompts = []

    def run_batch(self, items):
        self.prompts += items
        return self._engine.run_batch(items)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from triptych.workers.engines.transformers import TransformersEngine

    folder = tiny_models.idefics3(tmp_path_factory.mktemp("idefics3"))
    engine = TransformersEngine(folder, ModelRef(model="tiny"), device="cpu", threads=1)
    engine.load()
    return engine


@pytest.fixture
def stations(tiny):
    with OneStation(Seeing(tiny)) as stations:
        yield stations


def user(*parts):
    return ChatMessage(role=CHAT_ROLE_USER, parts=[to_part(part) for part in parts])


def to_part(part):
    return ContentPart(text=part) if isinstance(part, str) else ContentPart(image=part)


def blob(name, **options):
    return ImagePart(input=InputSource(blob=name), **options)


def begin(messages, files=None, **config):
    """An attempt, its specification, and what stands behind it."""
    spec = VisionSpec(messages=messages, config=GenerationConfig(**{"max_output_tokens": 40, **config}))
    backstage = MemoryBackstage(files or {})
    attempt = Attempt(
        backstage,
        job_id="job",
        tenant="default",
        number=1,
        lane=1,
        spec=JobSpec(vision=spec),
        execution_timeout_s=120,
    )
    return attempt, spec, backstage


def run(stations, messages, files=None, **config):
    attempt, spec, _ = begin(messages, files, **config)
    return vision.run(attempt, spec, stations, LIMITS)


def shown(stations):
    """The images of the last prompt."""
    return stations.station.engine.prompts[-1].images()


def test_the_text_that_is_told_is_the_text_of_the_result(stations):
    attempt, spec, backstage = begin([user("a photo of a cat")])
    result = vision.run(attempt, spec, stations, LIMITS)
    told = [event.text_delta.text for event in backstage.events if event.HasField("text_delta")]
    assert "".join(told) == result.text != ""
    assert result.finish_reason == FINISH_REASON_LENGTH
    assert result.model.model == "tiny"
    progress = [event.progress for event in backstage.events if event.progress.stage == "generate"]
    counts = [step.completed_unit_count for step in progress]
    assert counts[0] == 0 < counts[-1] <= 40
    assert counts == sorted(counts)
    assert {(step.total_unit_count, step.unit) for step in progress} == {(40, PROGRESS_UNIT_TOKEN)}


def test_a_prompt_has_all_turns_and_options(stations):
    messages = [
        ChatMessage(role=CHAT_ROLE_SYSTEM, parts=[ContentPart(text="Be brief.")]),
        user("a dog", "?"),
        ChatMessage(role=CHAT_ROLE_ASSISTANT, parts=[ContentPart(text="yes")]),
        user("a cat"),
    ]
    run(stations, messages, temperature=0.5, top_p=0.75, seed=0, stop_sequences=["\n"], max_output_tokens=2)
    [prompt] = stations.station.engine.prompts
    assert prompt.turns == (
        ("system", ("Be brief.",)),
        ("user", ("a dog", "?")),
        ("assistant", ("yes",)),
        ("user", ("a cat",)),
    )
    assert (prompt.temperature, prompt.top_p, prompt.seed) == (0.5, 0.75, 0)
    assert (prompt.stop_sequences, prompt.max_output_tokens) == (("\n",), 2)


def test_images_are_decoded_in_their_order_and_cropped(stations):
    wide, tall = picture("A", size=(200, 100)), picture("B", size=(100, 200), background="red")
    files = {"wide": encoded(wide), "tall": encoded(tall, "JPEG")}
    run(
        stations,
        [user(blob("wide", crop_box=[0.25, 0, 0.75, 0.5]), "and", blob("tall"))],
        files,
        max_output_tokens=1,
    )
    first, second = shown(stations)
    assert np.array_equal(first, np.asarray(wide)[:50, 50:150])
    assert second.shape == (200, 100, 3)
    assert second[0, 0, 0] > 240 > 20 > second[0, 0, 1]


def test_the_page_asked_for_is_shown(stations):
    files = {"pdf": scan(picture("ONE", size=(300, 150)), picture("TWO", size=(150, 300)))}
    run(stations, [user(blob("pdf", page_number=2), "?")], files, max_output_tokens=1)
    run(stations, [user(blob("pdf"), "?")], files, max_output_tokens=1)
    second, first = (prompt.images()[0] for prompt in stations.station.engine.prompts)
    assert second.shape[0] == 2 * second.shape[1]
    assert first.shape[1] == 2 * first.shape[0]


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (blob("pdf", page_number=3), RangeOutsideSource),
        (blob("text"), MediaTypeUnsupported),
        (blob("cut"), MediaCorrupt),
        (blob("pdf", crop_box=[0.5, 0, 0.5001, 1]), FieldInvalid),
        (blob("pdf", crop_box=[0.5, 0, 0.2, 1]), FieldInvalid),
        (blob("pdf", crop_box=[0, 1]), FieldInvalid),
    ],
)
def test_an_image_that_cannot_be_shown_fails_the_job(stations, image, error):
    files = {
        "pdf": scan(picture("ONE", size=(300, 150))),
        "text": b"plain words, no picture",
        "cut": encoded(picture("ONE"))[:200],
    }
    with pytest.raises(error):
        run(stations, [user(image, "?")], files)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [ChatMessage(role=CHAT_ROLE_ASSISTANT, parts=[ContentPart(text="yes")])],
        [user("a")] * 33,
        [ChatMessage(role=CHAT_ROLE_UNSPECIFIED, parts=[ContentPart(text="a")]), user("a")],
    ],
)
def test_a_conversation_that_breaks_the_contract_is_refused(stations, messages):
    with pytest.raises(FieldInvalid):
        run(stations, messages)


def test_a_result_has_the_document_that_a_schema_asks_for(stations):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    result = run(stations, [user("a")], output_json_schema=json.dumps(schema))
    assert set(json.loads(result.output_json)) == {"a"}
    assert result.output_json == result.text
    assert result.finish_reason == FINISH_REASON_STOP


def test_texts_are_held_to_expressions_and_choices_too(stations):
    assert run(stations, [user("a")], output_choices=["yes", "no"]).text in ("yes", "no")
    result = run(stations, [user("a")], output_regex="[0-9]{3}-x")
    assert re.fullmatch("[0-9]{3}-x", result.text)
    assert not result.output_json


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"output_regex": "a", "output_choices": ["a"]}, "at most one of them"),
        ({"output_choices": ["a"], "stop_sequences": ["x"]}, "would cut"),
        ({"output_regex": "("}, "cannot be enforced"),
        ({"enable_copying": True}, "needs an image"),
        ({"output_json_schema": '{"not": {}}'}, "no output as asked for"),
        ({"output_regex": "x{300}", "max_output_tokens": 20}, "no output as asked for fits 20 tokens"),
    ],
)
def test_what_a_text_cannot_be_held_to_fails_its_job_alone(stations, config, message):
    with pytest.raises(FieldInvalid, match=message):
        run(stations, [user("a")], **config)
    assert run(stations, [user("a")]).text


def test_nothing_is_copied_where_the_model_sees_pixels(stations):
    files = {"blobs/a": encoded(picture(), "PNG")}
    with pytest.raises(MediaTypeUnsupported, match="recognizes no text"):
        run(stations, [user(blob("blobs/a"), "what?")], files, enable_copying=True)


def test_the_models_own_refusal_fails_the_job(stations):
    with pytest.raises(FieldInvalid, match="begin with the user"):
        run(stations, [ChatMessage(role=CHAT_ROLE_ASSISTANT, parts=[ContentPart(text="a")]), user("a")])


def test_a_job_cancelled_while_it_generates_ends_in_the_middle(stations):
    attempt, spec, backstage = begin([user("a photo of a cat")], max_output_tokens=100_000)

    def on_event(event):
        if event.HasField("text_delta"):
            attempt.stop(JobCancelled("enough"))

    backstage.on_event = on_event
    with pytest.raises(JobCancelled, match="enough"):
        vision.run(attempt, spec, stations, LIMITS)
    assert sum(event.HasField("text_delta") for event in backstage.events) == 1


def test_a_batch_that_is_run_again_is_not_told_twice():
    class Faltering:
        """Tells half, begins anew, and tells all."""

        model = ModelRef(model="faltering")

        def cost(self, item):
            return 1

        def batch_key(self, item):
            return None

        def run_batch(self, items):
            for text in ("on", "one t", "o", "one", "one two"):
                items[0].on_text(text, len(text))
            return [vision.VisionResult(text="one two")]

    with OneStation(Faltering()) as stations:
        attempt, spec, backstage = begin([user("count")])
        assert vision.run(attempt, spec, stations, LIMITS).text == "one two"
    assert "".join(event.text_delta.text for event in backstage.events) == "one two"


@pytest.fixture
def pinned(stations):
    """Stations whose model has weights that are known, so that results may be shared."""
    stations.station.engine.model = ModelRef(model="tiny", revision="1")
    return stations


def ask(stations, units, messages=None, files=None, **config):
    """Runs a job that shares these units; gives its result, whether it was cached, and what was told."""
    attempt, spec, backstage = begin(messages or [user("a photo of a cat")], files, **config)
    backstage.units = units
    result = vision.run(attempt, spec, stations, LIMITS)
    told = "".join(event.text_delta.text for event in backstage.events if event.HasField("text_delta"))
    return result, attempt.cached, told


def test_the_very_same_request_is_generated_once(pinned):
    units = MemoryUnits()
    first, computed, _ = ask(pinned, units, top_p=0.5)
    again, cached, told = ask(pinned, units, temperature=0, seed=3)
    assert (computed, cached) == (False, True)
    assert again == first
    assert told == first.text != ""
    assert len(pinned.station.engine.prompts) == 1


@pytest.mark.parametrize(("revision", "shared"), [("1", True), ("unpinned", False)])
def test_what_an_adapter_says_is_shared_if_its_base_is_known_too(pinned, revision, shared):
    units = MemoryUnits()
    pinned.station.engine.model = ModelRef(model="tiny", revision="1", base=ModelRef(model="base", revision=revision))
    ask(pinned, units)
    assert ask(pinned, units)[1] == shared
    pinned.station.engine.model.base.revision = "2"
    assert not ask(pinned, units)[1]


@pytest.mark.parametrize(
    "other",
    [{"max_output_tokens": 3}, {"stop_sequences": ["x"]}, {"messages": [user("a photo of a dog")]}],
)
def test_another_request_is_generated_anew(pinned, other):
    units = MemoryUnits()
    ask(pinned, units)
    assert not ask(pinned, units, **other)[1]


def test_an_image_counts_by_its_bytes_page_and_part_and_not_by_its_name(pinned):
    units = MemoryUnits()
    files = dict.fromkeys(("cat", "dog"), encoded(picture("A", size=(60, 60))))

    def cached(image, **names):
        for name, value in names.items():
            setattr(image.input, name, value)
        return ask(pinned, units, [user(image, "?")], files, max_output_tokens=1)[1]

    assert not cached(blob("cat"))
    assert cached(blob("cat", page_number=1), display_name="cat.png", media_type="image/png")
    assert not cached(blob("dog"))
    assert not cached(blob("cat", crop_box=[0, 0, 0.5, 0.5]))


def test_what_is_known_of_an_encrypted_document_is_for_those_who_can_open_it(pinned, data_dir):
    units, files = MemoryUnits(), {"pdf": (data_dir / "pages" / "aes256_password.pdf").read_bytes()}

    def answer(password):
        image = ImagePart(input=InputSource(blob="pdf", password=password))
        return ask(pinned, units, [user(image, "?")], files, max_output_tokens=1)

    first, computed, _ = answer("secret")
    assert not computed
    for password in ("", "a guess"):
        with pytest.raises(MediaEncrypted):
            answer(password)
    assert answer("own")[:2] == (first, True)
    assert len(pinned.station.engine.prompts) == 1


def test_what_is_drawn_by_lot_is_shared_only_with_a_seed(pinned):
    units = MemoryUnits()
    for _ in range(2):
        assert not ask(pinned, units, temperature=1)[1]
    assert units.kept == {}
    assert not ask(pinned, units, temperature=1, seed=7)[1]
    assert ask(pinned, units, temperature=1, seed=7, top_p=1)[1]
    assert not ask(pinned, units, temperature=1, seed=8)[1]
