"""Builds job specifications from inputs and configs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.core.sources import inputs
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrConfig, OcrSpec
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningSpec, SourceDocument
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionSpec
from triptych.v1.vision_pb2 import ChatMessage, ChatRole, ContentPart, GenerationConfig, ImagePart, VisionSpec


def transcription(audio: InputSource, config: TranscriptionConfig | None = None) -> JobSpec:
    """Speech to text."""
    return JobSpec(transcription=TranscriptionSpec(input=audio, config=config))


def ocr(document: InputSource, config: OcrConfig | None = None, pages: Sequence[PageRange] = ()) -> JobSpec:
    """Pixels to text; no pages means all."""
    return JobSpec(ocr=OcrSpec(input=document, pages=pages, config=config))


def vision(prompt: str, images: Sequence[InputSource], config: GenerationConfig | None = None) -> JobSpec:
    """Images and text to text: one turn of the user, the images first."""
    parts = [ContentPart(image=ImagePart(input=image)) for image in images]
    turn = ChatMessage(role=ChatRole.CHAT_ROLE_USER, parts=[*parts, ContentPart(text=prompt)])
    return JobSpec(vision=VisionSpec(messages=[turn], config=config))


def generation(
    config: GenerationConfig | None = None,
    *,
    json_schema: Mapping[str, Any] | str = "",
    regex: str = "",
    choices: Sequence[str] = (),
    copying: bool = False,
) -> GenerationConfig:
    """Options of a generation whose text is held to something; at most one of the four can be asked for.

    Args:
        config: Other options; left as they are.
        json_schema: The text is a JSON document that satisfies it; `VisionResult.output_json` has it too.
        regex: It matches the whole text.
        choices: The text is one of them.
        copying: The text is copied from the page, word for word, or "not found".
    """
    held = GenerationConfig()
    held.MergeFrom(config or GenerationConfig())
    held.output_json_schema = json_schema if isinstance(json_schema, str) else json.dumps(json_schema)
    held.output_regex = regex
    held.output_choices.extend(choices)
    held.enable_copying = copying
    return held


def reasoning(
    question: str,
    documents: Sequence[InputSource],
    config: ReasoningConfig | None = None,
    *,
    pages: Sequence[PageRange] = (),
    output_json_schema: Mapping[str, Any] | str = "",
    pipeline: str = "",
) -> JobSpec:
    """Documents and a question to an answer; the documents are "d1", "d2", ... and `pages` holds for each.

    Args:
        question: What to answer; empty for pipelines that do without.
        documents: What to answer from.
        config: Options; every field has a server default.
        pages: Pages to use of each document; empty: all.
        output_json_schema: JSON Schema of what to extract.
        pipeline: Name of the plan; empty: "extract" with a schema, else "answer".
    """
    sources = [
        SourceDocument(document_id=f"d{number}", input=document, pages=pages)
        for number, document in enumerate(documents, 1)
    ]
    schema = output_json_schema if isinstance(output_json_schema, str) else json.dumps(output_json_schema)
    spec = ReasoningSpec(
        documents=sources, question=question, output_json_schema=schema, config=config, pipeline=pipeline
    )
    return JobSpec(reasoning=spec)


def open_inputs(spec: JobSpec) -> list[InputSource]:
    """Gives the inputs that have no bytes yet, nor say where they are, in order."""
    return [source for _path, source in inputs(spec) if source.WhichOneof("source") is None]


def filled(spec: JobSpec, sources: Sequence[InputSource]) -> JobSpec:
    """Gives a specification with sources in the places that are open; names that are there already stay."""
    whole = JobSpec()
    whole.CopyFrom(spec)
    for place, source in zip(open_inputs(whole), sources, strict=True):
        name = place.display_name or source.display_name
        place.MergeFrom(source)
        place.display_name = name
    return whole
