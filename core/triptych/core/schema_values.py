"""The values that a JSON Schema asks documents for; a schema in which there is something else to find is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from triptych.core.errors import FieldInvalid

# Each of them may be a question to a model.
MAX_VALUES = 100
# With the objects and lists around them: few lines that refer to each other can stand for any number of them.
MAX_PLACES = 1000
MAX_DEPTH = 16
# Each is compared with what stands in the documents.
MAX_CHOICES = 1000
SCALARS = ("string", "number", "integer", "boolean")
FORMATS = ("date", "date-time", "time", "email", "uri")
# They make what is asked for depend on what is found, or leave open what that is.
_OPEN = (
    "if", "then", "else", "not", "contains", "dependentSchemas", "dependentRequired", "dependencies",
    "patternProperties", "prefixItems", "additionalItems", "propertyNames", "unevaluatedProperties",
    "unevaluatedItems", "$dynamicRef",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place of a document that satisfies the schema.

    Attributes:
        name: Name of the property; empty for the whole document and for items of a list.
        title: The schema's, else empty.
        description: The schema's, else empty.
        nullable: Whether null may stand there.
        schema: What else must stand there, references followed.
    """

    name: str = ""
    title: str = ""
    description: str = ""
    nullable: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf(Place):
    """A value to look for.

    Attributes:
        kind: One of `SCALARS` and `FORMATS`, or "choice".
        choices: What the value is one of; empty unless it is a choice.
    """

    kind: str
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed(Place):
    """A value that the schema itself says.

    Attributes:
        value: That one.
    """

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOf(Place):
    """Named places.

    Attributes:
        properties: By name, in the schema's order.
        required: Names of those that must be there.
    """

    properties: Mapping[str, Node]
    required: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Place):
    """Any number of the same: values, or objects of values.

    Attributes:
        items: What each is.
        most: How many there may be; None: any number.
    """

    items: Node
    most: int | None


Node: TypeAlias = Leaf | Fixed | ObjectOf | ListOf


def wanted_values(schema: Mapping[str, Any], field_path: str = "output_json_schema") -> Node:
    """Gives the places of a valid JSON Schema.

    Args:
        schema: Of the draft that `$schema` names, else 2020-12.
        field_path: Field that holds it, for errors.

    Raises:
        FieldInvalid: There are other places than objects, lists and values, or too many values; the message begins with
            the JSON Pointer of the place.
    """
    return _Walk(schema, field_path).node(schema, "", "", (), in_list=False)


def asks_for_rows(node: Node) -> bool:
    """Whether there is a list of objects in it: rows of a table, as a rule."""
    if isinstance(node, ListOf):
        return isinstance(node.items, ObjectOf)
    return isinstance(node, ObjectOf) and any(asks_for_rows(child) for child in node.properties.values())


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf | ListOf]]:
    """Yields (path, place) of the values and lists of an object; what is in its lists is left to them."""
    if isinstance(node, Leaf | ListOf):
        yield path, node
    elif isinstance(node, ObjectOf):
        for name, child in node.properties.items():
            yield from leaves(child, (*path, name))


