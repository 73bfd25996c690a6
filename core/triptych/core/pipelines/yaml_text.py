"""Reads the part of YAML that pipelines are written in, and knows the line of everything in it.

Texts, numbers, booleans, null, lists and mappings with texts as keys: whatever else YAML can say is refused, by its
line. Nothing is ever constructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own
from yaml.constructor import SafeConstructor  # type: ignore[import-untyped]

from triptych.core.pipelines.plan import Mistake, PlanInvalid

Node: TypeAlias = Any
"""A node of PyYAML's `compose`."""
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_MAX_DEPTH = 50
_MAPPING, _LIST = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


def parse(text: str, file: str) -> Node:
    """Gives the root of a document.

    Raises:
        PlanInvalid: It is no YAML, or more of YAML than is read here.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _wrong(file, event, f"*{event.anchor} stands for another place; write it out")
            if getattr(event, "anchor", None):
                raise _wrong(file, event, f"&{event.anchor}: places have no names here")
            if getattr(event, "tag", None):  # what has none of its own has None here
                raise _wrong(file, event, f"the tag {event.tag} is not read here; if it is text, put it in quotes")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:  # PyYAML takes a time that grows with its square
                raise _wrong(file, event, "is nested too deeply")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.context, error.problem)))
        raise PlanInvalid(Mistake(file=file, line=mark.line + 1 if mark else 1, reason=f"no YAML: {reason}")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"no YAML: the character {chr(error.character)!r} must not stand here"
        raise PlanInvalid(Mistake(file=file, line=line, reason=reason)) from None
    if root is None:
        raise PlanInvalid(Mistake(file=file, line=1, reason="is empty"))
    return root


def line_of(node: Node) -> int:
    """Gives the line of a node, from 1."""
    return int(node.start_mark.line) + 1


def pairs(node: Node, file: str) -> Iterator[tuple[str, Node, Node]]:
    """Yields (key, its node, its value's node) of a mapping.

    Raises:
        PlanInvalid: It is no mapping, or a key is no text or stands twice.
    """
    if node.tag != _MAPPING:
        raise _wrong(file, node, f"has to be a mapping (name: value), not {kind_of(node)}")
    seen: dict[str, int] = {}
    for key, value in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            raise _wrong(file, key, f"a key has to be text, not {kind_of(key)}; put it in quotes")
        if key.value in seen:
            raise _wrong(file, key, f"{key.value!r} stands twice, first in line {seen[key.value]}")
        seen[key.value] = line_of(key)
        yield key.value, key, value


def plain(node: Node, file: str) -> Any:
    """Gives a node as what JSON would have there.

    Raises:
        PlanInvalid: Somewhere in it is what JSON does not have.
    """
    if node.tag == _MAPPING:
        return {key: plain(value, file) for key, _, value in pairs(node, file)}
    if node.tag == _LIST:
        return [plain(item, file) for item in node.value]
    if node.tag not in _PLAIN or not isinstance(node, yaml.ScalarNode):
        raise _wrong(file, node, f"{kind_of(node)} is not read here; if it is text, put it in quotes")
    try:
        value = SafeConstructor().construct_object(node)
    except (ValueError, yaml.YAMLError):
        raise _wrong(file, node, f"{node.value!r} is not {kind_of(node)}") from None
    if isinstance(value, float) and value - value != 0:
        raise _wrong(file, node, f"{node.value} is no number of JSON")
    return value


def kind_of(node: Node) -> str:
    """Names what a node is, for people."""
    name = str(node.tag).rpartition(":")[2]
    return {
        "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "nothing",
        "map": "a mapping", "seq": "a list", "timestamp": "a date", "merge": "a merge key",
    }.get(name, f"the type {node.tag}")  # fmt: skip


def at_pointer(node: Node, parts: list[str]) -> Node:
    """Gives the node at a JSON Pointer, or the last one on the way that there is."""
    for part in parts:
        found = None
        if node.tag == _MAPPING:
            found = next((value for key, value in node.value if key.value == part), None)
        elif node.tag == _LIST and part.isdecimal() and int(part) < len(node.value):
            found = node.value[int(part)]
        if found is None:
            break
        node = found
    return node


def _wrong(file: str, node: Any, reason: str) -> PlanInvalid:
    return PlanInvalid(Mistake(file=file, line=line_of(node), reason=reason))
