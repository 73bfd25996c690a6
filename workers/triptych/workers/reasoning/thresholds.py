"""Holds back what is not sure enough: the whole answer, or single values of a structured one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jsonschema.validators import Draft202012Validator, validator_for

from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.run import Outcome


def held(outcome: Outcome, *, min_confidence: float, min_groundedness: float, schema: str = "") -> Outcome:
    """Gives an outcome without what is below a threshold.

    What nobody knows the confidence of is not held back by it. A value that is held back becomes null, or is left out,
    whichever the schema allows; if it allows neither there is no `output_json`, and `values` says why.

    Args:
        outcome: What the pipeline found.
        min_confidence: 0 to 1, of an answer and of each value.
        min_groundedness: 0 to 1.
        schema: Of `output_json`, if there is one.
    """
    ungrounded = outcome.groundedness is not None and outcome.groundedness < min_groundedness
    if not outcome.values:
        unsure = outcome.confidence is not None and outcome.confidence < min_confidence
        return _nothing(outcome) if unsure or ungrounded else outcome
    if ungrounded:
        return _nothing(outcome)
    weak = [value for value in outcome.values if value.HasField("confidence") and value.confidence < min_confidence]
    if not weak:
        return outcome
    kept = [_withheld(value) if value in weak else value for value in outcome.values]
    if not any(value.status != AnswerStatus.ANSWER_STATUS_NOT_FOUND for value in kept):
        return replace(_nothing(outcome), values=kept)
    dropped = {identifier for value in weak for identifier in value.evidence_ids}
    needed = {identifier for value in kept for identifier in value.evidence_ids}
    sure = [value.confidence for value in kept if value.HasField("confidence")]
    output = _without([value.json_pointer for value in weak], outcome.output_json, json.loads(schema or "{}"))
    return replace(
        outcome,
        status=AnswerStatus.ANSWER_STATUS_PARTIAL,
        text=output or NOT_FOUND,
        output_json=output,
        values=kept,
        evidence=[one for one in outcome.evidence if one.evidence_id not in dropped - needed],
        confidence=sum(sure) / len(sure) if sure else None,
    )


def _nothing(outcome: Outcome) -> Outcome:
    return Outcome(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND, usage=outcome.usage)


def _withheld(value: AnswerValue) -> AnswerValue:
    return AnswerValue(json_pointer=value.json_pointer, status=AnswerStatus.ANSWER_STATUS_NOT_FOUND)


def _without(pointers: list[str], text: str, schema: Mapping[str, Any]) -> str:
    """Gives a document without some values; empty if the schema then no longer holds."""
    document = json.loads(text) if text else None
    # Any: the protocol in the stubs does not tell that a schema is enough.
    check: Any = validator_for(schema, default=Draft202012Validator)(schema)
    for pointer in pointers:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]] or [""]
        parent = document
        for part in way:
            parent = parent[int(part)] if isinstance(parent, list) else (parent or {}).get(part)
        if isinstance(parent, list):
            parent[int(last)] = None
        elif isinstance(parent, dict) and last in parent:
            parent[last] = None
            if not check.is_valid(document):
                del parent[last]
    return json.dumps(document, ensure_ascii=False) if document is not None and check.is_valid(document) else ""
