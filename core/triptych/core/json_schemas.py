"""What of JSON Schema an output can be held to; the rest is refused by its place, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Drafts before these mean other things by the same words.
DRAFTS = ("draft-06", "draft-07", "2019-09", "2020-12")
# Keywords that only some drafts have. The others say nothing of what may stand there, so it could be anything.
_DRAFTS_WITH = {
    "$defs": DRAFTS[2:],
    "additionalItems": DRAFTS[:3],
    "dependentSchemas": DRAFTS[2:],
    "if": DRAFTS[1:],
    "then": DRAFTS[1:],
    "else": DRAFTS[1:],
    "prefixItems": DRAFTS[3:],
}
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
    named = str(schema.get("$schema", DRAFTS[-1]))
    draft = next((known for known in DRAFTS if known in named), "")
    if not draft:
        return f"$schema: {named[:100]!r} is none of {', '.join(DRAFTS)}"
    if "x-guidance" in schema:
        return "x-guidance: is not for requests"
    for pointer, part in subschemas(schema):
        if part is not schema and "$schema" in part:
            return f"{pointer}/$schema: one draft holds for all of the schema"
        for keyword, drafts in _DRAFTS_WITH.items():
            if keyword in part and draft not in drafts:
                return f"{pointer}: {keyword} is no keyword of {draft}"
        # A key that comes twice counts twice in the grammar, and once for whoever reads the document.
        if part.get("minProperties", 0) > len(set(part.get("required", ()))) + 1:
            return f"{pointer}: minProperties is enforced up to one more than there are required properties"
    return ""


def patterns_of(schema: dict[str, Any]) -> tuple[str, ...]:
    """Gives the regular expressions of a schema, of texts and of names."""
    found = [
        pattern
        for _, part in subschemas(schema)
        for pattern in (part.get("pattern"), *part.get("patternProperties", ()))
        if isinstance(pattern, str)
    ]
    return tuple(dict.fromkeys(found))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
