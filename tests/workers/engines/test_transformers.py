"""Batches of a real, tiny vision-language model with random weights."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tiny_models
import torch

from triptych.core.errors import FeatureDisabled, FieldInvalid, InputTooLarge, JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.transformers import TransformersEngine

STOP, LENGTH = FinishReason.FINISH_REASON_STOP, FinishReason.FINISH_REASON_LENGTH
IMAGE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tiny_models.idefics3(tmp_path_factory.mktemp("idefics3"))
    engine = TransformersEngine(folder, ModelRef(model="tiny"), device="cpu", threads=2)
    engine.load()
    engine.warm_up()
    return engine


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts),), **{"max_output_tokens": 24, **options})


def alone(engine, item):
    [result] = engine.run_batch([item])
    return result


def test_a_batch_gives_every_prompt_what_it_gets_alone(engine):
    prompts = [
        prompt(IMAGE, "what is in the image ?"),
        prompt("a photo", max_output_tokens=12),
        prompt(IMAGE[:40], "and", IMAGE[::-1], "a cat", max_output_tokens=40),
        Prompt(turns=(("system", ("Be brief.",)), ("user", (IMAGE,)), ("assistant", ("a dog",)), ("user", ("?",)))),
    ]
    prompts[3] = replace(prompts[3], max_output_tokens=30)
    results = engine.run_batch(prompts)
    assert results == [alone(engine, item) for item in prompts]
    assert len({result.text for result in results}) == 4
    assert results[0].usage.input_token_count > results[1].usage.input_token_count
    assert results[0].model.model == "tiny"


def test_each_row_ends_at_its_own_limit(engine):
    items = [prompt("what is in the image ?", max_output_tokens=limit) for limit in (1, 7, 20)]
    results = engine.run_batch(items)
    assert [(result.usage.output_token_count, result.finish_reason) for result in results] == [
        (1, LENGTH),
        (7, LENGTH),
        (20, LENGTH),
    ]
    assert results[2].text.startswith(results[1].text.rstrip("\ufffd"))


def test_a_row_ends_before_its_stop_sequence_and_tells_nothing_of_it(engine):
    whole = alone(engine, prompt("what is in the image ?")).text
    stop = whole[10:14]
    before = whole[: whole.index(stop)]
    told = []
    stopped, other = engine.run_batch(
        [
            prompt("what is in the image ?", stop_sequences=("never", stop), on_text=lambda text, _: told.append(text)),
            prompt("what is in the image ?"),
        ]
    )
    assert (stopped.text, stopped.finish_reason) == (before, STOP)
    assert other.text == whole
    assert told[-1] == before
    assert all(before.startswith(text) for text in told)


def test_what_is_told_grows_into_the_text(engine):
    told = []
    result = alone(engine, prompt("a dog", on_text=lambda text, count: told.append((text, count))))
    texts, counts = zip(*told, strict=True)
    assert texts[-1] == result.text
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert list(counts) == sorted(set(counts))
    assert counts[-1] <= result.usage.output_token_count


def test_a_cancelled_row_ends_at_the_next_token_and_its_neighbour_goes_on(engine):
    told = []
    stopping = prompt("a dog", max_output_tokens=200, stopped=lambda: len(told) >= 3, on_text=lambda *_: told.append(1))
    cancelled, other = engine.run_batch([stopping, prompt("a photo")])
    assert isinstance(cancelled, JobCancelled)
    assert len(told) == 3
    assert other == alone(engine, prompt("a photo"))


def test_a_batch_that_nobody_wants_is_left_within_a_token(engine):
    passes = []
    hook = engine._network.register_forward_pre_hook(lambda *_: passes.append("begun"))
    end = engine._network.register_forward_hook(lambda *_: passes.append("ended"))
    gone = [prompt(text, max_output_tokens=200, stopped=lambda: passes.count("begun") >= 4) for text in ("a dog", "?")]
    try:
        results = engine.run_batch(gone)
    finally:
        hook.remove()
        end.remove()
    assert [type(result) for result in results] == [JobCancelled, JobCancelled]
    assert passes == ["begun", "ended"] * 3 + ["begun"]


def test_a_prompt_cancelled_before_it_begins_costs_nothing(engine, monkeypatch):
    monkeypatch.setattr(engine._network, "forward", None)
    assert isinstance(alone(engine, prompt("a dog", stopped=lambda: True)), JobCancelled)


def test_greedy_and_sampled_rows_share_a_batch(engine):
    greedy = prompt(IMAGE, "what is in the image ?")
    sampled = [replace(greedy, temperature=1.5, top_p=0.9, seed=seed) for seed in (1, 2, 1)]
    results = engine.run_batch([greedy, *sampled])
    assert results[0] == alone(engine, greedy)
    assert results[1] == results[3] == alone(engine, sampled[0])
    assert len({result.text for result in results}) == 3


def test_the_nucleus_holds_at_least_the_likeliest_token(engine):
    greedy = prompt("a cat")
    assert alone(engine, replace(greedy, temperature=2.0, top_p=1e-6)).text == alone(engine, greedy).text


def test_a_conversation_that_the_template_refuses_fails_alone(engine):
    refused, good = engine.run_batch([Prompt(turns=(("assistant", ("hello",)),)), prompt("a cat")])
    assert isinstance(refused, FieldInvalid)
    assert "begin with the user" in str(refused)
    assert good == alone(engine, prompt("a cat"))


def test_a_prompt_longer_than_the_model_can_read_fails_alone(engine):
    long, good = engine.run_batch([prompt("a cat " * 300), prompt("a cat")])
    assert isinstance(long, InputTooLarge)
    assert good == alone(engine, prompt("a cat"))


def test_generation_ends_where_the_models_context_does(engine):
    result = alone(engine, prompt("cat " * 470, max_output_tokens=1_000_000))
    used = result.usage.input_token_count + result.usage.output_token_count
    assert (used, result.finish_reason) == (512, LENGTH)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_running_out_of_memory_is_a_memory_error(engine, monkeypatch, error):
    def forward(*_, **__):
        raise error

    monkeypatch.setattr(engine._network.lm_head, "forward", forward)
    with pytest.raises(MemoryError):
        engine.run_batch([prompt("a cat")])


def test_cost_follows_length_and_images(engine):
    short, long, seen = prompt("a cat"), prompt("a cat " * 100), prompt(IMAGE, "a cat")
    assert engine.cost(short) < engine.cost(long) < engine.cost(seen)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FeatureDisabled):
        TransformersEngine(tmp_path, ModelRef(), device="cuda", threads=1)
