"""Holds one row to a grammar, and ends it in time."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from llguidance import LLMatcher

from triptych.core.errors import OutputInvalid
from triptych.workers.engines.drafts import Draft
from triptych.workers.engines.token_bytes import TokenBytes

# So many tokens are tried before the text goes on as its known ending does. Many words lead where no word goes on.
MAX_TRIED = 8
MAX_TRIED_WORDS = 48


class GrammarConstraint:
    """See `TokenConstraint`. After every token an ending of the text is known that fits what is left of the limit.

    Args:
        matcher: Of the tokenizer's tokens, at the beginning of the text.
        words: The tokenizer.
        draft: Of the same text; an ending is known that fits the limit, or the constraint is of no use.
        limit: Tokens that may come, with the one that ends the turn.
    """

    def __init__(self, matcher: LLMatcher, words: TokenBytes, draft: Draft, limit: int) -> None:
        self._error: OutputInvalid | None = None
        self._matcher = matcher
        self._words = words
        self._draft = draft
        self._left = limit
        self._max_tried = MAX_TRIED if words.byte_tokens else MAX_TRIED_WORDS
        self._ends = np.array(sorted(words.end_tokens), np.int64)

    @property
    def finished(self) -> bool:
        """See `TokenConstraint`."""
        return self._matcher.is_stopped()

    @property
    def error(self) -> OutputInvalid | None:
        """See `TokenConstraint`. Only the end of the turn is possible then."""
        return self._error

    def restrict(self, logits: torch.Tensor) -> None:
        """See `TokenConstraint`."""
        values: npt.NDArray[np.float32] = logits.numpy()
        bits = self._words.bits(self._matcher.compute_bitmask())[: len(values)]
        if self._matcher.is_error() or not bits.any():
            reason = self._matcher.get_error().split("\n")[0][:200] or "its tokens cannot go on"
            self._error = OutputInvalid(f"the model could not be held to what was asked for: {reason}")
            bits = np.zeros(len(values), np.bool_)
            bits[self._ends[self._ends < len(values)]] = True
        np.copyto(values[: len(bits)], -np.inf, where=~bits)
        values[len(bits) :] = -np.inf

    def take(self, candidates: Iterable[int]) -> int:
        """See `TokenConstraint`. The first one after which an ending fits; if none does, the known ending goes on."""
        self._left -= 1
        tried = islice(candidates, self._max_tried)
        if self._error:
            return next(tried)
        token = next((token for token in tried if self._draft.fits(token, self._left)), None)
        if token is None:
            token = self._draft.ending[0]
        self._draft.take(token)
        self._matcher.consume_token(token)
        return token
