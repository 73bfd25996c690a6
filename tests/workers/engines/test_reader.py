"""The reader of documents: OCR, then a language model. Real weights where they are asked for, tiny ones elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch
from workers.documents import ocr_engine, picture

from triptych.core.errors import FieldInvalid, InputTooLarge, InvalidInput, JobCancelled, MediaTypeUnsupported
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.engines import row_exact
from triptych.workers.engines.base import Engine
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.output_rules import NOT_FOUND, OutputRules
from triptych.workers.engines.reader import ReaderEngine

BLANK = np.full((60, 80, 3), 255, np.uint8)


class Scripted(Engine):
    """An OCR engine that reads what it is told to, by the brightness of an image, and counts."""

    model = ModelRef(model="scripted")

    def __init__(self, pages=None):
        self.pages = pages or {}
        self.read = []

    def load(self):
        pass

    def cost(self, item):
        return 1

    def run_batch(self, items):
        self.read.append([int(item.pixels[0, 0, 0]) for item in items])
        return [self.pages.get(int(item.pixels[0, 0, 0]), OcrPage()) for item in items]


def page(*texts):
    lines = [
        TextLine(text=text, polygon=[0.1, 0.1 * row, 0.9, 0.1 * row, 0.9, 0.1 * row + 0.05, 0.1, 0.1 * row + 0.05])
        for row, text in enumerate(texts)
    ]
    return OcrPage(text="\n".join(texts), lines=lines)


def image(brightness):
    return np.full((60, 80, 3), brightness, np.uint8)


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts),), **{"max_output_tokens": 16, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.qwen2(tmp_path_factory.mktemp("qwen2"))


def reader(folder, ocr=None, **options):
    engine = ReaderEngine(folder, ModelRef(model="reader"), ocr, device="cpu", threads=2, **options)
    engine.load()
    return engine


def alone(engine, item):
    [result] = engine.run_batch([item])
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_gives_every_prompt_what_it_gets_alone(folder, dtype):
    engine = reader(folder, dtype=dtype)
    prompts = [
        prompt(text, max_output_tokens=30) for text in ("a cat", "what is in the image ? " * 5, "Invoice", "dog")
    ]
    results = engine.run_batch(prompts)
    assert results == [alone(engine, item) for item in prompts]
    assert len({result.text for result in results}) == 4


def test_all_images_of_a_batch_are_read_at_once_and_each_only_once(folder):
    ocr = Scripted({10: page("total due"), 20: page("a photo")})
    engine = reader(folder, ocr)
    first = engine.run_batch([prompt(image(10), "?"), prompt(image(20), image(10), "?"), prompt(image(20), "what ?")])
    assert ocr.read == [[10, 20]]
    assert alone(engine, prompt(image(10), "?")) == first[0]
    assert ocr.read == [[10, 20], []]


def test_what_was_read_is_forgotten_when_a_document_is_purged_also_amid_a_batch(folder):
    ocr = Scripted({10: page("total due"), 20: page("a photo")})
    engine = reader(folder, ocr)
    first = alone(engine, prompt(image(10), "?"))
    read = ocr.run_batch

    def purged_meanwhile(items):
        engine.forget()
        return read(items)

    ocr.run_batch = purged_meanwhile
    assert alone(engine, prompt(image(10), image(20), "?")).text
    ocr.run_batch = read
    assert not engine._texts
    assert alone(engine, prompt(image(10), "?")) == first
    assert ocr.read == [[10], [20], [10]]


def test_pages_read_for_one_tenant_serve_no_other(folder):
    ocr = Scripted({10: page("total due")})
    engine = reader(folder, ocr)
    ours, theirs = prompt(image(10), "?", tenant="ours"), prompt(image(10), "?", tenant="theirs")
    first, second = engine.run_batch([ours, theirs])
    assert first == second == alone(engine, ours)
    assert ocr.read == [[10, 10], []]


def test_an_image_that_cannot_be_read_fails_its_prompt_alone(folder):
    broken = InvalidInput("page is broken")
    engine = reader(folder, Scripted({10: broken, 20: page("a photo")}))
    failed, good = engine.run_batch([prompt(image(10), image(20), "?"), prompt(image(20), "?")])
    assert failed is broken
    assert good == alone(engine, prompt(image(20), "?"))


def test_images_are_refused_where_nothing_reads_them(folder):
    engine = reader(folder)
    refused, good = engine.run_batch([prompt(BLANK, "what is this ?"), prompt("a cat")])
    assert isinstance(refused, MediaTypeUnsupported)
    assert good == alone(engine, prompt("a cat"))


def test_pages_that_are_too_long_are_cut_in_the_middle_but_never_the_question(folder):
    ocr = Scripted({10: page(*["a photo of a cat"] * 60, "the end"), 20: page("a dog")})
    engine = reader(folder, ocr, max_prompt_tokens=360)
    seen = []
    engine._token_ids, token_ids = lambda *given: seen.append(token_ids(*given)) or seen[-1], engine._token_ids
    result = alone(engine, prompt(image(10), image(20), "what is in the image ?"))
    assert result.usage.input_token_count <= 360
    text = engine._tokenizer.decode(seen[0])
    assert "a photo of a cat" in text
    assert "[...]" in text
    assert "the end" in text
    assert "Document 2:\na dog\n\nwhat is in the image ?" in text


def test_an_answer_can_be_copied_from_the_page_alone(folder):
    text = "Invoice 2024-00123 : total due is $299.99"
    engine = reader(folder, Scripted({10: page(text), 20: page("a dog")}))
    rules = OutputRules(copied=True)
    for result in engine.run_batch([prompt(image(10), f"what {n} ?", rules=rules) for n in range(4)]):
        assert result.text in text or result.text == NOT_FOUND
        assert result.finish_reason == FinishReason.FINISH_REASON_STOP
        assert "a dog" not in result.text


def test_words_of_the_caller_are_never_cut(folder):
    engine = reader(folder, Scripted({10: page("a photo " * 50)}), max_prompt_tokens=100)
    long, with_page, good = engine.run_batch(
        [prompt("a cat " * 100), prompt(image(10), "a cat " * 100), prompt("a cat")]
    )
    assert isinstance(long, InputTooLarge)
    assert isinstance(with_page, InputTooLarge)
    assert good == alone(engine, prompt("a cat"))


def test_a_conversation_that_the_template_refuses_fails_alone(folder):
    engine = reader(folder)
    refused, good = engine.run_batch([Prompt(turns=(("assistant", ("hello",)),)), prompt("a cat")])
    assert isinstance(refused, FieldInvalid)
    assert good == alone(engine, prompt("a cat"))


def test_a_cancelled_prompt_ends_and_its_neighbours_go_on(folder):
    engine = reader(folder)
    told = []
    items = [
        prompt("a cat", stopped=lambda: True),
        prompt("a dog", stopped=lambda: bool(told), on_text=lambda *_: told.append(1), max_output_tokens=200),
        prompt("a photo"),
    ]
    unread, unfinished, good = engine.run_batch(items)
    assert isinstance(unread, JobCancelled)
    assert isinstance(unfinished, JobCancelled)
    assert len(told) == 1
    assert good == alone(engine, prompt("a photo"))
    assert isinstance(alone(engine, items[0]), JobCancelled)


def test_a_prompt_cancelled_while_it_is_read_is_left_and_its_neighbours_are_read(folder):
    engine = reader(folder)
    expected = alone(engine, prompt("a photo"))
    layers, begun = engine._network.model.layers, []
    hook = layers[0].register_forward_pre_hook(lambda *_: begun.append(1))
    left = layers[-1].register_forward_hook(lambda *_: begun.append("ended") if len(begun) == 1 else None)
    try:
        cancelled, good = engine.run_batch([prompt("a dog", stopped=lambda: bool(begun)), prompt("a photo")])
    finally:
        hook.remove()
        left.remove()
    assert isinstance(cancelled, JobCancelled)
    assert "ended" not in begun
    assert good == expected


def test_attention_heeds_between_heads_of_a_long_prompt():
    asked = []
    query, key = torch.ones(1, 4, 3, 8), torch.ones(1, 2, 3, 8)
    with pytest.raises(Unwanted), left_when(lambda: asked.append(1) or len(asked) > 2):
        row_exact._attention(torch.nn.Identity(), query, key, key, None)
    assert len(asked) == 3


def test_an_image_wanted_by_two_is_read_though_one_of_them_gives_up(folder):
    class Heeding(Scripted):
        def run_batch(self, items):
            return [JobCancelled("stopped") if item.stopped() else page("a photo") for item in items]

    engine = reader(folder, Heeding())
    given_up, good = engine.run_batch([prompt(image(10), "?", stopped=lambda: True), prompt(image(10), "?")])
    assert isinstance(given_up, JobCancelled)
    assert good.text


def test_who_runs_is_heard_while_the_pages_of_others_are_read(folder):
    class Heeding(Scripted):
        def run_batch(self, items):
            heard.clear()
            assert not any(item.stopped() for item in items)
            self.heard = list(heard)
            return [page("a photo") for _ in items]

    heard, ocr = [], Heeding()
    engine = reader(folder, ocr)
    batch = engine.begin_batch()
    batch.join(prompt("a cat", stopped=lambda: bool(heard.append("runs"))))
    batch.step()
    batch.join(prompt(image(10), "?", stopped=lambda: bool(heard.append("new"))))
    batch.step()
    assert set(ocr.heard) == {"runs", "new"}


@pytest.fixture(scope="module")
def real(models_dir):
    engine = ReaderEngine(
        models_dir / "qwen2.5-coder-0.5b-instruct",
        ModelRef(model="reader"),
        ocr_engine(models_dir),
        device="cpu",
        threads=2,
    )
    engine.load()
    return engine


INVOICE = np.asarray(picture("ACME Corporation", "Invoice No. 2024-00123", "Total due: $299.99"))


@pytest.mark.weights
def test_a_question_about_a_document_is_answered_from_it(real):
    result = alone(real, prompt(INVOICE, "What is the invoice number?", max_output_tokens=24))
    assert "2024-00123" in result.text
    assert result.finish_reason == FinishReason.FINISH_REASON_STOP
    assert 0 < result.usage.output_token_count < 24 < result.usage.input_token_count


@pytest.mark.weights
def test_two_questions_in_a_batch_get_the_answers_that_each_gets_alone(real):
    prompts = [
        prompt(INVOICE, "What is the total due?"),
        prompt("Name the capital of France in one word."),
        prompt(INVOICE, "Which company sent this invoice? Answer in a whole sentence.", max_output_tokens=24),
    ]
    results = real.run_batch(prompts)
    assert results == [alone(real, item) for item in prompts]
    assert "299.99" in results[0].text
    assert "Paris" in results[1].text
    assert "ACME" in results[2].text


@pytest.mark.weights
def test_sampling_with_a_seed_is_repeatable_in_any_company(real):
    sampled = prompt("Write a line about the sea.", temperature=0.9, seed=7)
    first, _ = real.run_batch([sampled, prompt("Hello")])
    assert first == alone(real, sampled)
    assert first != alone(real, replace(sampled, seed=8))


def test_an_image_without_text_is_refused_rather_than_guessed_at(folder):
    engine = ReaderEngine(folder, ModelRef(model="tiny"), Scripted({7: page("words")}), device="cpu", threads=1)
    engine.load()
    nothing, half = engine.run_batch([prompt(image(9), "What animal?"), prompt(image(9), image(7), "What words?")])
    assert isinstance(nothing, MediaTypeUnsupported)
    assert "no text was recognized" in nothing.message
    assert not isinstance(half, Exception)
