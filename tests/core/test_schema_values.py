"""What a schema asks documents for, and what is refused with its place."""

import pytest

from triptych.core.errors import FieldInvalid
from triptych.core.schema_values import (
    MAX_PLACES,
    MAX_VALUES,
    Fixed,
    Leaf,
    ListOf,
    ObjectOf,
    asks_for_rows,
    leaves,
    pointer,
    wanted_values,
)


def of(**properties):
    return {"type": "object", "properties": properties}


def only(schema):
    node = wanted_values(of(x=schema))
    assert isinstance(node, ObjectOf)
    return node.properties["x"]


@pytest.mark.parametrize(
    ("schema", "kind", "nullable"),
    [
        ({"type": "string"}, "string", False),
        ({}, "string", False),
        ({"type": ["number", "null"]}, "number", True),
        ({"type": "string", "format": "date"}, "date", False),
        ({"type": "string", "format": "uuid"}, "string", False),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer", True),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[0-9]+$"}]}, "number", False),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, "boolean", True),
        ({"allOf": [{"type": "boolean"}]}, "boolean", False),
        ({"enum": ["a", "b", None]}, "choice", True),
        ({"type": ["integer", "string"]}, "integer", False),
    ],
)
def test_a_value_has_a_kind(schema, kind, nullable):
    leaf = only(schema)
    assert isinstance(leaf, Leaf)
    assert (leaf.kind, leaf.nullable) == (kind, nullable)


def test_references_are_followed_and_what_stands_beside_them_counts():
    schema = {
        **of(vendor={"$ref": "#/$defs/Party", "description": "Who sells"}, buyer={"$ref": "#/$defs/Party"}),
        "$defs": {"Party": of(name={"type": "string"})},
    }
    root = wanted_values(schema)
    assert isinstance(root, ObjectOf)
    assert root.properties["vendor"].description == "Who sells"
    assert [path for path, _ in leaves(root)] == [("vendor", "name"), ("buyer", "name")]


def test_lists_and_what_the_schema_says_itself_are_no_values():
    root = wanted_values(
        of(kind={"const": "invoice"}, rows={"items": of(a={}), "maxItems": 3}, tags={"type": "array", "items": {}})
    )
    assert isinstance(root, ObjectOf)
    kind, rows = root.properties["kind"], root.properties["rows"]
    assert isinstance(kind, Fixed)
    assert isinstance(rows, ListOf)
    assert rows.most == 3
    assert asks_for_rows(root)
    assert not asks_for_rows(wanted_values(of(tags={"type": "array", "items": {}})))
    assert [path for path, _ in leaves(root)] == [("rows",), ("tags",)]


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (of(x={"type": "object"}), "/properties/x: is an object without properties"),
        (of(x={"type": "object", "additionalProperties": {"type": "string"}}), "/properties/x: is an object"),
        (of(x={"type": "array"}), "/properties/x/items: says nothing"),
        (of(x={"type": "array", "items": of(y={"type": "array", "items": {}})}), "/properties/x/items/properties/y: "),
        (of(x={"type": "array", "items": {"const": 1}}), "/properties/x/items: is always the same"),
        (of(x={"anyOf": [of(a={}), of(b={})]}), "/properties/x/anyOf: alternatives"),
        (of(x={"allOf": [{"type": "string"}, {"minLength": 2}]}), "/properties/x/allOf: "),
        (of(x={"type": "null"}), "/properties/x/type: null"),
        (of(x={"enum": [[1]]}), "/properties/x/enum: choices"),
        (of(x={"enum": [None]}), "/properties/x/enum: choices"),
        (of(x={"enum": list(range(1001))}), "/properties/x/enum: there are more than 1000"),
        (of(x={"type": ["object", "string"]}), "/properties/x/type: several types"),
        (of(**{"a/b": {"if": {}, "type": "string"}}), "/properties/a~1b/if: "),
        ({"$ref": "#"}, "/$ref: '#' leads nowhere"),
        ({"$ref": "#/$defs/a", "$defs": {"a": of(x={"$ref": "#/$defs/a"})}}, "/properties/x/$ref: refers to itself"),
        ({**of(x={}), "required": ["y"]}, "/required: 'y' is none"),
        (
            of(**{f"p{i}": {"type": "string"} for i in range(MAX_VALUES + 1)}),
            f"/properties/p{MAX_VALUES}: is one value",
        ),
    ],
)
def test_what_cannot_be_looked_for_is_refused_with_its_place(schema, place):
    with pytest.raises(FieldInvalid, match="output_json_schema: ") as refused:
        wanted_values(schema)
    assert refused.value.metadata == {"field": "output_json_schema"}
    assert place in refused.value.message


def test_references_that_double_end_soon():
    doubling = {f"d{i}": of(a={"$ref": f"#/$defs/d{i + 1}"}, b={"$ref": f"#/$defs/d{i + 1}"}) for i in range(14)}
    with pytest.raises(FieldInvalid, match="one value more"):
        wanted_values({"$ref": "#/$defs/d0", "$defs": {**doubling, "d14": {"type": "string"}}})


def test_pointers_are_escaped():
    assert pointer("a/b", 0, "c~d") == "/a~1b/0/c~0d"
    assert pointer() == ""


def test_few_lines_that_stand_for_millions_of_places_are_refused_at_once():
    # Three properties per level refer to the next one: 3^14 places in two kilobytes, and none of them is a value.
    levels = {f"x{i}": of(**{f"p{j}": {"$ref": f"#/$defs/x{i + 1}"} for j in range(3)}) for i in range(14)}
    with pytest.raises(FieldInvalid, match=f"more than the {MAX_VALUES} that"):
        wanted_values({**of(a={"$ref": "#/$defs/x0"}), "$defs": {**levels, "x14": {"const": 1}}})


def test_a_schema_has_no_more_places_than_can_be_walked_quickly():
    deep = {"type": "string"}
    for _ in range(14):
        deep = of(a=deep)
    # Each is one value below fourteen objects.
    with pytest.raises(FieldInvalid, match=f"more than the {MAX_PLACES} that"):
        wanted_values(of(**{f"p{i}": deep for i in range(MAX_VALUES)}))
