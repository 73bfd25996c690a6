"""What makes two works the same: everything that can change a result, and nothing else.

Options that are not set have their defaults; what names things for people, and which pages are wanted, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from triptych.core.catalog_file import UNPINNED
from triptych.core.release import version
from triptych.core.units import Work, key_of
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_PREFER, OCR_MODE_TEXT, ORIENTATION_MODE_DETECT, OcrSpec
from triptych.v1.transcription_pb2 import (
    CHANNEL_MODE_MIX,
    TRANSCRIPTION_TASK_TRANSCRIBE,
    VAD_MODE_ON,
    WINDOW_MODE_FULL,
    TranscriptionSpec,
)
from triptych.v1.vision_pb2 import VisionSpec
from triptych.workers.engines.speech import Decoding


def reading(spec: OcrSpec, *models: ModelRef, dpi: int, max_page_pixels: int) -> Work:
    """Gives the work whose units are a document's pages.

    Args:
        spec: What to read, and how.
        models: Exact weights that read and, if layout is found, that find it.
        dpi: Resolution in force.
        max_page_pixels: Larger pages of a PDF are drawn at a lower resolution.
    """
    same = OcrSpec(input=_bytes_of(spec.input), config=spec.config)
    config = same.config
    config.ClearField("model")
    config.mode = config.mode or OCR_MODE_TEXT
    config.embedded_text_policy = config.embedded_text_policy or EMBEDDED_TEXT_POLICY_PREFER
    config.orientation_mode = config.orientation_mode or ORIENTATION_MODE_DETECT
    config.render_dpi = dpi
    config.min_confidence = config.min_confidence  # present, even if it is 0
    return _work("ocr", same, *models, limits=[max_page_pixels])


def hearing(spec: TranscriptionSpec, model: ModelRef, decoding: Decoding, speakers: ModelRef | None = None) -> Work:
    """Gives the work whose unit is the transcript.

    Args:
        spec: What to transcribe, and how.
        model: Exact weights that hear.
        decoding: Options in force.
        speakers: Exact weights that tell speakers apart; None: they are not.
    """
    same = TranscriptionSpec(input=_bytes_of(spec.input), config=spec.config)
    config = same.config
    config.ClearField("model")
    config.task = config.task or TRANSCRIPTION_TASK_TRANSCRIBE
    config.vad_mode = config.vad_mode or VAD_MODE_ON
    config.beam_size = decoding.beam_size
    config.audio_stream = config.audio_stream  # present, even if it is 0
    config.channel_mode = config.channel_mode or CHANNEL_MODE_MIX
    config.window_mode = config.window_mode or WINDOW_MODE_FULL
    guard = decoding.guard
    config.guard.max_compression_ratio = guard.max_compression_ratio
    config.guard.min_avg_logprob = guard.min_avg_logprob
    config.guard.max_no_speech_probability = guard.max_no_speech_probability
    return _work("transcription", same, *(model, speakers) if speakers else (model,))


def generating(spec: VisionSpec, model: ModelRef, *, max_output_tokens: int, max_page_pixels: int) -> Work:
    """Gives the work whose unit is the generated turn; one that draws lots without a seed is nobody else's.

    Args:
        spec: The conversation, and how to continue it.
        model: Exact weights that generate.
        max_output_tokens: Bound in force.
        max_page_pixels: Larger pages of a PDF are drawn at a lower resolution.
    """
    same = VisionSpec(messages=spec.messages, config=spec.config)
    for message in same.messages:
        for part in message.parts:
            if part.HasField("image"):
                part.image.input.CopyFrom(_bytes_of(part.image.input))
                part.image.page_number = part.image.page_number or 1
    config = same.config
    config.ClearField("model")
    config.max_output_tokens = max_output_tokens
    greedy = config.temperature == 0
    if greedy:
        for name in ("temperature", "top_p", "seed"):
            config.ClearField(name)
    elif not config.HasField("top_p"):
        config.top_p = 1
    return _work("vision", same, model, limits=[max_page_pixels], repeatable=greedy or config.HasField("seed"))


def _work(kind: str, same: Message, *models: ModelRef, limits: Sequence[int] = (), repeatable: bool = True) -> Work:
    facts = [part.SerializeToString(deterministic=True) for part in (*models, same)]
    return Work(
        kind=kind,
        # The release too: the suite's own code cuts windows, orders lines and writes prompts.
        key=key_of(kind.encode(), version().encode(), *facts, *(b"%d" % limit for limit in limits)),
        shared=repeatable and all(_pinned(model) for model in models),
    )


def _pinned(model: ModelRef) -> bool:
    return model.revision not in ("", UNPINNED) and (not model.HasField("base") or _pinned(model.base))


def _bytes_of(source: InputSource) -> InputSource:
    """The input as its bytes alone: a blob's name is their digest. A password only opens them."""
    return InputSource(blob=source.blob)
