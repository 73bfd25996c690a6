"""Whisper on transformers: fine-tuned checkpoints run as they are, by the rules of the other Whisper engine."""

from __future__ import annotations

from typing import Any

from triptych.workers.engines.torch_device import device_of, memory_meter
from triptych.workers.engines.torch_speech import open_network, open_tokenizer
from triptych.workers.engines.torch_whisper import TorchWhisper
from triptych.workers.engines.whisper import WhisperEngine
from triptych.workers.memory_meters import MemoryMeter


class TransformersWhisperEngine(WhisperEngine):
    """A `WhisperForConditionalGeneration`, or what has its architecture; see `WhisperEngine`."""

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        return memory_meter(device_of(self._device))

    def _open(self) -> tuple[Any, Any]:
        tokenizer = open_tokenizer(self._folder).backend_tokenizer
        network = open_network(self._folder, self._device, self._compute_type, self._threads)
        return TorchWhisper(network, tokenizer), tokenizer
