"""The rules of the contract that a specification must keep, as far as it alone can tell."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from triptych.core.errors import FeatureDisabled, FieldInvalid, InputTooLarge
from triptych.core.output_options import check_output_options, output_options
from triptych.core.schema_values import wanted_values
from triptych.core.schemas import check_schema
from triptych.core.settings import Settings
from triptych.services.fields import few, in_range, language, need, short
from triptych.v1.common_pb2 import PageRange, TimeRange
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrConfig, OcrMode, OcrSpec
from triptych.v1.reasoning_pb2 import ReasoningSpec
from triptych.v1.transcription_pb2 import SpeakerConfig, TranscriptionConfig, TranscriptionSpec
from triptych.v1.vision_pb2 import ChatMessage, ChatRole, GenerationConfig, ImagePart, VisionSpec

_DOCUMENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_MAX_INT32 = 2**31 - 1


def check_spec(spec: JobSpec, path: str, settings: Settings) -> None:
    """Checks everything but the media and the models.

    Args:
        spec: The specification; its kind is set.
        path: Field that holds it.
        settings: Limits in force.

    Raises:
        FieldInvalid, InputTooLarge, SchemaInvalid, FeatureDisabled: As their names say.
    """
    which = spec.WhichOneof("spec")
    if which is None:
        raise FieldInvalid(path, "exactly one of transcription, ocr, vision and reasoning must be set")
    check = _CHECKS[which]
    check(getattr(spec, which), path, settings)


def _transcription(spec: TranscriptionSpec, path: str, settings: Settings) -> None:
    _transcription_config(spec.config, f"{path}.config")
    if spec.config.HasField("speakers") and not settings.speaker_model:
        raise FeatureDisabled("speakers are not told apart here: TRIPTYCH_SPEAKER_MODEL is empty")


def _transcription_config(config: TranscriptionConfig, path: str) -> None:
    if config.language_code:
        language(config.language_code, f"{path}.language_code")
    in_range(config, "beam_size", 1, 10, path)
    in_range(config, "temperature", 0, 1, path)
    short(config.initial_prompt, 900, f"{path}.initial_prompt")
    few(len(config.hotwords), 0, 64, f"{path}.hotwords")
    for i, word in enumerate(config.hotwords):
        need(bool(word.strip()), f"{path}.hotwords[{i}]", "is empty")
        short(word, 64, f"{path}.hotwords[{i}]")
    _clips(config.clips, f"{path}.clips")
    in_range(config, "audio_stream", 0, 255, path)
    in_range(config.guard, "max_compression_ratio", 0, 100, f"{path}.guard")
    in_range(config.guard, "min_avg_logprob", -100, 0, f"{path}.guard")
    in_range(config.guard, "max_no_speech_probability", 0, 1, f"{path}.guard")
    _speakers(config.speakers, f"{path}.speakers")


def _speakers(config: SpeakerConfig, path: str) -> None:
    least, most = config.min_speaker_count, config.max_speaker_count
    need(0 <= least <= 32, f"{path}.min_speaker_count", f"must be from 0 to 32, not {least}")
    need(0 <= most <= 32, f"{path}.max_speaker_count", f"must be from 0 to 32, not {most}")
    need(most == 0 or most >= least, f"{path}.max_speaker_count", "must be 0 or not below min_speaker_count")


def _clips(clips: Sequence[TimeRange], path: str) -> None:
    end_ms = 0
    for i, clip in enumerate(clips):
        place = f"{path}[{i}]"
        need(clip.start_ms >= 0, f"{place}.start_ms", "must not be negative")
        need(clip.end_ms == 0 or clip.end_ms > clip.start_ms, f"{place}.end_ms", "must be 0 or above start_ms")
        need(clip.end_ms != 0 or i == len(clips) - 1, f"{place}.end_ms", "only the last part may go to the end")
        need(clip.start_ms >= end_ms, f"{place}.start_ms", "parts must be in order and must not overlap")
        end_ms = clip.end_ms


def _ocr(spec: OcrSpec, path: str, settings: Settings) -> None:
    _pages(spec.pages, f"{path}.pages", settings)
    _ocr_config(spec.config, f"{path}.config", settings)


def _ocr_config(config: OcrConfig, path: str, settings: Settings) -> None:
    if config.mode == OcrMode.OCR_MODE_LAYOUT and not (settings.layout_model and settings.table_model):
        raise FeatureDisabled("layout is not found here: TRIPTYCH_LAYOUT_MODEL or TRIPTYCH_TABLE_MODEL is empty")
    few(len(config.language_codes), 0, 8, f"{path}.language_codes")
    for i, code in enumerate(config.language_codes):
        language(code, f"{path}.language_codes[{i}]")
    in_range(config, "render_dpi", 72, 400, path)
    in_range(config, "min_confidence", 0, 1, path)


def _pages(pages: Sequence[PageRange], path: str, settings: Settings) -> None:
    few(len(pages), 0, settings.max_page_count, path)
    asked = 0
    spans = []
    for i, page in enumerate(pages):
        need(page.first_page >= 1, f"{path}[{i}].first_page", "pages count from 1")
        need(
            page.last_page == 0 or page.last_page >= page.first_page,
            f"{path}[{i}].last_page",
            "must be 0 or not below first_page",
        )
        spans.append((page.first_page, page.last_page or _MAX_INT32, i))
        # How many pages "to the end" are is found when the source is opened.
        asked += page.last_page - page.first_page + 1 if page.last_page else 1
    spans.sort()
    for (_, last, _i), (first, _, j) in itertools.pairwise(spans):
        need(first > last, f"{path}[{j}]", "overlaps another range")
    if asked > settings.max_page_count:
        raise InputTooLarge(
            f"{path}: {asked} pages are asked for; at most {settings.max_page_count} are read in one job",
            limit=settings.max_page_count,
            value=asked,
        )


def _vision(spec: VisionSpec, path: str, _settings: Settings) -> None:
    few(len(spec.messages), 1, 32, f"{path}.messages")
    for i, message in enumerate(spec.messages):
        _message(message, f"{path}.messages[{i}]")
    last = len(spec.messages) - 1
    need(
        spec.messages[last].role == ChatRole.CHAT_ROLE_USER,
        f"{path}.messages[{last}].role",
        "the last turn must be of the user",
    )
    _generation_config(spec.config, f"{path}.config")
    check_output_options(spec, path)


def _message(message: ChatMessage, path: str) -> None:
    need(message.role != ChatRole.CHAT_ROLE_UNSPECIFIED, f"{path}.role", "must be set")
    need(len(message.parts) > 0, f"{path}.parts", "is empty")
    for i, part in enumerate(message.parts):
        which = part.WhichOneof("part")
        need(which is not None, f"{path}.parts[{i}]", "exactly one of text and image must be set")
        if which == "image":
            _image(part.image, f"{path}.parts[{i}].image")


def _image(image: ImagePart, path: str) -> None:
    need(image.page_number >= 0, f"{path}.page_number", "pages count from 1")
    box = tuple(image.crop_box)
    if box:
        need(
            len(box) == 4 and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1,
            f"{path}.crop_box",
            "must be x_min, y_min, x_max, y_max with 0 <= min < max <= 1",
        )


def _generation_config(config: GenerationConfig, path: str) -> None:
    in_range(config, "max_output_tokens", 1, 1_000_000, path)
    in_range(config, "temperature", 0, 2, path)
    if config.HasField("top_p"):
        need(0 < config.top_p <= 1, f"{path}.top_p", f"must be above 0 and up to 1, not {config.top_p:g}")
    few(len(config.stop_sequences), 0, 8, f"{path}.stop_sequences")
    for i, stop in enumerate(config.stop_sequences):
        need(bool(stop), f"{path}.stop_sequences[{i}]", "is empty")
    check_schema(config.output_json_schema, f"{path}.output_json_schema")


def _reasoning(spec: ReasoningSpec, path: str, settings: Settings) -> None:
    few(len(spec.documents), 1, 32, f"{path}.documents")
    seen: set[str] = set()
    for i, document in enumerate(spec.documents):
        place = f"{path}.documents[{i}]"
        name = document.document_id or f"d{i + 1}"
        need(
            bool(_DOCUMENT_ID.match(name)), f"{place}.document_id", "must be 1 to 64 characters of letters, digits, _.-"
        )
        need(name not in seen, f"{place}.document_id", f"{name!r} stands twice")
        seen.add(name)
        _pages(document.pages, f"{place}.pages", settings)
        _clips(document.clips, f"{place}.clips")
    short(spec.question, 8000, f"{path}.question")
    check_schema(spec.output_json_schema, f"{path}.output_json_schema")
    if spec.output_json_schema:
        wanted_values(json.loads(spec.output_json_schema), f"{path}.output_json_schema")
    config, place = spec.config, f"{path}.config"
    _ocr_config(config.ocr, f"{place}.ocr", settings)
    _transcription_config(config.transcription, f"{place}.transcription")
    _generation_config(config.generation, f"{place}.generation")
    for name in output_options(config.generation):
        raise FieldInvalid(
            f"{place}.generation.{name}",
            "must be empty; what an answer can be held to is the specification's own output_json_schema",
        )
    in_range(config, "max_evidence_count", 1, 50, place)
    in_range(config, "min_confidence", 0, 1, place)


_CHECKS: dict[str, Callable[[Any, str, Settings], None]] = {
    "transcription": _transcription,
    "ocr": _ocr,
    "vision": _vision,
    "reasoning": _reasoning,
}
