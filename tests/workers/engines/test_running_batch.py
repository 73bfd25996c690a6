"""Prompts that join and leave a running batch, on real tiny models of several families with random weights."""

import inspect
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor
from transformers.masking_utils import AttentionMaskInterface

from triptych.core.errors import FieldInvalid, JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.batcher import BatchPolicy
from triptych.workers.engines import kv_rows, row_exact
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.image_prompts import _conversation
from triptych.workers.engines.reader import ReaderEngine
from triptych.workers.engines.transformers import TransformersEngine
from triptych.workers.station import Station

IMAGES = [
    np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    for seed, size in enumerate([(90, 120, 3), (40, 40, 3), (200, 60, 3)])
]
PIECE = 32


@pytest.fixture(scope="module", params=["idefics3", "llava"])
def seeing(request, tmp_path_factory):
    folder = getattr(tiny_models, request.param)(tmp_path_factory.mktemp(request.param))
    engine = TransformersEngine(
        folder, ModelRef(model=request.param), device="cpu", threads=1, piece_tokens=PIECE, encoder_cache_bytes=1 << 20
    )
    engine.load()
    return engine


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    engine = ReaderEngine(
        tiny_models.qwen2(tmp_path_factory.mktemp("qwen2")),
        ModelRef(model="qwen2"),
        None,
        device="cpu",
        threads=1,
        dtype=torch.bfloat16,
        piece_tokens=PIECE,
    )
    engine.load()
    return engine


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts),), **{"max_output_tokens": 24, **options})


def alone(engine, item):
    [result] = engine.run_batch([replace(item, stopped=lambda: False, on_text=lambda *_: None)])
    return result


def drawn(chance, with_images):
    """A prompt with text only, or with up to three images, greedy or sampled, short or long."""
    parts = [" ".join(chance.choices(["a cat", "and a dog", "Invoice 2024", "?"], k=chance.randint(1, 25)))]
    for _ in range(chance.randint(0, 3) if with_images else 0):
        parts.insert(chance.randint(0, len(parts)), chance.choice(IMAGES))
    return prompt(
        *parts,
        max_output_tokens=chance.randint(1, 40),
        temperature=chance.choice([0, 0, 1.2]),
        seed=chance.randint(0, 99),
        stop_sequences=chance.choice([(), ("2", "zz")]),
    )


def run_with_random_joins(engine, prompts, chance):
    """Has prompts join whenever chance wants, at most five at a time; gives what each got."""
    batch, waiting, inside, found = engine.begin_batch(), list(enumerate(prompts)), {}, {}
    while len(found) < len(prompts):
        while waiting and len(inside) < 5 and (not inside or chance.random() < 0.4):
            index, item = waiting.pop(0)
            inside[batch.join(item)] = index
        for number, result in batch.step():
            found[inside.pop(number)] = result
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("seed", range(3))
def test_whoever_joins_and_leaves_each_gets_what_it_gets_alone(seeing, seed):
    chance = random.Random(seed)
    prompts = [drawn(chance, with_images=True) for _ in range(14)]
    assert run_with_random_joins(seeing, prompts, chance) == [alone(seeing, item) for item in prompts]


@pytest.mark.parametrize("seed", range(3))
def test_in_bfloat16_too(reading, seed):
    chance = random.Random(seed)
    prompts = [drawn(chance, with_images=False) for _ in range(20)]
    assert run_with_random_joins(reading, prompts, chance) == [alone(reading, item) for item in prompts]


