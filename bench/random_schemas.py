"""Random JSON Schemas of all that outputs can be held to, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(
    ["a", "b", "total", "naïve key", 'quo"te', "back\\slash", "日本", "😀", "line\nbreak", "a/b~c", ""]
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), max_size=6)
PATTERNS = [
    "^[a-z]+$",
    "^\\d{3}-\\d{2}$",
    "[A-Z]{2}",
    "^(red|green|blue)$",
    "^[^@ ]+@[a-z]+\\.(com|org)$",
    "é+",
    "^$",
    "^\\w{1,5}\\.?$",
]
FORMATS = ["date", "time", "date-time", "ipv4", "ipv6", "uuid", "email", "hostname"]


def _merged(*parts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _strings() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.tuples(st.integers(0, 5), st.integers(0, 8)).map(
        lambda ends: {"minLength": ends[0], "maxLength": sum(ends)}
    )
    return st.one_of(
        st.just({"type": "string"}),
        lengths.map(lambda length: {"type": "string", **length}),
        st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
        st.sampled_from(FORMATS).map(lambda name: {"type": "string", "format": name}),
    )


def _numbers() -> st.SearchStrategy[dict[str, Any]]:
    kind = st.sampled_from(["integer", "number"])
    low, size = st.integers(-1000, 1000), st.integers(1, 500)
    lower, upper = st.sampled_from(["minimum", "exclusiveMinimum"]), st.sampled_from(["maximum", "exclusiveMaximum"])
    bounded = st.tuples(kind, low, size, lower, upper).map(
        lambda all_: {"type": all_[0], all_[3]: all_[1], all_[4]: all_[1] + all_[2] + 1}
    )
    multiple = st.tuples(kind, st.sampled_from([2, 5, 7, 10])).map(
        lambda both: {"type": both[0], "multipleOf": both[1]}
    )
    cents = st.just({"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 50})
    fraction = st.just({"type": "number", "minimum": -0.75, "exclusiveMaximum": 2.5})
    return st.one_of(kind.map(lambda name: {"type": name}), bounded, multiple, cents, fraction)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), TEXTS, st.sampled_from([0.5, -1.25, 3.0])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=3,
)
LEAVES = st.one_of(
    st.sampled_from(
        [{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {"type": ["integer", "boolean"]}]
    ),
    _strings(),
    _numbers(),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/tree"}),
    st.just({"$ref": "#/$defs/either"}),
)


@st.composite
def _objects(draw: Any, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    names = list(properties)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if names:
        schema["required"] = draw(st.lists(st.sampled_from(names), unique=True))
    others = draw(st.sampled_from(["closed", "closed", "open", "typed", "patterned"]))
    if others == "closed":
        schema["additionalProperties"] = False
    elif others == "typed":
        schema["additionalProperties"] = {"type": "integer"}
    elif others == "patterned":
        schema = {"type": "object", "patternProperties": {"^x_": draw(inner)}, "additionalProperties": False}
    return schema


@st.composite
def _arrays(draw: Any, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(inner)}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
    if draw(st.booleans()):
        schema["minItems"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["maxItems"] = schema.get("minItems", 0) + draw(st.integers(0, 3))
    return schema


def _inner(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    some_of = st.lists(inner, min_size=1, max_size=3).map(lambda schemas: {"anyOf": schemas})
    return st.one_of(_objects(inner), _objects(inner), _arrays(inner), some_of)


_DEFS = {
    "tree": {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["v", "kids"],
        "additionalProperties": False,
    },
    "either": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/either"}}, {"type": "string", "maxLength": 4}]},
}
SCHEMAS = st.recursive(LEAVES, _inner, max_leaves=6).map(lambda schema: _merged(schema, {"$defs": _DEFS}))
