"""Texts that grow under a grammar, of which a short ending can be asked at any time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from llguidance import LLMatcher

from triptych.core.output_grammar import OutputGrammar, byte_matcher
from triptych.workers.engines.json_shape import JsonShape
from triptych.workers.engines.shortest_ending import shortest_ending
from triptych.workers.engines.token_bytes import TokenBytes

# Grammars whose matchers and endings are kept: a form is filled in again and again.
KEPT_GRAMMARS = 64
# An ending of so many bytes is not made shorter.
SHORT_BYTES = 80
# After so many searches that found nothing none is made for tokens that are only tried.
MAX_FAILURES = 20
# Bytes of a known ending that are left out at most, and what closes a value that was begun instead of another one.
_MAX_SKIPPED = 16
_CLOSINGS = (b'"', b"}", b"]", b"0")
# What most likely ends something comes first.
_LIKELY = b'"}]0,:ntf[{-1a. '
_BYTES = (*_LIKELY, *(byte for byte in range(256) if byte not in _LIKELY))


class Draft(Protocol):
    """A text that grows."""

    def take(self, token: int) -> None:
        """Takes the next token."""

    def ending(self, token: int | None, most: int) -> list[int] | None:
        """Gives tokens that end the text, the last of them the end of the turn.

        Args:
            token: Taken to come first; it is not in the ending.
            most: Longest ending of use.

        Returns:
            None if none was found.
        """


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the texts of a grammar begin.

    Attributes:
        matcher: Of bytes; copy it.
        shortest: A short text, in bytes; None: none was found with reasonable effort.
        shape: Of the empty text, if the texts are JSON documents.
    """

    matcher: LLMatcher
    shortest: bytes | None
    shape: JsonShape | None


def new_beginning(grammar: OutputGrammar) -> Beginning:
    """Compiles a grammar and looks for a short text; may take a second, so jobs do it before the engine's thread."""
    matcher = byte_matcher(grammar)
    shape = JsonShape() if grammar.is_json else None
    if matcher.is_error():
        return Beginning(matcher, None, shape)
    found = shortest_ending(matcher, _bytes_of, _byte, shape, enough=SHORT_BYTES)
    return Beginning(matcher, None if found is None else bytes(found), shape)


@lru_cache(KEPT_GRAMMARS)
def beginning(grammar: OutputGrammar) -> Beginning:
    """The same, found once for a grammar that is kept: none that has words of a document, which may be purged."""
    return new_beginning(grammar)


class ByteDraft:
    """A draft of a tokenizer that can write every byte: it is ended byte by byte, which is fast.

    Args:
        start: Of the text.
        words: The tokenizer.
    """

    def __init__(self, start: Beginning, words: TokenBytes) -> None:
        self._matcher = start.matcher.deep_copy()
        self._known = start.shortest
        self._words = words
        self._shape = start.shape
        self._failures = 0

    def take(self, token: int) -> None:
        """See `Draft`."""
        data = self._words[token]
        self._matcher.consume_tokens(list(data))
        self._shape = self._shape and self._shape.after(data)
        self._known = _without(self._known, data)

    def ending(self, token: int | None, most: int) -> list[int] | None:
        """See `Draft`."""
        data = b"" if token is None else self._words[token]
        matcher = self._matcher.deep_copy()
        if not matcher.consume_tokens(list(data)):
            return None
        known = _adapted(matcher, self._known, data) if self._known is not None else None
        tokens = self._tokens(known) if known is not None else None
        if token is None:
            self._known = known
        # After a token that is only tried a longer ending will do: there are others to try.
        too_long = tokens is None or (token is None and len(tokens) > most)
        # Without an ending of the text as it is, nothing is left to write in the end.
        if too_long and (token is None or self._failures < MAX_FAILURES):
            shape = self._shape and self._shape.after(data)
            found = shortest_ending(matcher, _bytes_of, _byte, shape, straight=True)
            self._failures += found is None and token is not None
            if found is not None and token is None:
                self._known = bytes(found)
            tokens = self._tokens(bytes(found)) if found is not None else tokens
        return tokens

    def _tokens(self, ending: bytes) -> list[int]:
        return [*self._words.tokens_of(ending), min(self._words.end_tokens)]


class WordDraft:
    """A draft of a tokenizer that cannot write every text: it is ended with the tokens that there are.

    Args:
        matcher: Of the tokenizer's tokens, at the beginning.
        words: The tokenizer.
    """

    def __init__(self, matcher: LLMatcher, words: TokenBytes) -> None:
        self._matcher = matcher
        self._words = words

    def take(self, token: int) -> None:
        """See `Draft`."""
        self._matcher.consume_token(token)

    def ending(self, token: int | None, most: int) -> list[int] | None:  # noqa: ARG002
        """See `Draft`."""
        matcher = self._matcher.deep_copy()
        if token is not None and not matcher.consume_token(token):
            return None
        found = shortest_ending(matcher, self._words.likely_first, self._words.__getitem__, None, straight=True)
        return None if found is None else [*found, min(self._words.end_tokens)]


def _without(ending: bytes | None, data: bytes) -> bytes | None:
    """What is left of an ending after some bytes, if it begins with them; else the ending."""
    return ending.removeprefix(data) if ending is not None else None


def _adapted(matcher: LLMatcher, ending: bytes, data: bytes) -> bytes | None:
    """Gives an ending that is good now, made of one that was good before the last bytes: cheaper than to search.

    More of a string or a number changes nothing, blanks neither; what was opened is closed, what was written left out.
    """
    tried = dict.fromkeys((ending.removeprefix(data), ending.removeprefix(data.strip()), ending))
    shorter = (ending[skipped:] for skipped in range(1, min(len(ending), _MAX_SKIPPED)))
    closed = (closing + ending[skipped:] for skipped in range(2) for closing in _CLOSINGS)
    return next((found for found in (*tried, *closed, *shorter) if _ends(matcher, found)), None)


def _ends(matcher: LLMatcher, ending: bytes) -> bool:
    tried = matcher.deep_copy()
    return tried.consume_tokens(list(ending)) and tried.is_accepting()


def _byte(symbol: int) -> bytes:
    return bytes([symbol])


def _bytes_of(mask: bytes) -> list[int]:
    bits = int.from_bytes(mask, "little")
    return [byte for byte in _BYTES if bits >> byte & 1]
