"""Where in a JSON Schema that stands which the grammar refuses: the library says what it is, but not where."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from triptych.core.json_schemas import subschemas

_UNKNOWN_KEYS = "Unimplemented keys: "
# A millisecond each: in a schema of more of them a wrong one may stay without its place.
_MAX_PATTERNS = 64


def located(schema: dict[str, Any], reason: str, why_pattern: Callable[[str], str]) -> str:
    """Adds the JSON Pointer of the part that is refused.

    Args:
        schema: All of it.
        reason: Why its grammar is refused.
        why_pattern: Gives why strings of a pattern are refused, empty if they are not.

    Returns:
        The reason without a place if none is known: two schemas may be at odds, or there are several of the kind.
    """
    if reason.startswith(_UNKNOWN_KEYS):
        keys = json.loads(reason.removeprefix(_UNKNOWN_KEYS))
        places = _places(schema, lambda part: any(key in part for key in keys))
        reason = f"{', '.join(keys)} cannot be enforced"
    elif reason.startswith("Unknown format: "):
        places = _places(schema, lambda part: reason == f"Unknown format: {part.get('format')}")
    elif reason.startswith("Pointer '"):
        places = _places(schema, lambda part: reason == f"Pointer '{part.get('$ref', '')[1:]}' does not exist")
    elif reason.startswith("min/maxProperties"):
        places = _places(schema, _counts_optional)
    elif "regex" in reason:
        patterns = dict.fromkeys(pattern for _, part in subschemas(schema) for pattern in _patterns(part))
        wrong = next((text for text in islice(patterns, _MAX_PATTERNS) if why_pattern(text) == reason), None)
        places = _places(schema, lambda part: wrong in _patterns(part))
    else:
        # Some of them may be all right.
        places = _places(schema, lambda part: "oneOf" in part) if reason.startswith("oneOf") else []
        places = places if len(places) == 1 else []
    return f"{places[0]}: {reason}" if places else reason


def _places(schema: dict[str, Any], concerns: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [pointer for pointer, part in subschemas(schema) if concerns(part)]


def _counts_optional(part: dict[str, Any]) -> bool:
    counted = "minProperties" in part or "maxProperties" in part
    return counted and not set(part.get("properties", ())) <= set(part.get("required", ()))


def _patterns(part: dict[str, Any]) -> list[str]:
    return [*([part["pattern"]] if "pattern" in part else []), *part.get("patternProperties", ())]
