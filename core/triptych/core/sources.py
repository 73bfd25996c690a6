"""Finds the inputs inside a specification, each with its path for error messages."""

from __future__ import annotations

from collections.abc import Iterator

from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec


def inputs(spec: JobSpec) -> Iterator[tuple[str, InputSource]]:
    """Yields (field path, input) for every input of a job, in order; what is yielded may be changed in place."""
    which = spec.WhichOneof("spec")
    if which in ("transcription", "ocr"):
        yield f"{which}.input", getattr(spec, which).input
    elif which == "vision":
        for i, message in enumerate(spec.vision.messages):
            for j, part in enumerate(message.parts):
                if part.HasField("image"):
                    yield f"vision.messages[{i}].parts[{j}].image.input", part.image.input
    elif which == "reasoning":
        for i, document in enumerate(spec.reasoning.documents):
            yield f"reasoning.documents[{i}].input", document.input
