"""What a reasoning request must look like before anything is read."""

from __future__ import annotations

import json
import re

from triptych.core.document_types import DOCUMENT_TYPES
from triptych.core.errors import FieldInvalid
from triptych.core.media import AUDIO_TYPES
from triptych.core.offered import check_offered
from triptych.core.output_options import output_options
from triptych.core.schema_values import wanted_values
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument

MAX_DOCUMENTS = 32
MAX_QUESTION_CHARS = 8000
MAX_EVIDENCE = 50
DEFAULT_EVIDENCE = 10
_DOCUMENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def checked(spec: ReasoningSpec) -> ReasoningSpec:
    """Gives a copy of a request in which every document has its id, after checking all that needs no bytes.

    Raises:
        FieldInvalid: A field is missing, too long or contradicts another; its path is in the error.
        FeatureDisabled: Something that is not offered yet.
    """
    if not 1 <= len(spec.documents) <= MAX_DOCUMENTS:
        raise FieldInvalid("documents", f"give 1 to {MAX_DOCUMENTS} documents, not {len(spec.documents)}")
    if len(spec.question) > MAX_QUESTION_CHARS:
        raise FieldInvalid("question", f"at most {MAX_QUESTION_CHARS} code points, not {len(spec.question)}")
    if spec.output_json_schema:
        wanted_values(json.loads(spec.output_json_schema))
    _check_config(spec)
    check_offered(JobSpec(reasoning=spec))
    request = ReasoningSpec()
    request.CopyFrom(spec)
    seen: dict[str, int] = {}
    for index, document in enumerate(request.documents):
        document.document_id = document.document_id or f"d{index + 1}"
        path = f"documents[{index}]"
        if not _DOCUMENT_ID.fullmatch(document.document_id):
            raise FieldInvalid(f"{path}.document_id", "1 to 64 characters of [A-Za-z0-9_.-]")
        if document.document_id in seen:
            first = seen[document.document_id]
            raise FieldInvalid(f"{path}.document_id", f"'{document.document_id}' is documents[{first}] already")
        seen[document.document_id] = index
        if document.input.WhichOneof("source") is None:
            raise FieldInvalid(f"{path}.input", "set blob, content or uri")
    return request


def check_parts(document: SourceDocument, index: int, media_type: str) -> None:
    """Refuses pages of a recording and clips of a page document.

    Raises:
        FieldInvalid: The document has no such parts.
    """
    if media_type in AUDIO_TYPES and document.pages:
        raise FieldInvalid(f"documents[{index}].pages", f"a recording ({media_type}) has no pages; use clips")
    if media_type in DOCUMENT_TYPES and document.pages:
        raise FieldInvalid(f"documents[{index}].pages", f"{media_type} is read as a whole, not by pages")
    if media_type not in AUDIO_TYPES and document.clips:
        raise FieldInvalid(f"documents[{index}].clips", f"{media_type} has no audio; use pages")


def _check_config(spec: ReasoningSpec) -> None:
    config = spec.config
    for name in output_options(config.generation):
        raise FieldInvalid(
            f"config.generation.{name}", "must be empty; what an answer can be held to is a field of the request"
        )
    if config.HasField("min_confidence") and not 0 <= config.min_confidence <= 1:
        raise FieldInvalid("config.min_confidence", f"0 to 1, not {config.min_confidence:g}")
    if config.HasField("max_evidence_count") and not 1 <= config.max_evidence_count <= MAX_EVIDENCE:
        raise FieldInvalid("config.max_evidence_count", f"1 to {MAX_EVIDENCE}, not {config.max_evidence_count}")
