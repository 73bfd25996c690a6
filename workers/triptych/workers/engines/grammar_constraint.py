"""Holds one row to a grammar, and ends it in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from llguidance import LLMatcher

from triptych.core.errors import OutputInvalid
from triptych.core.output_grammar import OutputGrammar
from triptych.workers.engines.drafts import Draft
from triptych.workers.engines.token_bytes import TokenBytes

# Where the tokens that are left are this many times those that an ending takes, and some more, any token may come.
AMPLE_FACTOR = 2
AMPLE_MORE = 24
# In between an ending is looked for again after so many tokens.
LOOK_EVERY = 16
# Where every token has to leave room for an ending, so many of the likeliest are looked at.
LIKELIEST = 8
LIKELIEST_WORDS = 48


class GrammarConstraint:
    """See `TokenConstraint`. Near the last token only tokens may come after which the text can still be ended.

    Args:
        matcher: Of the tokenizer's tokens, at the beginning of the text.
        words: The tokenizer.
        draft: Of the same text.
        grammar: Of the text.
        limit: Tokens that may come, with the one that ends the turn.
        greedy: Whether the likeliest token is chosen: the others are of no use then.
    """

    def __init__(
        self, matcher: LLMatcher, words: TokenBytes, draft: Draft, grammar: OutputGrammar, limit: int, *, greedy: bool
    ) -> None:
        self._error: OutputInvalid | None = None
        self._matcher = matcher
        self._words = words
        self._draft = draft
        self._is_json = grammar.is_json
        self._obligation = grammar.obligation
        self._left = self._look_at = limit
        self._wanted = 1 if greedy else LIKELIEST_WORDS
        self._ending = draft.ending(None, limit)
        self._endings: dict[int, list[int]] = {}
        self._ends = np.array(sorted(words.end_tokens), np.int64)

    @property
    def least_tokens(self) -> int | None:
        """Tokens of a short ending from here; None: none was found."""
        return None if self._ending is None else len(self._ending)

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
        if not self._error and not self._ample():
            self._leave_room(values)

    def take(self, token: int) -> None:
        """See `TokenConstraint`."""
        self._left -= 1
        if self._ending and self._ending[0] == token:
            self._ending = self._ending[1:]
        else:
            self._ending = self._endings.get(token)
        self._endings = {}
        self._matcher.consume_token(token)
        if token not in self._words.end_tokens:
            self._draft.take(token)

    def _ample(self) -> bool:
        """Whether there is room for any token and for an ending after it."""
        if self._words.byte_tokens is None or self._obligation is None:
            return False
        if self._left > self._look_at:
            return True
        edge = self._edge() + self._obligation
        self._look_at = max(self._left - LOOK_EVERY, edge)
        return self._left > edge

    def _edge(self) -> int:
        """With so few tokens left even one inside a string can be one too many."""
        self._ending = self._ending or self._draft.ending(None, self._left)
        return AMPLE_FACTOR * (len(self._ending) if self._ending else self._left) + AMPLE_MORE

    def _leave_room(self, values: npt.NDArray[np.float32]) -> None:
        """Keeps those tokens after which an ending fits; of the doubtful ones looks at the likeliest only."""
        doubtful = values > -np.inf
        if self._is_json and self._words.byte_tokens and self._left > self._edge():
            opening = self._words.opens_json[: len(values)]
            doubtful[: len(opening)] &= opening
        kept = np.where(doubtful, -np.inf, values).astype(np.float32)
        best, count = kept.max(), 0
        for token in self._likeliest(values, doubtful):
            if self._wanted == 1 and best >= values[token]:
                break
            if self._fits(token):
                kept[token] = values[token]
                count += 1
            if count == self._wanted:
                break
        if not (kept > -np.inf).any() and self._ending:
            kept[self._ending[0]] = values[self._ending[0]]
        if (kept > -np.inf).any():
            values[:] = kept

    def _fits(self, token: int) -> bool:
        """Whether the text can still be ended after a token."""
        if token in self._words.end_tokens or (self._ending and token == self._ending[0]):
            return True
        ending = self._draft.ending(token, self._left - 1) if self._left > 1 else None
        if ending:
            self._endings[token] = ending
        return ending is not None and len(ending) < self._left

    def _likeliest(self, values: npt.NDArray[np.float32], doubtful: npt.NDArray[np.bool_]) -> list[int]:
        most = LIKELIEST if self._words.byte_tokens else LIKELIEST_WORDS
        possible: npt.NDArray[Any] = np.flatnonzero(doubtful)
        if len(possible) > most:
            possible = possible[np.argpartition(-values[possible], most)[:most]]
        likeliest: list[int] = possible[np.argsort(-values[possible], kind="stable")].tolist()
        return likeliest
