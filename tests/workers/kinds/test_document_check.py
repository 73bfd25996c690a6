"""Which documents satisfy a schema, that it takes no time to tell, and that nothing of them is told."""

import json
import time

import pytest

from triptych.core.errors import OutputInvalid
from triptych.workers.kinds.document_check import DocumentCheck, check_document

INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^[A-Z]+-\\d+$"},
        "total": {"type": "number", "multipleOf": 0.01},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["number", "total"],
    "patternProperties": {"^x": {"type": "integer"}},
    "additionalProperties": False,
}


def check(schema, text):
    check_document(json.dumps(schema), text)


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 0.3, "number": "A-7"}',
        '\n{"number":\t"A-7" ,"total":2}\n\n',
        '{"number": "\\u0041-7", "total": 2, "xq": 1, "day": "2024-02-28"}',
    ],
)
def test_order_blanks_and_escapes_are_free(text):
    check(INVOICE, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"number": "A-7"}', "at depth 0: required"),
        ('{"number": "a-7", "total": 2}', "at depth 1: pattern"),
        ('{"number": "A-7", "total": 0.333}', "at depth 1: multipleOf"),
        ('{"number": "A-7", "total": 2, "day": "2024-02-30"}', "at depth 1: format"),
        ('{"number": "A-7", "total": 2, "xq": "1"}', "at depth 1: type"),
        ('{"number": "A-7", "total": 2, "secret": 1}', "at depth 0: additionalProperties"),
        ('{"number": "A-7", "total": NaN}', "could not be checked: ValueError"),
        ('{"number": "A-7", "total": 2', "no JSON from character 28 on"),
        ("[" * 100_000 + "]" * 100_000, "could not be checked: RecursionError"),
    ],
)
def test_what_is_wrong_is_told_without_contents(text, said):
    with pytest.raises(OutputInvalid) as caught:
        check(INVOICE, text)
    assert caught.value.message.endswith(said)


def test_a_hostile_pattern_takes_no_time():
    began = time.monotonic()
    with pytest.raises(OutputInvalid, match="pattern"):
        check({"type": "string", "pattern": "^(a+)+$"}, json.dumps("a" * 40 + "!"))
    check({"type": "object", "patternProperties": {"^(a+)+$": False}}, json.dumps({"a" * 40 + "!": 1}))
    assert time.monotonic() - began < 5


def test_a_long_document_may_take_longer():
    schema = {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}}}
    rows = [{"n": 100_000 + number} for number in range(50_100)]
    check(schema, json.dumps(rows))
    with pytest.raises(OutputInvalid, match="minimum"):
        check(schema, json.dumps([*rows, {"n": -1}]))


def test_one_check_serves_many_documents():
    schema = DocumentCheck(json.dumps(INVOICE))
    texts = ['{"number": "A-7", "total": 2}', '{"number": "a-7", "total": 2}', '{"number": "A-8", "total": 0.3}']
    verdicts = []
    for text in texts * 2000:
        try:
            schema.check(text)
            verdicts.append(True)
        except OutputInvalid:
            verdicts.append(False)
    assert verdicts == [True, False, True] * 2000


def test_a_schema_that_takes_too_long_is_given_up():
    node = {"$defs": {"n": {"anyOf": [{"items": {"$ref": "#/$defs/n"}, "minItems": 9}] * 8}}, "$ref": "#/$defs/n"}
    with pytest.raises(OutputInvalid, match="TooManySteps"):
        check(node, "[" * 12 + "]" * 12)
