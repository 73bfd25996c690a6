"""What of JSON Schema an output can be held to; the rest is refused by its place, never ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# Drafts before these mean other things by the same words.
DRAFTS = ("draft-06", "draft-07", "2019-09", "2020-12")
# Numbers within bounds and formats are not longer.
_WRITTEN_BYTES = 40
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SCHEMAS = (
    "items",
    "additionalProperties",
    "additionalItems",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
)


def subschemas(schema: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (JSON Pointer, schema) of a schema and of all in it; what only looks like one (a `const`) is left out."""
    if not isinstance(schema, dict):
        return
    yield pointer or "/", schema
    for key in _SCHEMA_MAPS:
        if isinstance(children := schema.get(key), dict):
            for name, child in children.items():
                yield from subschemas(child, f"{pointer}/{key}/{_escaped(name)}")
    for key in _SCHEMA_LISTS:
        if isinstance(items := schema.get(key), list):
            for index, child in enumerate(items):
                yield from subschemas(child, f"{pointer}/{key}/{index}")
    for key in _SCHEMAS:
        yield from subschemas(schema.get(key), f"{pointer}/{key}")


def not_enforced(schema: dict[str, Any]) -> str:
    """Says what in a valid schema no grammar of ours holds an output to, beyond what llguidance refuses itself.

    Returns:
        Place and reason; empty if there is nothing.
    """
    draft = str(schema.get("$schema", DRAFTS[-1]))
    if not any(known in draft for known in DRAFTS):
        return f"$schema: {draft[:100]!r} is none of {', '.join(DRAFTS)}"
    if "x-guidance" in schema:
        return "x-guidance: is not for requests"
    for pointer, part in subschemas(schema):
        if part is not schema and "$schema" in part:
            return f"{pointer}/$schema: one draft holds for all of the schema"
        # A key that comes twice counts twice in the grammar, and once for whoever reads the document.
        if part.get("minProperties", 0) > len(set(part.get("required", ()))) + 1:
            return f"{pointer}: minProperties is enforced up to one more than there are required properties"
    return ""


def obligation(schema: dict[str, Any]) -> int:
    """Gives a bound of the bytes that a document has to have once it has begun any one part of the schema.

    Everything that could be required is added up, so it is many times too high for schemas of alternatives.
    """
    definitions = len(
        json.dumps([schema.get(key, {}) for key in ("$defs", "definitions")], ensure_ascii=False).encode()
    )
    return _obligation(schema, definitions)


def place_of(schema: dict[str, Any], keys: list[str]) -> str:
    """Gives the JSON Pointer of the first schema that has one of the keys; empty if none has."""
    return next((pointer for pointer, part in subschemas(schema) if any(key in part for key in keys)), "")


def _obligation(part: Any, definitions: int) -> int:
    if isinstance(part, list):
        return sum(_obligation(item, definitions) for item in part)
    if not isinstance(part, dict):
        return len(json.dumps(part, ensure_ascii=False).encode()) + 1
    size = definitions if "$ref" in part else 0
    for key, value in part.items():
        size += len(key.encode()) + _obligation(value, definitions)
    length, items = (part.get(key, 0) for key in ("minLength", "minItems"))
    size += length if isinstance(length, int) else 0
    return size * max(items if isinstance(items, int) else 0, 1) + _WRITTEN_BYTES


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
