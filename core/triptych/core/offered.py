"""What the contract has and no engine of this release offers yet: asked for, it is refused at once."""

from __future__ import annotations

from triptych.core.errors import FeatureDisabled
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrConfig
from triptych.v1.reasoning_pb2 import ReasoningStrategy


def check_offered(spec: JobSpec) -> None:
    """Refuses options that would be ignored otherwise. Services ask when a job comes, workers when it runs.

    Raises:
        FeatureDisabled: The message says what to ask for instead.
    """
    which = spec.WhichOneof("spec")
    if which == "ocr":
        _check_ocr(spec.ocr.config)
    elif which == "reasoning":
        config = spec.reasoning.config
        _check_ocr(config.ocr)
        sees = config.strategy == ReasoningStrategy.REASONING_STRATEGY_TEXT_AND_IMAGES
        _refuse(sees, "REASONING_STRATEGY_TEXT_AND_IMAGES", "use AUTO or TEXT, which answer from recognized text")


def _check_ocr(config: OcrConfig) -> None:
    _refuse(config.enable_unwarping, "enable_unwarping", "send flat pages")


def _refuse(asked_for: bool, what: str, instead: str) -> None:
    if asked_for:
        raise FeatureDisabled(f"{what} is not offered yet: {instead}")
