"""Samples tokens so that a row draws the same lots whatever else is in its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


class SeededSampling(LogitsProcessor):  # type: ignore[misc]  # the package has no types
    """Leaves each row one token, drawn from its distribution, so that the greedy choice after it picks that one.

    Args:
        seeds: Of the rows, over and over: three rows of two copies each have two seeds.
        temperature: Above 0.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self._seeds = seeds
        self._temperature = temperature
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Gives scores that are finite for the drawn tokens only."""
        if not self._generators:
            # On the CPU, whose lots are the same everywhere.
            self._generators = [
                torch.Generator().manual_seed(self._seeds[row % len(self._seeds)]) for row in range(len(scores))
            ]
        chances = (scores.float() / self._temperature).softmax(dim=-1).cpu()
        drawn = [
            torch.multinomial(chances[row], 1, generator=generator) for row, generator in enumerate(self._generators)
        ]
        chosen = torch.stack(drawn).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)
