"""Makes the decoder of a speech model on a CPU attend to each row's audio as if the row were alone.

Recordings in a batch differ in length, and padding moves a row within the blocks in which attention is summed. Here
each row's attention runs without its padding; see also `row_exact.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from triptych.workers.engines.row_exact import leave_no_row_alone

_NAME = "triptych_row_exact_hearing"


def make_hearing_row_exact(model: Any) -> None:
    """Changes an encoder-decoder in place. Audio has to be padded on the right; texts of a call are of one length."""
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    leave_no_row_alone(model)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attends row by row where audio is padded.

    Args:
        module: The layer.
        query: Shape (rows, heads, tokens, head size).
        key: Shape (rows, key heads, moments, head size); `value` alike.
        value: See `key`.
        attention_mask: Shape (rows, 1, tokens, moments), true where there is audio; None without padding.
        options: As transformers gives them.

    Returns:
        Shape (rows, tokens, heads, head size).
    """
    if attention_mask is None or getattr(module, "is_causal", False) or attention_mask.dtype != torch.bool:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None
    rows = []
    for row, length in enumerate(attention_mask[:, 0, 0].sum(dim=-1).tolist()):
        one = slice(row, row + 1)
        alone, _ = sdpa_attention_forward(
            module, query[one], key[one, :, :length], value[one, :, :length], None, **options
        )
        rows.append(alone)
    return torch.cat(rows), None
