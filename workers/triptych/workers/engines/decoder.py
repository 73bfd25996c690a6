"""Continues rows of any lengths by one token each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from triptych.workers.engines.kv_rows import KvRows
from triptych.workers.engines.prefill import Prefill


class Rows(Protocol):
    """The rows that are continued, in order."""

    def join(self, prompt: Prefill) -> None:
        """Adds a prompt that was read, as the last row."""

    def leave(self, row: int) -> None:
        """Drops a row; the last one takes its place."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Gives what may follow a new token of each row: logits of shape (rows, vocabulary).

        If it raises, the rows are of no use any more.
        """


class SharedRows:
    """All rows in one forward pass.

    Args:
        model: Made row exact.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._rows = KvRows()
        self._positions: list[torch.Tensor | None] = []

    def join(self, prompt: Prefill) -> None:
        """See `Rows.join`."""
        self._rows.join(prompt.cache)
        self._positions.append(prompt.next_position)

    def leave(self, row: int) -> None:
        """See `Rows.leave`."""
        self._rows.leave(row)
        self._positions[row] = self._positions[-1]
        self._positions.pop()

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Rows.step`."""
        ids = torch.tensor(tokens, device=self._model.device)[:, None]
        options: dict[str, Any] = {"use_cache": True}
        known = [position for position in self._positions if position is not None]
        if known:
            # Rows are next to last: some families count in several ways at once.
            options["position_ids"] = torch.cat(known, dim=-2)
        with self._rows.stepping() as cache:
            inputs = self._model.prepare_inputs_for_generation(ids, past_key_values=cache, **options)
            logits: torch.Tensor = self._model(**inputs, return_dict=True).logits[:, -1]
        self._positions = [None if one is None else one + 1 for one in self._positions]
        return logits


class LoneRows:
    """Each row in a forward pass of its own: for models that attend in ways which only they know.

    Args:
        model: Of transformers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._rows: list[Prefill] = []
        self._positions: list[torch.Tensor | None] = []

    def join(self, prompt: Prefill) -> None:
        """See `Rows.join`."""
        self._rows.append(prompt)
        self._positions.append(prompt.next_position)

    def leave(self, row: int) -> None:
        """See `Rows.leave`."""
        self._rows[row], self._positions[row] = self._rows[-1], self._positions[-1]
        self._rows.pop()
        self._positions.pop()

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Rows.step`."""
        return torch.cat([self._step(row, token) for row, token in enumerate(tokens)])

    def _step(self, row: int, token: int) -> torch.Tensor:
        options: dict[str, Any] = {"use_cache": True}
        if (position := self._positions[row]) is not None:
            options["position_ids"] = position
            self._positions[row] = position + 1
        cache = self._rows[row].cache
        ids = torch.tensor([[token]], device=self._model.device)
        inputs = self._model.prepare_inputs_for_generation(ids, past_key_values=cache, **options)
        logits: torch.Tensor = self._model(**inputs, return_dict=True).logits[:, -1]
        return logits