def test_a_prompt_gets_what_transformers_itself_generates_for_it(seeing):
    processor = AutoProcessor.from_pretrained(seeing._folder)
    model = AutoModelForImageTextToText.from_pretrained(seeing._folder, dtype=torch.float32).eval()
    prompts = [
        prompt(IMAGES[0], "what is in the image ?"),
        prompt("a cat", IMAGES[1], "and", IMAGES[2], "?"),
        prompt("a photo of a cat and a dog " * 8),
    ]
    for item, result in zip(prompts, seeing.run_batch(prompts), strict=True):
        inputs = processor.apply_chat_template(
            [_conversation(item)], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        length = inputs["input_ids"].shape[1]
        [ids] = model.generate(**inputs, max_new_tokens=24, do_sample=False)
        assert result.text == processor.tokenizer.decode(ids[length:], skip_special_tokens=True)
        assert result.usage.input_token_count == length > PIECE


def test_a_model_with_sliding_windows_runs_row_by_row_and_gives_what_transformers_gives(tmp_path):
    folder = tiny_models.gemma3(tmp_path)
    engine = ReaderEngine(folder, ModelRef(), None, device="cpu", threads=1, dtype=torch.float32, piece_tokens=16)
    engine.load()
    assert not engine._language_model.shares
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [prompt(text) for text in ("Invoice 2024-00123", "a photo of a cat and a dog " * 6, "?")]
    texts = set()
    for item, result in zip(prompts, run_with_random_joins(engine, prompts, random.Random(1)), strict=True):
        ids = torch.tensor([engine._token_ids(engine.read_pages([item])[0], 24)])
        [generated] = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert result.text == engine._tokenizer.decode(generated[ids.shape[1] :], skip_special_tokens=True)
        assert len(set(generated[ids.shape[1] :].tolist())) > 4  # it does not stammer
        texts.add(result.text)
    assert len(texts) == len(prompts)


def test_a_model_whose_images_see_themselves_runs_row_by_row_its_prompts_whole(seeing, monkeypatch):
    def refuse(*_, **__):
        raise row_exact.MoreThanCausal

    prompts = [prompt(IMAGES[0], "?"), prompt("a cat", IMAGES[1], "and", IMAGES[2]), prompt("a photo " * 20)]
    expected = [alone(seeing, item).text for item in prompts]
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, row_exact._NAME, refuse)
    engine = TransformersEngine(seeing._folder, ModelRef(), device="cpu", threads=1, piece_tokens=PIECE)
    engine.load()
    assert not engine._language_model.shares
    found = run_with_random_joins(engine, prompts, random.Random(2))
    assert [result.text for result in found] == expected


def test_of_eight_running_one_that_is_cancelled_makes_room_within_a_step_and_the_others_say_the_same(seeing):
    cancelled = set()
    prompts = [
        prompt(
            "a cat " * (row + 1), IMAGES[row % 3], max_output_tokens=30 + row, stopped=lambda row=row: row in cancelled
        )
        for row in range(8)
    ]
    expected = [alone(seeing, item) for item in prompts]
    batch, found = seeing.begin_batch(), {}
    numbers = [batch.join(item) for item in prompts]
    while len(batch._continued) < 8:
        assert not batch.step()
    cancelled.add(3)
    [(left, result)] = batch.step()
    assert left == numbers[3]
    assert isinstance(result, JobCancelled)
    assert len(batch._continued) == 7
    newcomer = batch.join(prompt("a dog", max_output_tokens=5))
    found.update(batch.step())
    assert len(batch._continued) == 8
    while batch._continued:
        found.update(batch.step())
    assert found.pop(newcomer) == alone(seeing, prompt("a dog", max_output_tokens=5))
    assert [found[number] for row, number in enumerate(numbers) if row != 3] == [
        result for row, result in enumerate(expected) if row != 3
    ]


def test_a_long_prompt_holds_up_nobody_those_who_run_get_a_token_at_every_step(reading):
    told = []
    running = prompt("a cat", max_output_tokens=40, on_text=lambda text, count: told.append(count))
    long = prompt("a photo of a cat and a dog " * 30, max_output_tokens=3)
    pieces = alone(reading, long).usage.input_token_count // PIECE
    assert pieces > 5
    batch = reading.begin_batch()
    first = batch.join(running)
    batch.step()
    [row] = batch._continued
    second, steps = batch.join(long), 0
    while batch._reading or batch._new:
        before = row.answer._token_count
        assert not batch.step()
        assert row.answer._token_count == before + 1
        steps += 1
    assert steps >= pieces
    found = {}
    while len(found) < 2:
        found.update(batch.step())
    assert (found[first], found[second]) == (alone(reading, running), alone(reading, long))
    assert told == sorted(set(told))


def test_prompts_are_read_in_turn_so_that_a_short_one_is_not_behind_a_long_one(reading):
    batch, told = reading.begin_batch(), []
    batch.join(prompt("a photo of a cat and a dog " * 30, max_output_tokens=1, on_text=lambda *_: told.append("long")))
    batch.join(prompt("a cat", max_output_tokens=1, on_text=lambda *_: told.append("short")))
    left = 2
    while left:
        left -= len(batch.step())
    assert told == ["short", "long"]


