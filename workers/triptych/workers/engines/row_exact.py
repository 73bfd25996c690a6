"""Makes a language model on a CPU give each row of a batch the very numbers that it gives the row alone.

Two things in a batch change a row's numbers, and in bfloat16 now and then its text: padding moves the row in the blocks
in which attention is summed, and the matrix library multiplies a lone row another way than rows in company. Here
attention runs row by row over the row's own tokens, and a lone row is multiplied together with a copy of itself. With
that every row of Qwen2.5 in bfloat16 is equal to the last bit in batches of any size; float32 takes 2.7 times the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Linear
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function
from transformers.modeling_utils import AttentionInterface

from triptych.workers.engines.heeding import heed
from triptych.workers.engines.kv_rows import row_lengths

_NAME = "triptych_row_exact"


class MoreThanCausal(Exception):
    """Some token attends to a later one, or not to all before it. Never leaves an engine."""


def make_row_exact(model: PreTrainedModel, decoder: PreTrainedModel) -> None:
    """Changes a model in place; its rows are then continued through `KvRows`, and prompts read one by one.

    Args:
        model: All of it.
        decoder: The part of it that has the keys and values, of which `causal_only` is true.
    """
    decoder.set_attn_implementation(_NAME)
    leave_no_row_alone(model)


def causal_only(decoder: PreTrainedModel) -> bool:
    """Whether every layer attends to all tokens before, by the attention that transformers lets one replace."""
    layers = DynamicCache(config=decoder.config).layers
    known = all(type(layer) is DynamicLayer for layer in layers) and decoder.config._attn_implementation == "sdpa"
    return known and getattr(decoder, "_supports_attention_backend", False)


def leave_row_exact(decoder: PreTrainedModel) -> None:
    """Has it attend as transformers does again."""
    decoder.set_attn_implementation("sdpa")


def leave_no_row_alone(model: torch.nn.Module) -> None:
    """Has a lone row multiplied together with a copy of itself; changes the model in place.

    That is enough where the rows of a batch are of one length.
    """
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = _CompaniedLinear


class _CompaniedLinear(Linear):
    """A linear layer in which no row is alone."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """See `torch.nn.Linear`."""
        if rows.ndim < 2 or rows.numel() != rows.shape[-1]:
            return super().forward(rows)
        # A true copy: the library takes a view that repeats a row for one row.
        return super().forward(torch.cat([rows, rows]))[:1]


def _mask(*_: int, mask_function: Any = causal_mask_function, **__: Any) -> None:
    """Gives no mask: each row's own tokens are known."""
    if mask_function is not causal_mask_function:
        raise MoreThanCausal


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attends row by row.

    Args:
        module: The layer.
        query: Shape (rows, heads, new tokens, head size); several rows have one new token each.
        key: Shape (rows, key heads, all tokens, head size); `value` alike. Each row's tokens are on the left.
        value: See `key`.
        options: As transformers gives them.

    Returns:
        Shape (rows, new tokens, heads, head size).
    """
    lengths = row_lengths()
    if lengths is None:
        return _attend_by_head(module, query, key, value, **options)
    if query.device.type != "cpu":
        return _attend_masked(module, query, key, value, lengths, **options)
    rows = [
        sdpa_attention_forward(
            module,
            query[row : row + 1],
            key[row : row + 1, :, :length],
            value[row : row + 1, :, :length],
            None,
            **options,
        )[0]
        for row, length in enumerate(lengths)
    ]
    return torch.cat(rows), None


def _attend_masked(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attends for all rows in one call: far quicker on a GPU, where no figure is promised to the last bit."""
    ends = torch.tensor(lengths, device=query.device)[:, None, None, None]
    mask = torch.arange(key.shape[2], device=query.device) < ends
    output, _ = sdpa_attention_forward(module, query, key, value, mask, **options)
    return output, None


def _attend_by_head(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attends causally, head by head: with 8,000 tokens a CPU takes most of a second for all, and heeds nothing.

    New tokens are the last of all.
    """
    heads, queries_a_key = query.shape[1], query.shape[1] // key.shape[1]
    new, all_tokens = query.shape[2], key.shape[2]
    mask = None
    if 1 < new < all_tokens:
        before = torch.arange(all_tokens, device=query.device)
        mask = before <= before[all_tokens - new :, None]
    output = query.new_empty(*query.shape[:1], new, heads, value.shape[3])
    for head in range(heads):
        heed()
        one, shared = slice(head, head + 1), slice(head // queries_a_key, head // queries_a_key + 1)
        found = scaled_dot_product_attention(
            query[:, one],
            key[:, shared],
            value[:, shared],
            attn_mask=mask,
            is_causal=mask is None and new > 1,
            scale=scaling,
        )
        output[:, :, head] = found[:, 0]
    return output, None


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
