"""The rules of the contract for what a generated text is held to; services and workers ask the same."""

from __future__ import annotations

from triptych.core.errors import FieldInvalid
from triptych.core.output_grammar import check_regex
from triptych.v1.vision_pb2 import GenerationConfig, VisionSpec

MAX_REGEX_BYTES = 4 * 1024
MAX_CHOICES = 256
MAX_CHOICES_BYTES = 32 * 1024
OUTPUT_OPTIONS = ("output_json_schema", "output_regex", "output_choices", "enable_copying")


def output_options(config: GenerationConfig) -> list[str]:
    """Names the options of a request that hold the text to something."""
    return [name for name in OUTPUT_OPTIONS if getattr(config, name)]


def check_output_options(spec: VisionSpec, path: str) -> None:
    """Checks all but what a JSON Schema says.

    Args:
        spec: The conversation and how to continue it.
        path: Field that holds it.

    Raises:
        FieldInvalid: They contradict each other, are too large, or cannot be enforced.
    """
    config, place = spec.config, f"{path}.config"
    asked = output_options(config)
    if len(asked) > 1:
        raise FieldInvalid(f"{place}.{asked[1]}", f"stands beside {asked[0]}; at most one of them can be asked for")
    if asked and config.stop_sequences:
        raise FieldInvalid(f"{place}.stop_sequences", f"would cut what {asked[0]} asks for")
    if config.output_regex:
        if (size := len(config.output_regex.encode())) > MAX_REGEX_BYTES:
            raise FieldInvalid(f"{place}.output_regex", f"has {size} bytes; at most {MAX_REGEX_BYTES} are allowed")
        check_regex(config.output_regex, f"{place}.output_regex")
    _check_choices(list(config.output_choices), f"{place}.output_choices")
    if config.enable_copying and not any(part.HasField("image") for turn in spec.messages for part in turn.parts):
        raise FieldInvalid(f"{place}.enable_copying", "needs an image: what is copied is the text recognized in it")


def _check_choices(choices: list[str], field: str) -> None:
    if len(choices) > MAX_CHOICES:
        raise FieldInvalid(field, f"has {len(choices)} items; at most {MAX_CHOICES} are allowed")
    if (size := sum(len(choice.encode()) for choice in choices)) > MAX_CHOICES_BYTES:
        raise FieldInvalid(field, f"has {size} bytes; at most {MAX_CHOICES_BYTES} are allowed")
    for index, choice in enumerate(choices):
        if not choice:
            raise FieldInvalid(f"{field}[{index}]", "is empty")