def test_images_are_encoded_one_a_step_while_others_run(seeing):
    seeing.forget()
    batch = seeing.begin_batch()
    batch.join(prompt("a cat", max_output_tokens=40))
    batch.step()
    [row] = batch._continued
    encoded = []
    features, count = seeing._network.base_model.get_image_features, Counter()

    def counted(*given, **named):
        count["images"] += 1
        return features(*given, **named)

    counted.__signature__ = inspect.signature(features)
    seeing._network.base_model.get_image_features = counted
    try:
        batch.join(prompt(*IMAGES, "?", max_output_tokens=1))
        while batch._reading or batch._new:
            before, said = count["images"], row.answer._token_count
            batch.step()
            encoded.append(count["images"] - before)
            assert row.answer._token_count == said + 1
    finally:
        del seeing._network.base_model.get_image_features
    assert sum(encoded) == 3
    assert max(encoded) <= 2, "small images may share a step, up to its tokens"


def test_text_is_told_in_order_to_each_its_own(seeing):
    told = {row: [] for row in range(4)}
    prompts = [
        prompt(
            IMAGES[row % 2],
            "a cat " * row,
            max_output_tokens=10 + row,
            on_text=lambda *news, row=row: told[row].append(news),
        )
        for row in range(4)
    ]
    for row, result in enumerate(seeing.run_batch(prompts)):
        texts, counts = zip(*told[row], strict=True)
        assert texts[-1] == result.text
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert list(counts) == sorted(set(counts))


def test_a_listener_that_fails_ends_its_own_row_only(seeing):
    def fail(*_):
        raise OSError("nobody listens")

    failed, good = seeing.run_batch([prompt("a dog", on_text=fail), prompt(IMAGES[0], "?")])
    assert isinstance(failed, OSError)
    assert good == alone(seeing, prompt(IMAGES[0], "?"))


def test_a_text_that_holds_the_models_own_sign_for_an_image_is_refused(seeing):
    refused, good = seeing.run_batch([prompt("what is <image> ?"), prompt("a cat")])
    assert isinstance(refused, FieldInvalid)
    assert good == alone(seeing, prompt("a cat"))


def test_rows_that_left_leave_no_memory_behind(reading):
    batch = reading.begin_batch()
    numbers = {batch.join(prompt("a cat " * 40, max_output_tokens=limit)) for limit in (2, 30, 9)}
    while numbers:
        numbers -= {number for number, _ in batch.step()}
    assert not batch._rows._rows._layers
    assert not batch._rows._rows.lengths


class Full:
    """Has the forward pass of the language head run out of memory for more rows than there is room for."""

    def __init__(self, head, room):
        self.head, self.room, self.most = head, room, 0

    def __enter__(self):
        self.hook = self.head.register_forward_pre_hook(self)
        return self

    def __exit__(self, *_):
        self.hook.remove()

    def __call__(self, _module, inputs):
        self.most = max(self.most, len(inputs[0]))
        if len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("room", [2, 3, 5])
def test_on_a_device_that_is_full_all_are_answered_as_alone_and_the_ceiling_is_remembered(seeing, room):
    told = {row: [] for row in range(8)}
    prompts = [
        prompt(
            "a cat",
            IMAGES[row % 3],
            max_output_tokens=30 + row,
            on_text=lambda text, _, row=row: told[row].append(text),
        )
        for row in range(8)
    ]
    expected = [alone(seeing, item) for item in prompts]
    reports = []
    station = Station(seeing, BatchPolicy(max_cost=100_000, max_items=8), reports.append)
    futures = [station.submit(item, lane=1, deadline=None) for item in prompts]
    with Full(seeing._network.lm_head, room) as full:
        station.start()
        assert [future.result(60).value for future in futures] == expected
        assert full.most > room
        full.most = 0
        again = [station.submit(item, lane=1, deadline=None) for item in prompts]
        assert [future.result(60).value for future in again] == expected
        assert full.most <= room
        station.stop()
    assert [texts[-1] for texts in told.values()] == [result.text for result in expected]
    assert any(report.out_of_memory and report.safe_cost for report in reports)
    assert not any(report.errors for report in reports)


def test_all_rows_in_one_call_with_a_mask_are_what_they_are_row_by_row():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 1, 8), torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8)
    lengths, module = [7, 2, 5], torch.nn.Identity()
    module.num_key_value_groups = 2
    token = kv_rows._lengths.set(lengths)
    try:
        by_row, _ = row_exact._attention(module, query, key, value, None)
    finally:
        kv_rows._lengths.reset(token)
    masked, _ = row_exact._attend_masked(module, query, key, value, lengths)
    assert torch.allclose(by_row, masked, atol=1e-6)
