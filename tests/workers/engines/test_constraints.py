"""Rows of tiny models with random weights, held to what they would never write by themselves."""

import gc
import json
import re
from dataclasses import replace

import pytest
import tiny_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator
from random_schemas import SCHEMAS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from triptych.core.errors import FieldInvalid, MediaTypeUnsupported, SchemaInvalid
from triptych.core.output_grammar import OutputGrammar, check_schema_grammar
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.engines.constraints import Constraints
from triptych.workers.engines.document_pieces import pieces
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.output_rules import FREE, NOT_FOUND, OutputRules
from triptych.workers.engines.reader import ReaderEngine
from triptych.workers.engines.token_choice import TokenChoice

STOP = FinishReason.FINISH_REASON_STOP
INVOICE = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "maxLength": 40},
        "total": {"type": "number"},
        "currency": {"enum": ["USD", "EUR"]},
    },
    "required": ["company", "total", "currency"],
    "additionalProperties": False,
}
PAGE = "ACME Corporation\nInvoice 2024-00123  Total due: $1,299.99\nThank you, Zoë & 日本支社"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tiny_models.qwen2(tmp_path_factory.mktemp("qwen2"))
    engine = ReaderEngine(folder, ModelRef(model="tiny"), None, device="cpu", threads=1)
    engine.load()
    return engine


def held(rules=FREE, **options):
    return Prompt(turns=(("user", ("a photo",)),), rules=rules, **{"max_output_tokens": 60, **options})


def schema_rules(schema):
    return OutputRules(json_schema=json.dumps(schema))


@settings(
    max_examples=14,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    schemas=st.lists(SCHEMAS, min_size=8, max_size=8),
    temperature=st.sampled_from([0.0, 1.2]),
    limit=st.sampled_from([30, 120]),
)
def test_documents_of_random_schemas_are_valid_however_little_room_there_is(engine, schemas, temperature, limit):
    texts = []
    for text in map(json.dumps, schemas):
        try:
            check_schema_grammar(text, "schema")
        except SchemaInvalid:
            continue
        texts.append(text)
    results = engine.run_batch(
        [
            held(OutputRules(json_schema=text), temperature=temperature, seed=1, max_output_tokens=limit)
            for text in texts
        ]
    )
    for text, result in zip(texts, results, strict=True):
        if isinstance(result, FieldInvalid):
            assert "no output as asked for fits" in result.message
            continue
        Draft202012Validator(json.loads(text)).validate(json.loads(result.text))
        assert result.finish_reason == STOP
        assert result.usage.output_token_count <= limit


def test_every_row_of_a_batch_has_its_own_rules_and_changes_no_other(engine):
    items = [
        held(schema_rules(INVOICE)),
        held(),
        held(OutputRules(regex=r"[A-Z]{2}-\d{4}")),
        held(OutputRules(choices=("yes", "no", "peut-être 😀"))),
        held(schema_rules(INVOICE), temperature=1.0, seed=5),
    ]
    results = engine.run_batch(items)
    assert set(json.loads(results[0].text)) == {"company", "total", "currency"}
    assert re.fullmatch(r"[A-Z]{2}-[0-9]{4}", results[2].text)
    assert results[3].text in ("yes", "no", "peut-être 😀")
    assert json.loads(results[4].text)["currency"] in ("USD", "EUR")
    for item, result in zip(items, results, strict=True):
        assert engine.run_batch([item]) == [result]


@pytest.mark.parametrize("limit", [33, 36, 45])
def test_a_document_is_closed_before_the_last_token(engine, limit):
    schema = {"type": "object", "properties": {"notes": {"type": "string"}}, "required": ["notes"]}
    [result] = engine.run_batch([held(schema_rules(schema), max_output_tokens=limit)])
    assert json.loads(result.text)["notes"] is not None
    assert result.finish_reason == STOP
    assert result.usage.output_token_count <= limit


# Whatever character comes next, as many may come after it: only an example tells what ends such a text.
ANYWHERE = [{"type": "string", "pattern": pattern} for pattern in ("[A-Z]{2}", "é+", "#[0-9]{3}$", "a.*[xyz]{2}-Q")]


