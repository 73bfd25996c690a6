"""The blocking call that a specification belongs to."""

from typing import Any

from triptych.client import AsyncClient
from triptych.v1.job_pb2 import JobResult, JobSpec


async def blocking(client: AsyncClient, spec: JobSpec, **terms: Any) -> JobResult:
    """Asks for a job by the typed call of its kind, and waits.

    Raises:
        TriptychError: As the client's method does.
    """
    kind, result = spec.WhichOneof("spec"), JobResult()
    if kind == "ocr":
        pages = list(spec.ocr.pages)
        result.ocr.CopyFrom(await client.recognize(spec.ocr.input, spec.ocr.config, pages=pages, **terms))
    elif kind == "transcription":
        heard = await client.transcribe(spec.transcription.input, spec.transcription.config, **terms)
        result.transcription.CopyFrom(heard)
    elif kind == "vision":
        *images, prompt = spec.vision.messages[0].parts
        inputs = [part.image.input for part in images]
        result.vision.CopyFrom(await client.generate(prompt.text, inputs, spec.vision.config, **terms))
    else:
        papers = [document.input for document in spec.reasoning.documents]
        result.reasoning.CopyFrom(await client.answer(spec.reasoning.question, papers, **terms))
    return result
