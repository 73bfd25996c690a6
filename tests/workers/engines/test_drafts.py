"""Short endings of texts that have begun."""

import json

import pytest

from triptych.core.output_grammar import json_grammar, regex_grammar
from triptych.workers.engines.drafts import beginning
from triptych.workers.engines.json_shape import JsonShape

TREE = {
    "$ref": "#/$defs/t",
    "$defs": {
        "t": {
            "anyOf": [
                {"type": "object", "properties": {key: value}, "required": [key], "additionalProperties": False}
                for key, value in (("a", {"$ref": "#/$defs/t"}), ("b", {"type": "integer"}))
            ]
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "shortest"),
    [
        ({}, '""'),
        ({"type": "object"}, "{}"),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, '{"a":""}'),
        ({"type": "array", "minItems": 3, "items": {"type": "integer"}}, "[0,0,0]"),
        ({"anyOf": [{"type": "string", "minLength": 100}, {"type": "null"}]}, "null"),
        (TREE, '{"b":0}'),
    ],
)
def test_the_shortest_document_is_found(schema, shortest):
    found = beginning(json_grammar(json.dumps(schema))).shortest.decode()
    assert len(found) <= len(shortest)
    assert json_grammar(json.dumps(schema)).accepts(found)


@pytest.mark.parametrize(
    "pattern",
    ["[a-z]*z", "^(ab)*c[^x]{30}Q$", r"[^@]+@[a-z]+\.(com|org)", "x{2000}", r"\d{4}-(0[1-9]|1[0-2])", "日本(語|人)+",
     ".*[A-Z]{3}.*", r"[\s\S]*Total: \$[0-9]+(.|\n)*", "^x|y$"],
)  # fmt: skip
def test_a_text_is_found_for_regular_expressions_of_many_kinds(pattern):
    grammar = regex_grammar(pattern)
    assert grammar.accepts(beginning(grammar).shortest.decode())


@pytest.mark.parametrize(
    "pattern", ["[A-Z]{2}", "é+", "a.*b.*c{5}", '"x"', "^foo|bar$", r"\$[0-9]+\.[0-9]{2}$", "(?:.*)x{3}"]
)
def test_a_document_is_found_whose_pattern_may_match_anywhere(pattern):
    form = {"type": "array", "items": {"type": "string", "pattern": pattern}, "minItems": 2}
    grammar = json_grammar(json.dumps(form))
    assert grammar.accepts(beginning(grammar).shortest.decode())


def test_a_name_is_found_of_which_only_a_pattern_is_known():
    form = {"patternProperties": {"key_[0-9]{2}": {"type": "null"}}, "additionalProperties": False, "minProperties": 1}
    grammar = json_grammar(json.dumps({"type": "object", **form}))
    assert grammar.accepts(beginning(grammar).shortest.decode())


def test_the_shape_of_a_text_tells_what_is_open():
    assert JsonShape().after(b'{"a}": [1, {"b": "x\\"]').open_count == 4
    assert JsonShape().after(b'{"a": [1, {"b": "x\\\\"}]}').open_count == 0
    assert JsonShape().after(b'["\\').after(b'"').in_string
