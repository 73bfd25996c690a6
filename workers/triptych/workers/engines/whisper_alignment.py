"""Times text by the attention that Whisper's decoder pays to the audio.

The method is Whisper's own (https://github.com/openai/whisper, `timing.py`): the attention of some heads, smoothed, is
a map of tokens and moments through which dynamic time warping finds the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Head = tuple[int, int]
"""Layer of the decoder, head in it."""


def alignment_heads(network: Any) -> list[Head]:
    """Gives the heads that follow the audio: those that the checkpoint names, else all of the upper half."""
    named = getattr(network.generation_config, "alignment_heads", None)
    if named:
        return [(int(layer), int(head)) for layer, head in named]
    layers, heads = network.config.decoder_layers, network.config.decoder_attention_heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


@contextmanager
def attention_to_audio(network: Any, heads: Sequence[Head]) -> Iterator[list[torch.Tensor]]:
    """Fills a list, while one text is read in the block, with each head's scores of shape (tokens, moments)."""
    parts: dict[tuple[int, str], torch.Tensor] = {}
    scores: list[torch.Tensor] = []
    layers = {layer: network.model.decoder.layers[layer].encoder_attn for layer, _ in heads}
    hooks = [
        getattr(attention, name).register_forward_hook(
            lambda _module, _given, found, at=(layer, name): parts.__setitem__(at, found[0].float())
        )
        for layer, attention in layers.items()
        for name in ("q_proj", "k_proj")
    ]
    try:
        yield scores
    finally:
        for hook in hooks:
            hook.remove()
    for layer, head in heads:
        size = layers[layer].head_dim
        queries, keys = (parts[layer, name][:, head * size : (head + 1) * size] for name in ("q_proj", "k_proj"))
        scores.append(queries @ keys.T * layers[layer].scaling)


def warped(scores: Sequence[torch.Tensor], rows: slice, moments: int, width: int) -> list[tuple[int, int]]:
    """Gives the way through the text as pairs (token, moment), both from 0.

    Args:
        scores: Of `attention_to_audio`.
        rows: The tokens that count.
        moments: Of the audio that hold speech, 20 ms each.
        width: Moments over which attention is smoothed.
    """
    weights = torch.stack(list(scores))[:, :, :moments].softmax(dim=-1)
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    weights = _median((weights - mean) / deviation.clamp_min(torch.finfo(weights.dtype).tiny), width)
    return shortest_way(-weights.mean(dim=0)[rows].double().cpu().numpy())


def shortest_way(costs: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Gives the cheapest monotonic way from one corner of a matrix to the opposite one (dynamic time warping).

    Args:
        costs: Shape (tokens, moments).

    Returns:
        Pairs (token, moment) in order.
    """
    tokens, moments = costs.shape
    totals = np.full((tokens + 1, moments + 1), np.inf)
    totals[0, 0] = 0
    steps = np.full((tokens + 1, moments + 1), -1, np.int8)
    # Cells of one anti-diagonal do not depend on each other.
    for diagonal in range(2, tokens + moments + 1):
        token = np.arange(max(1, diagonal - moments), min(tokens, diagonal - 1) + 1)
        moment = diagonal - token
        both, down, right = totals[token - 1, moment - 1], totals[token - 1, moment], totals[token, moment - 1]
        step = np.where((both < down) & (both < right), 0, np.where((down < both) & (down < right), 1, 2))
        totals[token, moment] = costs[token - 1, moment - 1] + np.choose(step, [both, down, right])
        steps[token, moment] = step
    steps[0, :], steps[:, 0] = 2, 1
    token, moment = tokens, moments
    way = []
    while token > 0 or moment > 0:
        way.append((token - 1, moment - 1))
        step = steps[token, moment]
        token -= step in (0, 1)
        moment -= step in (0, 2)
    return way[::-1]


def _median(weights: torch.Tensor, width: int) -> torch.Tensor:
    """Smooths along the last axis."""
    if weights.shape[-1] <= width // 2:
        return weights
    padded = torch.nn.functional.pad(weights, (width // 2, width // 2), mode="reflect")
    return padded.unfold(-1, width, 1).sort(dim=-1).values[..., width // 2]
