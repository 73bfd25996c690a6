"""Reads one prompt in pieces, so that a long one holds up nobody: an image is encoded, or some tokens are read."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache


@dataclass(slots=True, kw_only=True)
class PromptInputs:
    """A prompt as the model takes it."""

    ids: torch.Tensor
    """Shape (1, tokens): the images' placeholders included."""
    images: Sequence[Callable[[], ImageFeatures]] = ()
    """Encodes each image."""
    placeholder: int | None = None
    """The token that stands for a row of an image's features."""
    positional: Mapping[str, Any] = field(default_factory=dict)
    """Of the images, what tells the tokens' positions."""
    whole: Mapping[str, Any] | None = None
    """What the forward pass takes of images where they cannot be encoded apart: the prompt is read in one piece."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """An encoded image."""

    rows: torch.Tensor
    """Shape (placeholders, size of a token's embedding)."""
    deeper: tuple[torch.Tensor, ...] = ()
    """What some families add in their first layers: one each, of the same shape."""
    kind: Callable[..., Any] = dict
    """The type of output in which the model takes them."""

    def nbytes(self) -> int:
        """Gives the memory that it takes."""
        return sum(one.nbytes for one in (self.rows, *self.deeper))


class Prefill:
    """A prompt that is being read.

    Args:
        model: With its language head.
        inputs: The prompt.
        chunk_tokens: Tokens of a piece; pieces begin at multiples of it, whatever else runs, so that no figure depends
            on that. 0: all in one piece.

    Attributes:
        cache: Keys and values of what was read.
        next_position: Of the first token of the answer, as the model counts: shape (..., 1, 1), or None.
        logits: Of the first token of the answer, shape (vocabulary,); None until all is read.
    """

    def __init__(self, model: Any, inputs: PromptInputs, chunk_tokens: int) -> None:
        self.cache = DynamicCache(config=model.config)
        self.logits: torch.Tensor | None = None
        self._model = model
        self._inputs = inputs
        self._length = inputs.ids.shape[1]
        self._chunk_tokens = chunk_tokens if chunk_tokens and inputs.whole is None else self._length
        self._accepted = set(inspect.signature(model.forward).parameters)
        self._positions = self._all_positions()
        self.next_position = None if self._positions is None else self._positions[..., -1:] + 1
        self._waiting = deque(inputs.images)
        self._features: list[ImageFeatures] = []
        self._read = 0

    def step(self) -> int:
        """Encodes the next image, or reads the next tokens; gives how many tokens that was."""
        if self._waiting:
            self._features.append(self._waiting[0]())
            self._waiting.popleft()
            return len(self._features[-1].rows)
        begin, end = self._read, min(self._read + self._chunk_tokens, self._length)
        outputs = self._model(**self._chunk(begin, end), return_dict=True)
        self._read = end
        if end == self._length:
            self.logits = outputs.logits[0, -1]
            self._features.clear()
        return end - begin

    def _all_positions(self) -> torch.Tensor | None:
        if "position_ids" not in self._accepted:
            return None
        ids = self._inputs.ids
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **self._inputs.positional}
        positions: torch.Tensor = self._model._prepare_position_ids_for_generation(ids, asked)
        return positions

    def _chunk(self, begin: int, end: int) -> dict[str, Any]:
        inputs = self._inputs
        options: dict[str, Any] = {"use_cache": True, **(inputs.whole or {})}
        if "logits_to_keep" in self._accepted:
            options["logits_to_keep"] = 1
        if self._positions is not None:
            options["position_ids"] = self._positions[..., begin:end]
        if "mm_token_type_ids" in inputs.positional:
            options["mm_token_type_ids"] = inputs.positional["mm_token_type_ids"][:, :end]
        prepared: dict[str, Any] = self._model.prepare_inputs_for_generation(
            inputs.ids[:, begin:end], past_key_values=self.cache, is_first_iteration=True, **options
        )
        if features := self._features_of(begin, end):
            prepared["mm_encoder_outputs"] = {"image": features}
        return prepared

    def _features_of(self, begin: int, end: int) -> Any:
        """Gives the features of the placeholders among some tokens."""
        if not self._features:
            return None
        stands = torch.eq(self._inputs.ids[0], self._inputs.placeholder or 0)
        first, count = int(stands[:begin].sum()), int(stands[begin:end].sum())
        if not count:
            return None
        chosen = slice(first, first + count)
        output = {"pooler_output": [torch.cat([image.rows for image in self._features])[chosen]]}
        if deeper := [torch.cat(layer)[chosen] for layer in zip(*(i.deeper for i in self._features), strict=True)]:
            output["deepstack_features"] = deeper
        return self._features[0].kind(**output)
