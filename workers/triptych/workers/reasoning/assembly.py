"""Builds the document that a schema asks for from what was found; what was not found is left out, never made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from triptych.core.errors import OutputInvalid
from triptych.core.schema_values import Fixed, Leaf, ListOf, Node, ObjectOf, pointer
from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue, Evidence
from triptych.workers.kinds.document_check import DocumentCheck, check_document
from triptych.workers.reasoning.candidates import Outcome
from triptych.workers.reasoning.claims import uncitable
from triptych.workers.reasoning.value_names import wanted

Path: TypeAlias = tuple[str, ...]
_CONFLICTING = AnswerStatus.ANSWER_STATUS_CONFLICTING
_FOUND = (AnswerStatus.ANSWER_STATUS_ANSWERED, _CONFLICTING)
_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What was found of a list.

    Attributes:
        items: Of each item, its values by path; the path of an item that is itself a value is empty.
        whole: Whether these are all, as far as anybody knows.
    """

    items: Sequence[Mapping[Path, Outcome]]
    whole: bool = True


Found: TypeAlias = Outcome | Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What `Extraction` says of the same names."""

    output_json: str
    values: list[AnswerValue]
    evidence: list[Evidence]
    status: AnswerStatus.ValueType
    confidence: float | None
    groundedness: float | None
    text: str


@dataclass(slots=True)
class _Part:
    """A part of the document, with what is known of its values."""

    json: Any = _MISSING
    told: list[tuple[str, Outcome]] = field(default_factory=list)
    lines: list[tuple[str, list[tuple[str, Outcome]]]] = field(default_factory=list)
    # Whether all is there that has to be.
    whole: bool = True
    # Whether any value was found in it.
    found: bool = False

    def add(self, other: _Part) -> None:
        self.told += other.told
        self.lines += other.lines
        self.found = self.found or other.found


class Assembly:
    """Puts values where the schema has them.

    Args:
        found: By path: an `Outcome` for every value, `Rows` for every list.
        min_confidence: Values that are less sure are left out, 0 to 1.
        max_evidence_count: Pieces of evidence of one value, at most.
    """

    def __init__(self, found: Mapping[Path, Found], *, min_confidence: float, max_evidence_count: int) -> None:
        self._found = found
        self._min_confidence = min_confidence
        self._max_evidence_count = max_evidence_count
        # Of every value, by its schema.
        self._checks: dict[str, DocumentCheck] = {}

    def document(self, root: Node, schema: Mapping[str, Any]) -> Document:
        """Builds all of it.

        Args:
            root: Places of the schema.
            schema: That the document has to satisfy; if it cannot with what was found, there is none.
        """
        part = self._node(root, (), (), self._found.__getitem__, needed=True)
        output = _valid(schema, part.json) if part.found else ""
        values, evidence = self._numbered(part.told)
        sure = [value.confidence for value in values if value.HasField("confidence")]
        given = [value for value in values if value.status in _FOUND]
        return Document(
            output_json=output,
            values=values,
            evidence=evidence,
            status=_status(part, values, output),
            confidence=sum(sure) / len(sure) if sure else None,
            groundedness=sum(bool(value.evidence_ids) for value in given) / len(given) if given else None,
            text=_text(part.lines, values),
        )

    def _node(
        self, node: Node, path: Path, at: tuple[str | int, ...], found: Callable[[Path], Found], *, needed: bool
    ) -> _Part:
        if isinstance(node, Fixed):
            return _Part(json=node.value)
        if isinstance(node, ObjectOf):
            return self._object(node, path, at, found, needed=needed)
        if isinstance(node, ListOf):
            rows = found(path)
            assert isinstance(rows, Rows)
            return self._list(node, path, at, rows, needed=needed)
        outcome = found(path)
        assert isinstance(outcome, Outcome)
        outcome = self._fitting(node, outcome)
        there = outcome.status in _FOUND
        return _Part(
            json=outcome.value if there else None if node.nullable else _MISSING,
            told=[(pointer(*at), outcome)],
            lines=[(wanted(path, node).phrase, [(pointer(*at), outcome)])],
            whole=there or not needed,
            found=there,
        )

    def _object(
        self, node: ObjectOf, path: Path, at: tuple[str | int, ...], found: Callable[[Path], Found], *, needed: bool
    ) -> _Part:
        whole = _Part(json={})
        for name, child in node.properties.items():
            required = name in node.required
            # A schema that requires nothing wants all of it.
            part = self._node(
                child, (*path, name), (*at, name), found, needed=needed and (required or not node.required)
            )
            whole.add(part)
            whole.whole = whole.whole and part.whole
            if part.json is _MISSING or not (part.found or required or isinstance(child, Leaf | Fixed)):
                continue
            whole.json[name] = part.json
        if not whole.found and node.nullable:
            whole.json = None
        return whole

    def _list(self, node: ListOf, path: Path, at: tuple[str | int, ...], rows: Rows, *, needed: bool) -> _Part:
        whole = _Part(json=[], whole=rows.whole)
        phrase = wanted(path, node).phrase
        for item in rows.items:
            index = len(whole.json)
            if node.most is not None and index >= node.most:
                whole.whole = False
                break
            part = self._node(node.items, (), (*at, index), partial(_of_item, item), needed=False)
            if not part.found or part.json is _MISSING or not _complete(node.items, part.json):
                # A row without what every item has to have would spoil the whole document.
                whole.whole = False
                continue
            whole.json.append(part.json)
            whole.told += part.told
            whole.lines.append((phrase, part.told))
            whole.found = True
        if not whole.json:
            status = AnswerStatus.ANSWER_STATUS_NOT_FOUND if rows.whole else AnswerStatus.ANSWER_STATUS_PARTIAL
            whole.told = [(pointer(*at), Outcome(status=status))]
            whole.lines = [(phrase, whole.told)]
            whole.whole = not needed
            whole.json = None if node.nullable else []
        return whole

    def _fitting(self, leaf: Leaf, outcome: Outcome) -> Outcome:
        """Gives an outcome whose value the schema allows and that is sure enough; else one without a value."""
        if outcome.value is None:
            return outcome
        if outcome.confidence is not None and outcome.confidence < self._min_confidence:
            return Outcome()
        try:
            self._check_of(leaf).check(json.dumps(outcome.value))
        except OutputInvalid:
            return replace(outcome, status=AnswerStatus.ANSWER_STATUS_PARTIAL, value=None, confidence=None)
        if outcome.status == AnswerStatus.ANSWER_STATUS_PARTIAL:
            return replace(outcome, value=None, confidence=None)
        return outcome

    def _check_of(self, leaf: Leaf) -> DocumentCheck:
        schema = json.dumps(leaf.schema)
        if schema not in self._checks:
            self._checks[schema] = DocumentCheck(schema)
        return self._checks[schema]

    def _numbered(self, told: Sequence[tuple[str, Outcome]]) -> tuple[list[AnswerValue], list[Evidence]]:
        values: list[AnswerValue] = []
        evidence: list[Evidence] = []
        for place, outcome in told:
            value = AnswerValue(json_pointer=place, status=outcome.status, raw=outcome.raw, found_by=outcome.found_by)
            if outcome.confidence is not None:
                value.confidence = outcome.confidence
            for one in outcome.evidence[: self._max_evidence_count]:
                own = Evidence()
                own.CopyFrom(one)
                own.evidence_id, own.json_pointer = f"e{len(evidence) + 1}", place
                evidence.append(own)
                value.evidence_ids.append(own.evidence_id)
            values.append(value)
        return values, evidence


def _of_item(item: Mapping[Path, Outcome], path: Path) -> Outcome:
    return item.get(path, Outcome())


def _complete(node: Node, built: Any) -> bool:
    """Whether an item has all that it must have."""
    if not isinstance(node, ObjectOf) or built is None:
        return True
    return node.required <= set(built) and all(
        _complete(child, built[name]) for name, child in node.properties.items() if name in built
    )


def _valid(schema: Mapping[str, Any], built: Any) -> str:
    output = json.dumps(built, ensure_ascii=False) if built is not _MISSING else ""
    try:
        check_document(json.dumps(schema), output)
    except OutputInvalid:
        return ""
    return output


def _status(part: _Part, values: Sequence[AnswerValue], output: str) -> AnswerStatus.ValueType:
    if not part.found:
        partly = any(value.status == AnswerStatus.ANSWER_STATUS_PARTIAL for value in values)
        return AnswerStatus.ANSWER_STATUS_PARTIAL if partly else AnswerStatus.ANSWER_STATUS_NOT_FOUND
    if any(value.status == _CONFLICTING for value in values):
        return _CONFLICTING
    return AnswerStatus.ANSWER_STATUS_ANSWERED if part.whole and output else AnswerStatus.ANSWER_STATUS_PARTIAL


def _text(lines: Sequence[tuple[str, Sequence[tuple[str, Outcome]]]], values: Sequence[AnswerValue]) -> str:
    """Gives a line for every value and every item, with its evidence behind what was found."""
    cited = {value.json_pointer: "".join(f" [{one}]" for one in value.evidence_ids) for value in values}
    written = []
    for phrase, told in lines:
        parts = [f"{_shown(outcome.value)}{cited[place]}" for place, outcome in told if outcome.value is not None]
        differ = ", the documents differ" if any(outcome.status == _CONFLICTING for _, outcome in told) else ""
        written.append(f"{uncitable(phrase)}: {' | '.join(parts) if parts else 'not found'}{differ}")
    return "\n".join(written)


def _shown(value: Any) -> str:
    return uncitable(value) if isinstance(value, str) else json.dumps(value)
