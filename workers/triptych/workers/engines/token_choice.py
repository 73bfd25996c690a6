"""Chooses the next token of one row from the model's logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch

# Colder than this is greedy, and divides into infinities.
LEAST_TEMPERATURE = 1e-4


class TokenConstraint(Protocol):
    """What a row may write. Made for one row; the engine's thread calls."""

    @property
    def finished(self) -> bool:
        """Whether the row is complete, and nothing may follow."""

    @property
    def error(self) -> Exception | None:
        """Why the row cannot become what it has to be; it is to end at once."""

    def restrict(self, logits: torch.Tensor) -> None:
        """Sets the logits of what may not come next to minus infinity, in place.

        Tokens that end a turn stay possible where the row may end, and only there.

        Args:
            logits: Shape (vocabulary,), float32, on the CPU.
        """

    def take(self, candidates: Iterable[int]) -> int:
        """Decides what comes next.

        Args:
            candidates: Of those tokens that `restrict` left possible the one that is wanted, then what is wanted
                instead.
        """


class TokenChoice:
    """The tokens of one row: greedy or drawn by lot, within what its constraint allows.

    What a row draws depends on its own seed only, not on its neighbours.

    Args:
        temperature: 0 is greedy.
        top_p: Nucleus mass, above 0, up to 1.
        seed: Of the lots.
        constraint: None: anything may come.
    """

    def __init__(
        self, *, temperature: float, top_p: float, seed: int, constraint: TokenConstraint | None = None
    ) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 else None
        self._constraint = constraint
        self._log_probability = 0.0
        self._token_count = 0

    @property
    def finished(self) -> bool:
        """Whether the constraint lets nothing follow."""
        return self._constraint is not None and self._constraint.finished

    @property
    def error(self) -> Exception | None:
        """What becomes of the row instead of its text."""
        return self._constraint.error if self._constraint else None

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the probabilities that the model gave the chosen tokens; None before the first one."""
        return math.exp(self._log_probability / self._token_count) if self._token_count else None

    def next(self, logits: torch.Tensor) -> int:
        """Chooses a token.

        Args:
            logits: Shape (vocabulary,); left as they are.
        """
        logits = logits.float().cpu()
        normalizer = torch.logsumexp(logits, dim=-1)
        if self._constraint is None:
            token = next(self._candidates(logits))
        else:
            allowed = logits.clone()
            self._constraint.restrict(allowed)
            token = self._constraint.take(self._candidates(allowed))
        self._log_probability += float(logits[token] - normalizer)
        self._token_count += 1
        return token

    def _candidates(self, logits: torch.Tensor) -> Iterator[int]:
        """Yields the chosen token, then what would be chosen without those before; changes the logits."""
        if self._generator is not None:
            yield from self._drawn(logits, self._generator)
        while self._generator is None and logits[token := int(logits.argmax())] > -math.inf:
            yield token
            logits[token] = -math.inf

    def _drawn(self, logits: torch.Tensor, generator: torch.Generator) -> Iterator[int]:
        chances, order = torch.softmax(logits / max(self._temperature, LEAST_TEMPERATURE), dim=-1).sort(descending=True)
        while True:
            # The nucleus: the likeliest tokens until their mass reaches top_p, at least one.
            kept = chances.cumsum(dim=-1) - chances < self._top_p
            place = int(torch.multinomial(chances * kept, 1, generator=generator))
            yield int(order[place])
            chances[place] = 0
            left = float(chances.sum())
            if left == 0:
                return
            chances /= left
