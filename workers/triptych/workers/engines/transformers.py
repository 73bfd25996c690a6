"""Runs any image-text-to-text model of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from triptych.core.errors import FieldInvalid
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.base import Engine
from triptych.workers.engines.generation import Prompt, generate
from triptych.workers.engines.reader import device_of, estimated_tokens


class TransformersEngine(Engine[Prompt, VisionResult]):
    """A vision-language model loaded by its processor and model classes, whatever family it is.

    Args:
        folder: As transformers saves it.
        model: What results say.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
        dtype: Of the weights; None: float32 on a CPU (batches then change no text), bfloat16 on a GPU.
    """

    def __init__(
        self, folder: Path, model: ModelRef, *, device: str, threads: int, dtype: torch.dtype | None = None
    ) -> None:
        self.model = model
        self._folder = folder
        self._device = device_of(device)
        self._threads = threads
        self._dtype = dtype or (torch.float32 if self._device == "cpu" else torch.bfloat16)

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        self._processor: Any = AutoProcessor.from_pretrained(self._folder, local_files_only=True)
        self._processor.tokenizer.padding_side = "left"
        model = AutoModelForImageTextToText.from_pretrained(self._folder, dtype=self._dtype, local_files_only=True)
        self._network: Any = model.to(self._device).eval()

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its images, and of the longest answer."""
        return estimated_tokens(item) + item.max_output_tokens

    def batch_key(self, item: Prompt) -> tuple[int, bool]:
        """Prompts of like length share a batch; those with images do not wait for those without."""
        images = any(not isinstance(part, str) for _, parts in item.turns for part in parts)
        return int(estimated_tokens(item)).bit_length(), images

    def run_batch(self, items: Sequence[Prompt]) -> list[VisionResult | Exception]:
        """See `Engine.run_batch`."""
        outcomes: list[VisionResult | Exception | None] = [self._template_error(item) for item in items]
        good = [index for index, outcome in enumerate(outcomes) if outcome is None]
        if good:
            prompts = [items[index] for index in good]
            inputs = self._processor.apply_chat_template(
                [_conversation(prompt) for prompt in prompts],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            ).to(self._device, dtype=self._dtype)
            results = generate(self._network, self._processor.tokenizer, inputs, prompts, self.model)
            for index, result in zip(good, results, strict=True):
                outcomes[index] = result
        return [outcome for outcome in outcomes if outcome is not None]

    def _template_error(self, item: Prompt) -> Exception | None:
        """What the model's own template says against the conversation (a role it does not know, say)."""
        try:
            self._processor.apply_chat_template([_conversation(item)], add_generation_prompt=True, tokenize=False)
        except Exception as error:  # noqa: BLE001 - templates are programs of the model's and raise what they like
            return FieldInvalid("messages", f"the model's chat template refuses them: {error}")
        return None


def _conversation(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": Image.fromarray(part)}
                for part in parts
            ],
        }
        for role, parts in prompt.turns
    ]
