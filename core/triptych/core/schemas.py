"""Whether a text is a JSON Schema that an answer can be held to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for

from triptych.core.errors import FieldInvalid, SchemaInvalid
from triptych.core.output_grammar import check_schema_grammar

MAX_SCHEMA_BYTES = 32 * 1024


def check_schema(text: str, field: str) -> None:
    """Asks for a JSON Schema, unless the text is empty.

    Raises:
        FieldInvalid: It is too long.
        SchemaInvalid: It is no JSON, no schema, refers to other documents, or says what cannot be enforced.
    """
    if not text:
        return
    if (size := len(text.encode())) > MAX_SCHEMA_BYTES:
        raise FieldInvalid(field, f"has {size} bytes; at most {MAX_SCHEMA_BYTES} are allowed")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise _invalid(field, f"is no JSON: {error}") from error
    except RecursionError as error:
        raise _invalid(field, "is nested too deeply") from error
    if not isinstance(schema, dict):
        raise _invalid(field, "must be a JSON object")
    if not isinstance(schema.get("$schema", ""), str):
        raise _invalid(field, "$schema must be a string")
    try:
        # Every real validator takes a format checker; the protocol in the stubs does not tell. Python must not say what
        # is a regular expression: the grammar's are Rust's.
        validator: Any = validator_for(schema, default=Draft202012Validator)
        validator.check_schema(schema, format_checker=None)
        for reference in _references(schema):
            if not reference.startswith("#"):
                raise _invalid(field, f"refers to {reference[:100]!r}; only references inside the schema are followed")
        check_schema_grammar(text, field)
    except SchemaError as error:
        raise _invalid(field, f"is no JSON Schema: at {error.json_path}: {error.message[:300]}") from error
    except RecursionError as error:
        raise _invalid(field, "is nested too deeply") from error
    except OverflowError as error:
        raise _invalid(field, "has a number that is too large") from error


def _invalid(field: str, message: str) -> SchemaInvalid:
    return SchemaInvalid(f"{field}: {message}", metadata={"field": field})


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
