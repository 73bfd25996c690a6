"""Every method of the client as a flow: what `Client` and `AsyncClient` have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.client import blobs, specs, typed
from triptych.client.inputs import LocalInput, Source
from triptych.client.steps import Flow, work
from triptych.client.typed import Terms
from triptych.v1.blob_service_pb2 import Blob
from triptych.v1.common_pb2 import PageRange
from triptych.v1.ocr_pb2 import OcrConfig, OcrResult
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningResult
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionResult
from triptych.v1.vision_pb2 import GenerationConfig, VisionResult


class Calls:
    """Builds flows from plain arguments.

    Args:
        max_inline_bytes: Inputs of one request up to this size travel inside it; larger ones are uploaded.
    """

    def __init__(self, max_inline_bytes: int) -> None:
        self.max_inline_bytes = max_inline_bytes

    def transcribe(
        self,
        audio: Source,
        config: TranscriptionConfig | None,
        terms: Terms,
    ) -> Flow[TranscriptionResult]:
        """Speech to text."""
        (source,) = yield from blobs.as_inputs([audio], self.max_inline_bytes)
        result = yield from typed.run(specs.transcription(source, config), terms)
        return result.transcription

    def recognize(
        self,
        document: Source,
        config: OcrConfig | None,
        pages: Sequence[PageRange],
        password: str,
        terms: Terms,
    ) -> Flow[OcrResult]:
        """Pixels to text."""
        (source,) = yield from blobs.as_inputs([document], self.max_inline_bytes, password)
        result = yield from typed.run(specs.ocr(source, config, pages), terms)
        return result.ocr

    def generate(
        self,
        prompt: str,
        images: Sequence[Source],
        config: GenerationConfig | None,
        terms: Terms,
    ) -> Flow[VisionResult]:
        """Images and text to text."""
        sources = yield from blobs.as_inputs(images, self.max_inline_bytes)
        result = yield from typed.run(specs.vision(prompt, sources, config), terms)
        return result.vision

    def answer(
        self,
        question: str,
        documents: Sequence[Source],
        config: ReasoningConfig | None,
        output_json_schema: Mapping[str, Any] | str,
        pipeline: str,
        terms: Terms,
    ) -> Flow[ReasoningResult]:
        """Documents and a question to an answer with evidence."""
        sources = yield from blobs.as_inputs(documents, self.max_inline_bytes)
        spec = specs.reasoning(question, sources, config, output_json_schema=output_json_schema, pipeline=pipeline)
        return (yield from typed.run(spec, terms)).reasoning

    def upload(self, source: str | os.PathLike[str] | bytes, ttl_s: float | None) -> Flow[Blob]:
        """Uploads a file or bytes."""
        local = yield from work(lambda: LocalInput.of(source))
        return (yield from blobs.upload(local, ttl_s))
