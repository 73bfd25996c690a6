"""Images that come again: neither prepared nor encoded again, for the same tenant, within a bound of bytes."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models

from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.image_key import image_key
from triptych.workers.engines.transformers import TransformersEngine

FIRST, SECOND = (np.random.default_rng(seed).integers(0, 255, (90, 120, 3), dtype=np.uint8) for seed in (1, 2))
ROOM = 1 << 20


def test_an_image_is_known_by_its_bytes_its_shape_and_its_tenant():
    same = {image_key("t", FIRST), image_key("t", FIRST.copy())}
    assert len(same) == 1
    others = {image_key("other", FIRST), image_key("t", SECOND), image_key("t", FIRST.reshape(120, 90, 3))}
    assert len(same | others) == 4


class Counting:
    """A vision-language engine that counts what it does with images."""

    def __init__(self, folder, cache_bytes):
        self.looks, self.prepared, self.encoded = [], 0, 0
        self.engine = TransformersEngine(
            folder,
            ModelRef(),
            device="cpu",
            threads=1,
            encoder_cache_bytes=cache_bytes,
            on_look=self.looks.append,
        )
        self.engine.load()
        prompts = self.engine._prompts
        prepare, encode = prompts._prepare, prompts._encode

        def counted_prepare(image):
            self.prepared += 1
            return prepare(image)

        def counted_encode(prepared):
            self.encoded += 1
            return encode(prepared)

        prompts._prepare, prompts._encode = counted_prepare, counted_encode

    def ask(self, *prompts):
        before = self.prepared, self.encoded
        results = self.engine.run_batch(prompts)
        return results, (self.prepared - before[0], self.encoded - before[1])


@pytest.fixture(scope="module", params=["idefics3", "llava"])
def folder(request, tmp_path_factory):
    return getattr(tiny_models, request.param)(tmp_path_factory.mktemp(request.param))


def prompt(*parts, tenant="ours"):
    return Prompt(turns=(("user", parts),), tenant=tenant, max_output_tokens=16)


def test_another_question_about_an_image_prepares_and_encodes_nothing_and_the_answers_stay_the_same(folder):
    keeping, fresh = Counting(folder, ROOM), Counting(folder, 0)
    questions = [
        prompt(FIRST, "what is in the image ?"),
        prompt("a cat", FIRST, "?"),
        prompt(FIRST, "and", SECOND, "a dog"),
        prompt(SECOND, FIRST, SECOND),
    ]
    work = []
    for question in questions:
        found, done = keeping.ask(question)
        work.append(done)
        expected, _ = fresh.ask(question)
        assert found == expected
    assert work == [(1, 1), (0, 0), (1, 1), (0, 0)]
    assert keeping.looks == [False, True, True, False, True, True, True]
    assert fresh.looks == [False] * 7


def test_questions_of_one_batch_about_one_image_share_it(folder):
    engine = Counting(folder, ROOM)
    _, work = engine.ask(*(prompt(FIRST, f"question {number} ?") for number in range(5)))
    assert work == (1, 1)


def test_what_is_kept_for_one_tenant_serves_no_other(folder):
    engine = Counting(folder, ROOM)
    engine.ask(prompt(FIRST, "?"))
    _, work = engine.ask(prompt(FIRST, "?", tenant="others"))
    assert work == (1, 1)
    assert engine.looks == [False, False]


def test_a_purge_empties_it_also_amid_a_batch(folder):
    engine = Counting(folder, ROOM)
    engine.ask(prompt(FIRST, "?"))
    assert engine.engine._cache.nbytes() > 0
    batch = engine.engine.begin_batch()
    number = batch.join(prompt(SECOND, "?"))
    encode = engine.engine._prompts._encode

    def purged_meanwhile(prepared):
        engine.engine.forget()
        return encode(prepared)

    engine.engine._prompts._encode = purged_meanwhile
    found = {}
    while not found:
        found.update(batch.step())
    engine.engine._prompts._encode = encode
    assert not isinstance(found[number], Exception)
    assert engine.engine._cache.nbytes() == 0
    _, work = engine.ask(prompt(FIRST, "?"))
    assert work == (1, 1)


def test_an_image_whose_prompt_is_cancelled_before_it_is_encoded_is_not_kept(folder):
    engine = Counting(folder, ROOM)
    stopped = []
    gone = replace(prompt(FIRST, "?"), stopped=lambda: bool(stopped))
    batch = engine.engine.begin_batch()
    batch.join(gone)
    encode = engine.engine._prompts._encode
    engine.engine._prompts._encode = lambda prepared: stopped.append(1) or encode(prepared)
    batch.step()
    assert engine.engine._cache.nbytes() == 0
