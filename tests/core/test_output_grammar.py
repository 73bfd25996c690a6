"""Grammars of outputs: what they accept, and what is refused because no output can be held to it."""

import json

import pytest

from triptych.core.errors import FieldInvalid, SchemaInvalid
from triptych.core.output_grammar import (
    check_regex,
    check_schema_grammar,
    choice_grammar,
    json_grammar,
    piece_grammar,
    regex_grammar,
)


def accepts(schema, text):
    return json_grammar(json.dumps(schema)).accepts(text)


def test_a_document_may_have_blanks_but_not_for_ever():
    assert accepts({"type": "array"}, "[ 1,\n  2 ]")
    assert not accepts({"type": "array"}, "[" + " " * 17 + "]")
    assert not accepts({"type": "array"}, " []")


def test_no_escape_hides_a_property():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert accepts(schema, '{"a": 1}')
    assert not accepts(schema, '{"\\u0061": "x"}')
    assert accepts({"type": "string"}, '"tab\\t quote\\" naïve 日本 😀"')


def test_digits_of_a_regular_expression_are_those_of_numbers():
    grammar = regex_grammar(r"\d{2}/\w+")
    assert grammar.accepts("12/é")
    assert not grammar.accepts("١٢/é")
    assert not grammar.accepts("12/é ")


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", r"\bword", "[", "(?P<name"])
def test_what_is_no_regular_expression_or_looks_around_is_refused(pattern):
    with pytest.raises(FieldInvalid, match=r"^config.output_regex: cannot be enforced"):
        check_regex(pattern, "config.output_regex")


@pytest.mark.parametrize("pattern", ["^a$", "a/b", 'say "x"', "new\nline", "a&b~c", "/x/", "#", "(?i)abc", ""])
def test_other_regular_expressions_are_taken_as_they_are(pattern):
    check_regex(pattern, "config.output_regex")


def test_choices_are_whole_and_of_any_characters():
    grammar = choice_grammar(["a", "ab", 'é😀\n"q" \\', "/x/ | y"])
    assert all(grammar.accepts(text) for text in ("a", "ab", 'é😀\n"q" \\', "/x/ | y"))
    assert not any(grammar.accepts(text) for text in ("", "b", "aab", "y"))


def test_a_copy_is_a_run_of_pieces_without_space_around_it():
    grammar = piece_grammar([["Total", "  ", "$", "610.00"], ["due", "\n", "now"]], "not found")
    for text in ("Total", "Total  $", "$610.00", "610.00", "due\nnow", "not found"):
        assert grammar.accepts(text), text
    for text in ("", "610", "Total ", " $", "Total $", "610.00due", "not", "Total  $610.00not found"):
        assert not grammar.accepts(text), text


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"not": {}}, "/: not cannot be enforced"),
        ({"properties": {"a/b": {"items": {"uniqueItems": True}}}}, "/properties/a~1b/items: uniqueItems"),
        ({"if": {}, "then": {}}, "/: if, then cannot be enforced"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "string", "format": "regex"}, "/: Unknown format: regex"),
        (
            {"properties": {"a": {"format": "date"}, "b": {"format": "idn-email"}}},
            "/properties/b: Unknown format: idn-",
        ),
        ({"type": "string", "pattern": "(?!a)"}, "/: regex parse error: (?!a)"),
        (
            {"items": {"anyOf": [{"pattern": "a"}, {"pattern": "/\\d+\\b"}]}},
            "/items/anyOf/1: lookarounds not supported",
        ),
        ({"properties": {"a": {"patternProperties": {"a": {}, "[": {}}}}}, "/properties/a: regex parse error: ["),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "/: oneOf constraints"),
        ({"type": "object", "minProperties": 2}, "/: minProperties is enforced up to one more"),
        (
            {"items": {"properties": {"a": {}}, "maxProperties": 1}, "properties": {}, "maxProperties": 3},
            "/items: min/maxProperties only supported when",
        ),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum (5) is greater than maximum (3)"),
        ({"const": "\u0001"}, "nothing satisfies it"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "nothing satisfies it"),
        ({"items": {"$ref": "#/$defs/b"}}, "/items: Pointer '/$defs/b' does not exist"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "is none of draft-06"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "/items/$schema: one draft"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": 5}, "/: prefixItems is no keyword of"),
        ({"items": {"additionalItems": {"minProperties": "x"}}}, "/items: additionalItems is no keyword of 2020-12"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "x-guidance"),
    ],
)
def test_what_cannot_be_enforced_is_refused_with_its_place(schema, reason):
    with pytest.raises(SchemaInvalid) as refused:
        check_schema_grammar(json.dumps(schema), "config.output_json_schema")
    assert refused.value.message.startswith("config.output_json_schema: ")
    assert reason in refused.value.message
    assert refused.value.metadata["field"] == "config.output_json_schema"


def test_names_of_properties_and_values_are_no_keywords():
    schema = {
        "properties": {"not": {"type": "integer"}, "minProperties": {"const": {"if": 1, "$schema": "x"}}},
        "required": ["not"],
        "title": "a form",
        "description": "of no rules",
        "examples": [{"uniqueItems": True}],
    }
    check_schema_grammar(json.dumps(schema), "schema")


def test_patterns_are_those_of_rust():
    schema = {"type": "string", "pattern": "^\\p{Lu}[\\w--\\d]$"}
    check_schema_grammar(json.dumps(schema), "schema")
    assert accepts(schema, '"Éa"')
    assert not accepts(schema, '"éa"')
    assert not accepts(schema, '"É1"')


def test_hostile_schemas_are_refused_or_compiled_at_once():
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {"type": "null"}}
    check_schema_grammar(json.dumps({"$ref": "#/$defs/d0", "$defs": doubling}), "schema")
    null = {"type": "null"}
    alternatives = [{"anyOf": [{"properties": {f"k{n}{m}": null}} for m in range(8)]} for n in range(12)]
    for schema in (
        {"allOf": alternatives},
        {"type": "string", "allOf": [{"pattern": f"(a|b)*a(a|b){{{20 + n}}}"} for n in range(12)]},
    ):
        with pytest.raises(SchemaInvalid):
            check_schema_grammar(json.dumps(schema), "schema")