def pointer(*parts: str | int) -> str:
    """Gives the JSON Pointer (RFC 6901) of a path; empty for the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


class _Walk:
    def __init__(self, root: Mapping[str, Any], field_path: str) -> None:
        self._root = root
        self._field = field_path
        self._left = MAX_VALUES
        self._places_left = MAX_PLACES

    def node(self, schema: Any, at: str, name: str, refs: tuple[str, ...], *, in_list: bool) -> Node:
        if at.count("/") > 4 * MAX_DEPTH:
            raise self._refused(at, "is nested too deeply")
        self._places_left -= 1
        if self._places_left < 0:
            raise self._refused(at, f"is one place more than the {MAX_PLACES} that a schema may have")
        if not isinstance(schema, dict):
            raise self._refused(at, "says nothing of what is to be found")
        schema, nullable, refs = self._plain(schema, at, refs)
        told: dict[str, Any] = {
            "name": name,
            "title": str(schema.get("title", "")),
            "description": str(schema.get("description", "")),
            "nullable": nullable,
            "schema": schema,
        }
        for keyword in _OPEN:
            if keyword in schema:
                raise self._refused(f"{at}/{keyword}", "values cannot be looked for by this keyword")
        if "const" in schema:
            self._count(at)
            return Fixed(value=schema["const"], **told)
        if "enum" in schema:
            return self._choice(schema, at, told)
        kind = self._kind(schema, at)
        if kind == "object":
            return self._object(schema, at, told, refs, in_list=in_list)
        if kind == "array":
            if in_list:
                raise self._refused(at, "is a list within a list")
            items = self.node(schema.get("items"), f"{at}/items", "", refs, in_list=True)
            if isinstance(items, Fixed):
                raise self._refused(f"{at}/items", "is always the same")
            return ListOf(items=items, most=schema.get("maxItems"), **told)
        self._count(at)
        form = schema.get("format")
        return Leaf(kind=form if kind == "string" and form in FORMATS else kind, **told)

    def _plain(
        self, schema: dict[str, Any], at: str, refs: tuple[str, ...]
    ) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
        """Follows references and takes null out of alternatives: (schema, whether null may stand there, references)."""
        nullable = False
        while True:
            for keyword in ("$ref", "allOf", "anyOf", "oneOf"):
                if keyword in schema:
                    break
            else:
                return *self._type_without_null(schema, nullable), refs
            rest = {key: value for key, value in schema.items() if key != keyword}
            if keyword == "$ref":
                if schema["$ref"] in refs or len(refs) > MAX_DEPTH:
                    raise self._refused(f"{at}/$ref", "refers to itself")
                refs = (*refs, schema["$ref"])
                inner = self._referred(schema["$ref"], at)
            else:
                inner, with_null = self._alternative(schema[keyword], f"{at}/{keyword}")
                nullable = nullable or with_null
            schema = {**inner, **rest}

    def _alternative(self, parts: list[Any], at: str) -> tuple[dict[str, Any], bool]:
        """Gives the one alternative beside null: of several values the first."""
        others = [part for part in parts if isinstance(part, dict) and part.get("type") != "null"]
        if len(others) != 1 and (
            at.endswith("allOf") or not others or any(part.get("type") not in SCALARS for part in others)
        ):
            raise self._refused(at, "alternatives can only be values and null")
        return others[0], len(others) < len(parts)

    def _type_without_null(self, schema: dict[str, Any], nullable: bool) -> tuple[dict[str, Any], bool]:
        types = schema.get("type")
        if "enum" in schema and None in schema["enum"]:
            values = [value for value in schema["enum"] if value is not None]
            schema, nullable = {**schema, "enum": values}, True
        if not isinstance(types, list):
            return schema, nullable
        others = [name for name in types if name != "null"]
        return {**schema, "type": others[0] if len(others) == 1 else others}, nullable or "null" in types

    def _referred(self, reference: str, at: str) -> dict[str, Any]:
        found: Any = self._root
        for part in unquote(reference).lstrip("#").split("/")[1:]:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not reference.startswith("#/") or not isinstance(found, dict):
            raise self._refused(f"{at}/$ref", f"{reference[:100]!r} leads nowhere")
        return found

    def _kind(self, schema: dict[str, Any], at: str) -> str:
        types = schema.get("type")
        if isinstance(types, list):
            if not types or any(name not in SCALARS for name in types):
                raise self._refused(f"{at}/type", "several types can only be of values")
            types = types[0]
        if types == "null":
            raise self._refused(f"{at}/type", "null is nothing to look for")
        return str(types or ("object" if "properties" in schema else "array" if "items" in schema else "string"))

    def _choice(self, schema: dict[str, Any], at: str, told: dict[str, Any]) -> Leaf:
        self._count(at)
        if not schema["enum"] or any(isinstance(value, dict | list) for value in schema["enum"]):
            raise self._refused(f"{at}/enum", "choices can only be values")
        if len(schema["enum"]) > MAX_CHOICES:
            raise self._refused(f"{at}/enum", f"there are more than {MAX_CHOICES} choices")
        return Leaf(kind="choice", choices=tuple(schema["enum"]), **told)

    def _object(
        self, schema: dict[str, Any], at: str, told: dict[str, Any], refs: tuple[str, ...], *, in_list: bool
    ) -> ObjectOf:
        properties = schema.get("properties") or {}
        if not properties:
            raise self._refused(at, "is an object without properties: name what is to be found")
        required = frozenset(schema.get("required", ()))
        for name in sorted(required - set(properties)):
            raise self._refused(f"{at}/required", f"{name[:100]!r} is none of the properties")
        children = {
            name: self.node(child, f"{at}/properties{pointer(name)}", name, refs, in_list=in_list)
            for name, child in properties.items()
        }
        return ObjectOf(properties=children, required=required, **told)

    def _count(self, at: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._refused(at, f"is one value more than the {MAX_VALUES} that may be asked for")

    def _refused(self, at: str, reason: str) -> FieldInvalid:
        return FieldInvalid(self._field, f"{at or '/'}: {reason}")
