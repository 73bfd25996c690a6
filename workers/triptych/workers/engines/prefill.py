"""Reads the prompts of a batch one by one, so that none pays for the length of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from triptych.workers.engines.heeding import Unwanted
from triptych.workers.engines.torch_heeding import model_left_when


def left_padded(prompts: Sequence[Sequence[int]], device: str) -> dict[str, Any]:
    """Gives `input_ids` and `attention_mask` of shape (rows, tokens), padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def read_prompts(model: Any, inputs: dict[str, Any], stopped: Sequence[Callable[[], bool]]) -> DynamicCache | None:
    """Gives the keys and values of all tokens but each prompt's last, with which generating begins.

    Args:
        model: A causal language model.
        inputs: Of `left_padded`.
        stopped: Per row, whether nobody wants it any more. All are asked all the time, so that each is heard at once;
            the row being read is left at the next matrix multiplication. Zeros stand for a row that was not read.

    Returns:
        None if no row was read.
    """
    ids = inputs["input_ids"]
    row_count, longest = ids.shape
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    layers: list[tuple[torch.Tensor, torch.Tensor]] = []
    for row, length in enumerate(lengths):
        first = longest - length
        try:
            with model_left_when(model, lambda row=row: [stop() for stop in stopped][row]):  # type: ignore[misc]
                alone = model(input_ids=ids[row : row + 1, first:-1], use_cache=True, logits_to_keep=1).past_key_values
        except Unwanted:
            continue
        if not layers:
            layers = [
                (_room(row_count, longest - 1, layer.keys), _room(row_count, longest - 1, layer.values))
                for layer in alone.layers
            ]
        for (keys, values), layer in zip(layers, alone.layers, strict=True):
            keys[row, :, first:] = layer.keys[0]
            values[row, :, first:] = layer.values[0]
    return DynamicCache(layers) if layers else None


def _room(row_count: int, token_count: int, like: torch.Tensor) -> torch.Tensor:
    _, heads, _, size = like.shape
    return like.new_zeros(row_count, heads, token_count, size)
