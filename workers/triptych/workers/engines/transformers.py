"""Runs any image-text-to-text model of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from triptych.core.errors import FieldInvalid, InputTooLarge
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.base import Engine
from triptych.workers.engines.constraints import Constraints
from triptych.workers.engines.generation import (
    Prompt,
    cancelled,
    context_tokens,
    end_token_ids,
    generate,
    use_plain_decoding,
)
from triptych.workers.engines.torch_device import device_of, memory_errors, weights_bytes


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
        self._network: Any = (
            AutoModelForImageTextToText.from_pretrained(self._folder, dtype=self._dtype, local_files_only=True)
            .to(self._device)
            .eval()
        )
        use_plain_decoding(self._network)
        tokenizer = self._processor.tokenizer
        self._constraints = Constraints(tokenizer, end_token_ids(self._network, tokenizer))

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`."""
        return weights_bytes(self._network)

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its images, and of the longest answer."""
        return item.estimated_tokens() + item.max_output_tokens

    def batch_key(self, item: Prompt) -> int:
        """Prompts of like length share a batch: padding at most doubles a row."""
        return int(item.estimated_tokens()).bit_length()

    def run_batch(self, items: Sequence[Prompt]) -> list[VisionResult | Exception]:
        """See `Engine.run_batch`.

        Returns:
            FieldInvalid, InputTooLarge or JobCancelled for a prompt that fails alone.
        """
        conversations = [_conversation(item) for item in items]
        outcomes: dict[int, VisionResult | Exception] = {}
        for index, item in enumerate(items):
            error = cancelled() if item.stopped() else self._template_error(conversations[index])
            if error:
                outcomes[index] = error
        with memory_errors():
            while good := [index for index in range(len(items)) if index not in outcomes]:
                inputs = self._inputs([conversations[index] for index in good])
                too_long = self._too_long(inputs)
                if any(too_long):
                    # Rare enough to prepare the others once more.
                    outcomes.update((index, error) for index, error in zip(good, too_long, strict=True) if error)
                    continue
                prompts = [items[index] for index in good]
                results = generate(
                    self._network, self._processor.tokenizer, inputs, prompts, self.model, self._constraints
                )
                outcomes.update(zip(good, results, strict=True))
        return [outcomes[index] for index in range(len(items))]

    def _inputs(self, conversations: list[list[dict[str, Any]]]) -> Any:
        return self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._device, dtype=self._dtype)

    def _template_error(self, conversation: list[dict[str, Any]]) -> FieldInvalid | None:
        """What the model's own template says against the conversation (a role it does not know, say)."""
        try:
            self._processor.apply_chat_template([conversation], add_generation_prompt=True, tokenize=False)
        except Exception as error:  # noqa: BLE001 - templates are programs of the model's and raise what they like
            return FieldInvalid("messages", f"the model's chat template refuses them: {error}")
        return None

    def _too_long(self, inputs: Any) -> list[InputTooLarge | None]:
        limit = context_tokens(self._network) - 1
        return [
            InputTooLarge("the prompt is longer than the model can read", limit=limit, value=length)
            if length > limit
            else None
            for length in inputs["attention_mask"].sum(dim=1).tolist()
        ]


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
