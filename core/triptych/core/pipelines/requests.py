"""What a request makes of a pipeline: which one it means, whether they fit, and whose word counts."""

from __future__ import annotations

from triptych.core.errors import FieldInvalid
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.pipelines.plan import Plan
from triptych.v1.ocr_pb2 import OcrMode
from triptych.v1.reasoning_pb2 import ReasoningSpec
from triptych.v1.reasoning_service_pb2 import QuestionRule

_WITH_CONFIDENCE = ("answer", "extract")


def chosen(spec: ReasoningSpec, pipelines: Pipelines, path: str = "") -> Plan:
    """Gives the plan that a request means, if the request is right for it.

    Args:
        spec: The request.
        pipelines: What there is.
        path: Field that holds the request, for errors; empty: it is the request itself.

    Raises:
        FieldInvalid: There is no such pipeline, its file is wrong (file, line and reason), or the request has what it
            does not take or lacks what it needs.
    """
    prefix = f"{path}." if path else ""
    name = spec.pipeline or ("extract" if spec.output_json_schema else "answer")
    plan = pipelines.get(name, f"{prefix}pipeline")
    if plan.question == QuestionRule.QUESTION_RULE_REQUIRED and not spec.question.strip():
        raise FieldInvalid(f"{prefix}question", f"is empty; the pipeline {name!r} needs one")
    if plan.question == QuestionRule.QUESTION_RULE_NONE and spec.question.strip():
        raise FieldInvalid(f"{prefix}question", f"must be empty; the pipeline {name!r} takes none")
    generation = spec.config.generation
    if plan.outcome.name == "classify" and (generation.stop_sequences or generation.HasField("max_output_tokens")):
        option = "stop_sequences" if generation.stop_sequences else "max_output_tokens"
        raise FieldInvalid(
            f"{prefix}config.generation.{option}", f"must be left out; it would cut the labels of the pipeline {name!r}"
        )
    extracts = plan.outcome.name == "extract"
    if spec.output_json_schema and not extracts:
        raise FieldInvalid(f"{prefix}output_json_schema", f"must be empty; the pipeline {name!r} does not extract")
    if extracts and not (spec.output_json_schema or plan.schema):
        raise FieldInvalid(f"{prefix}output_json_schema", f"is empty, and {name!r} has no fields of its own")
    if spec.config.min_confidence > 0 and plan.outcome.name not in _WITH_CONFIDENCE:
        raise FieldInvalid(
            f"{prefix}config.min_confidence", f"has no meaning for {name!r}: nobody knows how sure its outcome is"
        )
    return plan


def applied(spec: ReasoningSpec, plan: Plan) -> ReasoningSpec:
    """Gives a copy of a request that says what the plan says where the request says nothing."""
    request = ReasoningSpec()
    request.CopyFrom(spec)
    request.pipeline = plan.name
    if plan.outcome.name == "extract":
        request.output_json_schema = request.output_json_schema or plan.schema
    config, reads = request.config, plan.options("read")
    config.ocr.model = config.ocr.model or plan.models.get("ocr", "")
    config.transcription.model = config.transcription.model or plan.models.get("transcription", "")
    config.generation.model = config.generation.model or plan.models.get("vision", "")
    languages = reads.get("languages", ())
    if not config.ocr.language_codes:
        config.ocr.language_codes.extend(languages)
    if not config.transcription.language_code and len(languages) == 1:
        config.transcription.language_code = languages[0]
    if reads.get("layout") and not config.ocr.mode:
        config.ocr.mode = OcrMode.OCR_MODE_LAYOUT
    if reads.get("speakers") and not config.transcription.HasField("speakers"):
        config.transcription.speakers.SetInParent()
    tokens = plan.outcome.options.get("max_output_tokens")
    if tokens and not config.generation.HasField("max_output_tokens"):
        config.generation.max_output_tokens = tokens
    for name in ("min_confidence", "max_evidence_count"):
        if name in plan.options("verify") and not config.HasField(name):
            setattr(config, name, plan.options("verify")[name])
    return request