@pytest.mark.parametrize("limit", [24, 60])
@pytest.mark.parametrize("temperature", [0.7, 1.3])
def test_texts_whose_pattern_may_match_anywhere_end_in_time(engine, temperature, limit):
    forms = [*ANYWHERE, *({"anyOf": [{"anyOf": [form, {"type": "integer"}]}]} for form in ANYWHERE)]
    results = engine.run_batch(
        [
            held(schema_rules(form), temperature=temperature, seed=seed, max_output_tokens=limit)
            for seed, form in enumerate(forms)
        ]
    )
    for form, result in zip(forms, results, strict=True):
        Draft202012Validator(form).validate(json.loads(result.text))
        assert result.usage.output_token_count <= limit


class Rambling:
    """Logits of a writer who likes some tokens, by default those that open things or go on with them."""

    def __init__(self, tokenizer, seed, liked=("{", "[", ",", '"', "a", "0", "Ġ")):
        import torch

        self._generator = torch.Generator().manual_seed(seed)
        self._size = len(tokenizer)
        self._liked = [tokenizer.convert_tokens_to_ids(token) for token in liked]

    def logits(self):
        import torch

        logits = torch.randn(self._size, generator=self._generator)
        logits[self._liked] += 3
        return logits


@pytest.mark.parametrize(
    "form", [{"type": "array"}, INVOICE, ANYWHERE[0], {"type": "array", "items": {"anyOf": [INVOICE, *ANYWHERE]}}]
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_after_every_token_a_known_ending_fits_what_is_left(engine, form, temperature):
    limit = 48
    constraint = engine._language_model._constraints.begin(schema_rules(form), None, limit)
    choice = TokenChoice(temperature=temperature, top_p=1.0, seed=3, constraint=constraint)
    writer, tokens = Rambling(engine._tokenizer, 3), []
    while not choice.finished:
        tokens.append(choice.next(writer.logits()))
        if tokens[-1] == engine._tokenizer.eos_token_id:
            break
        ending = constraint._draft.ending
        assert len(tokens) + len(ending) <= limit
        document = engine._tokenizer.decode(tokens + ending[:-1])
        Draft202012Validator(form).validate(json.loads(document))
    assert len(tokens) > limit - 4


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_string_that_has_outgrown_one_form_is_ended_in_another(engine, temperature):
    form = {"anyOf": [{"anyOf": [{"type": "string", "pattern": "[0-9]{3}-Q"}, {"type": "string", "maxLength": 2}]}]}
    constraint = engine._language_model._constraints.begin(schema_rules(form), None, 60)
    choice = TokenChoice(temperature=temperature, top_p=1.0, seed=3, constraint=constraint)
    writer, tokens = Rambling(engine._tokenizer, 3, liked='"'), []
    while not choice.finished and len(tokens) < 60:
        tokens.append(choice.next(writer.logits()))
        if len(tokens) == 1:
            writer = Rambling(engine._tokenizer, 3, liked="ab")
    text = engine._tokenizer.decode(tokens, skip_special_tokens=True)
    assert len(text) > 10
    Draft202012Validator(form).validate(json.loads(text))


def test_what_cannot_fit_the_limit_is_refused_before_anything_is_written(engine):
    refused, good = engine.run_batch([held(schema_rules(INVOICE), max_output_tokens=10), held()])
    assert isinstance(refused, FieldInvalid)
    assert "no output as asked for fits 10 tokens: the shortest one found takes" in refused.message
    assert good == engine.run_batch([held()])[0]


def copier(engine, text, limit=60):
    """What holds a row to a copy from a page."""
    return engine._language_model._constraints.begin(OutputRules(copied=True), [text], limit)


def written(engine, constraint, seed, limit=60):
    """What is drawn by lot under a constraint."""
    import torch

    choice = TokenChoice(temperature=1.0, top_p=1.0, seed=seed, constraint=constraint)
    generator = torch.Generator().manual_seed(seed)
    tokens = []
    while len(tokens) < limit and not choice.finished:
        token = choice.next(torch.randn(len(engine._tokenizer), generator=generator))
        if token == engine._tokenizer.eos_token_id:
            break
        tokens.append(token)
    return engine._tokenizer.decode(tokens)


def test_a_copy_is_a_run_of_whole_words_of_the_page_or_says_that_there_is_none(engine):
    runs = pieces(PAGE)
    borders = {len("".join(runs[:n])) for n in range(len(runs) + 1)}
    texts = set()
    for seed in range(60):
        text = written(engine, copier(engine, PAGE), seed)
        texts.add(text)
        if text == NOT_FOUND:
            continue
        places = [match.start() for match in re.finditer(re.escape(text), PAGE)]
        assert text == text.strip() != ""
        assert any({place, place + len(text)} <= borders for place in places), text
    assert len(texts) > 10


def test_a_copy_ends_at_a_word_when_the_tokens_run_out(engine):
    for seed in range(20):
        assert written(engine, copier(engine, PAGE, limit=14), seed, 14) in PAGE + NOT_FOUND


def test_a_long_page_costs_no_more_per_token(engine):
    words = " ".join(f"w{n * 7919 % 100003:x}" for n in range(8000))
    constraint = copier(engine, words)
    text = written(engine, constraint, 3)
    assert text in words or text == NOT_FOUND


def test_no_page_that_was_copied_from_stays_in_memory(engine):
    kept = len(engine._language_model._constraints._compiled)
    page = f"{PAGE} purged later"
    written(engine, copier(engine, page), 1)
    gc.collect()
    grammars = [found for found in gc.get_objects() if type(found) is OutputGrammar]
    assert not [found for found in grammars if "purged" in found.rules]
    assert len(engine._language_model._constraints._compiled) == kept


def test_where_pages_are_pixels_nothing_can_be_copied(engine):
    with pytest.raises(MediaTypeUnsupported, match="recognizes no text"):
        engine._language_model._constraints.begin(OutputRules(copied=True), None, 60)


def words_of(*vocabulary):
    """A tokenizer of whole words, which a decoder joins with blanks."""
    ids = {word: number for number, word in enumerate(["<unk>", "<end>", *vocabulary])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>")


def word_texts(tokenizer, rules, count=12):
    import torch

    texts = set()
    for seed in range(count):
        constraint = Constraints(tokenizer, {1}).begin(rules, None, 20)
        choice = TokenChoice(temperature=1.0, top_p=1.0, seed=seed, constraint=constraint)
        tokens = []
        while not choice.finished:
            token = choice.next(torch.zeros(len(tokenizer)))
            assert choice.error is None
            if token == 1:
                break
            tokens.append(token)
        texts.add(tokenizer.decode(tokens, skip_special_tokens=True))
    return texts


def test_a_tokenizer_of_words_writes_what_its_words_can():
    tokenizer = words_of("red", "blue", "circle", "square", "[", "]", ",", '"red"', '"blue"', "1")
    assert word_texts(tokenizer, OutputRules(choices=("red", "blue circle"))) == {"red", "blue circle"}
    for text in word_texts(
        tokenizer, schema_rules({"type": "array", "items": {"enum": ["red", "blue"]}, "maxItems": 2})
    ):
        assert set(json.loads(text)) <= {"red", "blue"}


def test_a_tokenizer_of_words_never_begins_what_it_cannot_end():
    tokenizer = words_of("red", "blue", "circle", "dark")
    assert word_texts(tokenizer, OutputRules(choices=("red", "dark green", "blue circle big"))) == {"red"}


def test_what_a_tokenizer_cannot_write_at_all_is_refused():
    with pytest.raises(FieldInvalid, match="can be written with the tokens of this model"):
        word_texts(words_of("red", "blue"), OutputRules(choices=("green", "yellow")))


def test_rules_are_free_unless_something_is_asked_for(engine):
    assert engine._language_model._constraints.begin(FREE, [], 60) is None
    assert held(OutputRules(copied=True)) != replace(held(), seed=1)
