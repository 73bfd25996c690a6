"""Runs any image-text-to-text model of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from triptych.core.errors import InputTooLarge
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.adapter import merged
from triptych.workers.engines.base import RunningEngine
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.image_prompts import EncodedImages, ImagePrompts
from triptych.workers.engines.language_model import LanguageModel
from triptych.workers.engines.row_exact import MoreThanCausal
from triptych.workers.engines.running_batch import Ready, ReadyPrompt, RunningBatch
from triptych.workers.engines.torch_device import device_of, memory_errors, memory_meter, weights_bytes
from triptych.workers.memory_meters import MemoryMeter


class TransformersEngine(RunningEngine[Prompt, VisionResult]):
    """A vision-language model loaded by its processor and model classes, whatever family it is.

    Args:
        folder: As transformers saves it.
        model: What results say.
        adapter: Folder of a LoRA adapter to the weights, as peft saves it; None: they are used as they are.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
        dtype: Of the weights; None: float32 on a CPU, bfloat16 on a GPU.
        piece_tokens: Length of the pieces in which prompts are read.
        encoder_cache_bytes: Memory for encoded images.
        on_look: Told whenever an image is looked up there, whether it was there.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelRef,
        *,
        adapter: Path | None = None,
        device: str,
        threads: int,
        dtype: torch.dtype | None = None,
        piece_tokens: int = 512,
        encoder_cache_bytes: int = 0,
        on_look: Callable[[bool], object] = lambda _hit: None,
    ) -> None:
        self.model = model
        self._folder = folder
        self._adapter = adapter
        self._device = device_of(device)
        self._threads = threads
        self._dtype = dtype or (torch.float32 if self._device == "cpu" else torch.bfloat16)
        self._piece_tokens = piece_tokens
        self._cache = EncodedImages(encoder_cache_bytes, on_look)

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        processor: Any = AutoProcessor.from_pretrained(self._folder, local_files_only=True)
        network = AutoModelForImageTextToText.from_pretrained(self._folder, dtype=self._dtype, local_files_only=True)
        self._network: Any = merged(network.to(self._device), self._adapter).eval()
        self._language_model = LanguageModel(self._network, processor.tokenizer, piece_tokens=self._piece_tokens)
        self._prompts = ImagePrompts(processor, self._network, apart=self._language_model.shares)
        if self._language_model.shares and not self._images_are_read_causally():
            self._language_model.let_rows_go_alone()
            self._prompts = ImagePrompts(processor, self._network, apart=False)
        self._prompts.cache = self._cache

    def _images_are_read_causally(self) -> bool:
        """Whether an image's tokens attend to those before them only, as text does: found out by trying."""
        image = np.full((64, 64, 3), 128, np.uint8)
        [result] = self.run_batch([Prompt(turns=(("user", (image, "What is this?")),), max_output_tokens=2)])
        return not isinstance(result, MoreThanCausal)

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`: the weights, and the encoded images that are kept."""
        return weights_bytes(self._network) + self._cache.nbytes()

    def forget(self) -> None:
        """See `Engine.forget`. A batch that runs goes on with the images it began with, and keeps none."""
        self._cache.forget()

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        return memory_meter(self._device)

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its images, and of the longest answer."""
        return item.estimated_tokens() + item.max_output_tokens

    def begin_batch(self) -> RunningBatch:
        """See `RunningEngine.begin_batch`.

        Results are FieldInvalid, InputTooLarge or JobCancelled for a prompt that fails alone.
        """
        return self._language_model.begin_batch(self, self.model)

    def read(self, prompts: Sequence[Prompt], _hear: Callable[[], object]) -> list[Ready]:
        """See `Readings.read`: up to the first one with images, as those take a while to prepare."""
        ready: list[Ready] = []
        for prompt in prompts:
            ready.append(self._ready(prompt))
            if prompt.images():
                break
        return ready

    def _ready(self, prompt: Prompt) -> Ready:
        try:
            with memory_errors():
                inputs = self._prompts.read(prompt)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the prompt's own failure: processors raise what they like
            return error
        length, limit = inputs.ids.shape[1], self._language_model.context_tokens - 1
        if length > limit:
            return InputTooLarge("the prompt is longer than the model can read", limit=limit, value=length)
        limit = self._language_model.answer_tokens(length, prompt.max_output_tokens)
        return ReadyPrompt(inputs=inputs, limit=limit)
