"""Keys and values of the rows that a language model continues together; rows join and leave between two steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

# Room is made for so many tokens at a time.
_TOKENS_AT_A_TIME = 64

_lengths: ContextVar[Sequence[int] | None] = ContextVar("lengths", default=None)


def row_lengths() -> Sequence[int] | None:
    """Gives how many tokens each row has, the new one included, while `KvRows.stepping`; None at other times."""
    return _lengths.get()


class KvRows:
    """Rows of different lengths, each from the left: what lies right of a row's tokens is no part of it.

    A row that leaves makes room by moving the last one into its place, so those there are always the first. Nothing
    counts until its step has ended: a step that fails leaves all rows as they were.

    Attributes:
        lengths: Tokens of each row.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._layers: list[_Layer] = []

    def join(self, alone: DynamicCache) -> None:
        """Adds a row that was read alone, as the last one."""
        length = alone.get_seq_length()
        if not self._layers:
            self._layers = [_Layer(self.lengths) for _ in alone.layers]
        for layer, one in zip(self._layers, alone.layers, strict=True):
            layer.add(one.keys, one.values)
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """Drops a row; the last one takes its place."""
        last = len(self.lengths) - 1
        for layer in self._layers:
            layer.move(last, row)
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self._layers = []

    @contextmanager
    def stepping(self) -> Iterator[Cache]:
        """Gives the cache for a forward pass of one token a row; the tokens count if the block ends well."""
        if self._layers:
            ends = torch.tensor(self.lengths, device=self._layers[0].keys.device)
            for layer in self._layers:
                layer.ends = ends
        token = _lengths.set([length + 1 for length in self.lengths])
        try:
            yield Cache(layers=list(self._layers))
        finally:
            _lengths.reset(token)
        self.lengths[:] = [length + 1 for length in self.lengths]


class _Layer(DynamicLayer):  # type: ignore[misc]  # the package has no types
    """What one layer of the model keeps: shape (rows or more, heads, tokens or more, size of a head)."""

    keys: torch.Tensor
    values: torch.Tensor
    is_initialized: bool
    ends: torch.Tensor
    """Where each row's next token goes; shape (rows,)."""

    def __init__(self, lengths: list[int]) -> None:
        super().__init__()
        self._lengths = lengths

    def get_seq_length(self) -> int:
        """Gives the tokens of the longest row."""
        return max(self._lengths, default=0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Notes a new token of each row; gives all tokens, up to the end of the longest row."""
        longest = max(self._lengths) + 1
        self._make_room(len(self._lengths), longest, key_states, value_states)
        rows = torch.arange(len(self.ends), device=self.ends.device)
        self.keys[rows, :, self.ends] = key_states[:, :, 0]
        self.values[rows, :, self.ends] = value_states[:, :, 0]
        return self.keys[: len(rows), :, :longest], self.values[: len(rows), :, :longest]

    def add(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Adds a row of shape (1, heads, tokens, size)."""
        row, length = len(self._lengths), keys.shape[2]
        # One more: whoever joins goes on at once.
        self._make_room(row + 1, max(length, self.get_seq_length()) + 1, keys, values)
        self.keys[row, :, :length] = keys[0]
        self.values[row, :, :length] = values[0]
        if keys.device.type != "cpu":  # masked there, and must be a number, whoever had the place before
            self.keys[row, :, length:] = 0
            self.values[row, :, length:] = 0

    def move(self, source: int, target: int) -> None:
        """Puts one row where another was."""
        if source != target:
            self.keys[target] = self.keys[source]
            self.values[target] = self.values[source]

    def _make_room(self, rows: int, tokens: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Has room for so many, by moving everything if need be; rows that left make it smaller again."""
        has_rows, has_tokens = (self.keys.shape[0], self.keys.shape[2]) if self.is_initialized else (0, 0)
        if rows <= has_rows and tokens <= has_tokens <= 4 * tokens + _TOKENS_AT_A_TIME:
            return
        # Growing by a quarter, a row is moved a few times in its life.
        room = -(-(tokens + tokens // 4) // _TOKENS_AT_A_TIME) * _TOKENS_AT_A_TIME
        self.keys = self._moved(self.keys if has_rows else None, rows, room, keys)
        self.values = self._moved(self.values if has_rows else None, rows, room, values)
        self.is_initialized = True

    def _moved(self, old: torch.Tensor | None, rows: int, room: int, like: torch.Tensor) -> torch.Tensor:
        _, heads, _, size = like.shape
        # On a CPU nothing is read beyond a row's end; elsewhere it is masked, and must be a number.
        make = like.new_empty if like.device.type == "cpu" else like.new_zeros
        new = make(rows, heads, room, size)
        if old is not None:
            kept = min(len(self._lengths), len(old))
            used = max(self._lengths[:kept], default=0)
            new[:kept, :, :used] = old[:kept, :, :used]
        return new
