"""What each token of a tokenizer writes, for llguidance."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper
from llguidance.hf import from_tokenizer

# Bytes that stand in no UTF-8 text need no token.
_USELESS = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
# What most likely ends something, or begins what is short.
_LIKELY = b'"}]0,:ntf[{-1 .'


class TokenBytes:
    """A tokenizer as llguidance sees it.

    Args:
        tokenizer: A fast one of transformers. Where it is not made of bytes, what its tokens write is asked of its
            decoder.
        end_tokens: Tokens that end a turn.

    Attributes:
        native: As llguidance takes it.
        before: What stands before a text in its tokens, but is not in the text.
        byte_tokens: For every byte the token that writes it alone; None: there are bytes without one, so not every text
            can be written.
        end_tokens: As given.
    """

    def __init__(self, tokenizer: Any, end_tokens: AbstractSet[int]) -> None:
        self.end_tokens = frozenset(end_tokens)
        self.before = ""
        try:
            self.native = from_tokenizer(tokenizer, eos_token=sorted(end_tokens))
        except ValueError:
            words = _Words(tokenizer, end_tokens)
            self.before = words.before
            self.native = LLTokenizer(TokenizerWrapper(words), eos_token=sorted(end_tokens))
        self._bytes = [self.native.decode_bytes([token]) for token in range(self.native.vocab_size)]
        single = {data[0]: token for token, data in reversed(list(enumerate(self._bytes))) if self._writes_one(token)}
        complete = _USELESS.issuperset(set(range(256)) - set(single))
        self.byte_tokens = tuple(single.get(byte, -1) for byte in range(256)) if complete else None
        self._rank = self._ranks()

    def __getitem__(self, token: int) -> bytes:
        """What a token writes; nothing for one that ends a turn."""
        return b"" if token in self.end_tokens or token >= len(self._bytes) else self._bytes[token]

    def bits(self, mask: bytes) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Gives a mask as an array of shape (tokens,)."""
        return np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[: len(self._bytes)].view(np.bool_)

    def likely_first(self, mask: bytes) -> list[int]:
        """Gives the tokens of a mask, those first that may end a text soon; none that ends a turn."""
        tokens = np.flatnonzero(self.bits(mask))
        ordered: list[int] = tokens[np.argsort(self._rank[tokens], kind="stable")].tolist()
        return [token for token in ordered if token not in self.end_tokens]

    def tokens_of(self, data: bytes) -> list[int]:
        """Gives few tokens that write the bytes; `byte_tokens` must be there."""
        assert self.byte_tokens is not None
        tokens: list[int] = self.native.tokenize_bytes(data)
        if b"".join(map(self.__getitem__, tokens)) == data:
            return tokens
        return [self.byte_tokens[byte] for byte in data]

    def _writes_one(self, token: int) -> bool:
        return len(self._bytes[token]) == 1 and not self.native.is_special_token(token)

    def _ranks(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Order of tokens: likely signs, then words that JSON has, then what is short."""
        order = {bytes([byte]): rank for rank, byte in enumerate(_LIKELY)}
        return np.array([order.get(data.strip(), 20 + len(data)) for data in self._bytes], np.int64)


class _Words:
    """A tokenizer of words, in which every token stands for a text of its own.

    Attributes:
        before: A blank, if the decoder puts one before each word but the first.
    """

    bos_token_id = None

    def __init__(self, tokenizer: Any, end_tokens: AbstractSet[int]) -> None:
        self.eos_token_id = min(end_tokens)
        special = set(tokenizer.all_special_ids) | end_tokens
        self.special_token_ids = sorted(special)
        plain = [token for token in range(len(tokenizer)) if token not in special]
        if not plain:
            raise ValueError("the tokenizer has no words")
        # A word that follows another one: the first of a text is decoded in a way of its own.
        anchor = plain[0]
        alone = len(tokenizer.decode([anchor], skip_special_tokens=True))
        written = {token: tokenizer.decode([anchor, token], skip_special_tokens=True)[alone:] for token in plain}
        self.tokens: Sequence[bytes] = [
            written[token].encode() if token in written else f"<{token}>".encode() for token in range(len(tokenizer))
        ]
        spaced = all(text.startswith(" ") or not text for text in written.values())
        self.before = " " if spaced and not tokenizer.decode([anchor]).startswith(" ") else ""

    def __call__(self, _text: bytes) -> list[int]:
        """Gives no tokens: where not every text can be written, none is forced."""
        return []
