"""The tables of a report: values of a structured answer, documents, models, stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from triptych.cli.printing import clock, enum_word
from triptych.cli.report.documents import Document
from triptych.cli.report.markup import Content, Html, table, tag

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import ReasoningResult


def values_table(result: ReasoningResult, cite: Mapping[str, Html]) -> Html | None:
    """Gives what is known of each value of a structured answer; None if it has none.

    Args:
        result: Of the question.
        cite: Links to the evidence, by its id.
    """
    from triptych.v1.reasoning_pb2 import AnswerStatus

    if not result.values:
        return None
    whole = json.loads(result.answer.output_json) if result.answer.output_json else None
    rows: list[list[Content]] = [
        [
            tag("code", value.json_pointer),
            _written(_at(whole, value.json_pointer)),
            tag("span", value.raw, dir="auto"),
            enum_word(AnswerStatus, value.status).replace("_", " "),
            f"{value.confidence:.2f}" if value.HasField("confidence") else "",
            [[cite.get(key, key), " "] for key in value.evidence_ids],
            ", ".join(value.found_by),
        ]
        for value in result.values
    ]
    columns = ("Place", "Value", "As the document has it", "Status", "Confidence", "Evidence", "Found by")
    return table(columns, rows, "Values")


def documents_table(result: ReasoningResult, documents: Mapping[str, Document]) -> Html | None:
    """Gives what became of each document."""
    rows: list[list[Content]] = []
    for report in result.documents:
        found = documents.get(report.document_id)
        length = clock(report.audio_duration_ms) if report.audio_duration_ms else str(report.page_count or "")
        failure = tag("strong", report.error.message, class_="bad") if report.HasField("error") else "read"
        name = tag("span", found.name if found else report.document_id, dir="auto")
        rows.append([report.document_id, name, report.media_type, length, failure, tag("code", _short(report.digest))])
    return (
        table(("Id", "Document", "Type", "Pages or length", "Outcome", "Digest"), rows, "Documents") if rows else None
    )


def models_table(result: ReasoningResult) -> Html | None:
    """Gives the weights that were used, with revision and licence; the base of an adapter too."""
    used: dict[tuple[str, ...], None] = {}
    for stage in result.stages:
        model = stage.model
        while model.model:
            used[model.model, model.revision, model.engine, model.licence] = None
            model = model.base
    rows = [
        [name, tag("code", revision), tag("span", engine, class_="long"), licence]
        for name, revision, engine, licence in used
    ]
    return table(("Model", "Revision", "Engine", "Licence"), rows, "Models") if rows else None


def stages_table(result: ReasoningResult) -> Html | None:
    """Gives what ran and how long it took."""
    rows = [
        [
            stage.stage,
            f"{stage.elapsed.ToMilliseconds() / 1000:.2f} s",
            "yes" if stage.cached else "",
            stage.model.model,
            tag("code", stage.job),
        ]
        for stage in result.stages
    ]
    return (
        table(("Stage", "Time", "Known already", "Model", "Job"), rows, "Stages, queueing included") if rows else None
    )


def _at(value: Any, pointer: str) -> Any:
    """Gives what a JSON Pointer (RFC 6901) points at; None if there is nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value


def _written(value: Any) -> Html:
    """Writes a value as people read it: texts as they are, nothing as a dash."""
    if isinstance(value, str):
        return tag("span", value, dir="auto")
    return tag("span", "–" if value is None else json.dumps(value, ensure_ascii=False))


def _short(digest: str) -> str:
    kind, dash, value = digest.partition("-")
    return f"{kind}{dash}{value[:12]}"
