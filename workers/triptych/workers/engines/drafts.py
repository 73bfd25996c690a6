"""Texts that grow under a grammar, of which a short ending can be asked at any time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from llguidance import LLMatcher

from triptych.core.output_grammar import END, OutputGrammar, byte_matcher
from triptych.workers.engines.json_shape import JsonShape
from triptych.workers.engines.pattern_examples import examples_of, likely_bytes, one_byte
from triptych.workers.engines.shortest_ending import shortest_ending
from triptych.workers.engines.token_bytes import TokenBytes

# Grammars whose matchers and endings are kept: a form is filled in again and again.
KEPT_GRAMMARS = 64
# An ending of so many bytes is not made shorter.
SHORT_BYTES = 80
# After so many searches in vain none is made for a text; in so many tokens one of them is forgotten.
MAX_FAILURES = 8
FORGOTTEN_AFTER = 32
# Bytes of a known ending that are left out at most, and what closes a value that was begun instead of another one.
_MAX_SKIPPED = 16
_CLOSINGS = (b'"', b"}", b"]", b"0")


class Draft(Protocol):
    """A text that grows, and an ending of it."""

    @property
    def ending(self) -> list[int]:
        """Tokens that end the text, the last of them the end of the turn; empty: none was found."""

    def fits(self, token: int, room: int) -> bool:
        """Whether the text can be ended after a token.

        Args:
            token: May come next.
            room: Tokens that may come after it, with the end of the turn.
        """

    def take(self, token: int) -> None:
        """Takes the next token: one that fits, or what the ending begins with."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the texts of a grammar begin.

    Attributes:
        matcher: Of bytes; copy it.
        shortest: A short text, in bytes; None: none was found with reasonable effort.
        shape: Of the empty text, if the texts are JSON documents.
        examples: Of the grammar's patterns.
    """

    matcher: LLMatcher
    shortest: bytes | None
    shape: JsonShape | None
    examples: Sequence[bytes]


def new_beginning(grammar: OutputGrammar) -> Beginning:
    """Compiles a grammar and looks for a short text; may take a second, so jobs do it before the engine's thread."""
    matcher = byte_matcher(grammar)
    shape = JsonShape() if grammar.is_json else None
    if matcher.is_error():
        return Beginning(matcher, None, shape, ())
    examples = examples_of(grammar)
    found = shortest_ending(matcher, likely_bytes, one_byte, shape, examples, enough=SHORT_BYTES)
    return Beginning(matcher, None if found is None else bytes(found), shape, examples)


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
        self._shape = start.shape
        self._examples = start.examples
        self._words = words
        self._known = None if start.shortest is None else _Ending(start.shortest)
        self._after: dict[int, _Ending] = {}
        self._failures = 0.0

    @property
    def ending(self) -> list[int]:
        """See `Draft`."""
        return self._tokens(self._known) if self._known else []

    def fits(self, token: int, room: int) -> bool:
        """See `Draft`."""
        if token in self._words.end_tokens:
            return True
        if self._known and self._known.tokens and self._known.tokens[0] == token:
            return len(self._known.tokens) <= room + 1
        data = self._words[token]
        found = self._adapted(data)
        # After so many searches in vain what is known has to do.
        if found is None and self._failures < MAX_FAILURES:
            found = self._searched(data)
            self._failures += found is None
        if found is None:
            return False
        ending = self._after[token] = _Ending(found)
        # No token writes less than a byte.
        return len(found) < room or len(self._tokens(ending)) <= room

    def take(self, token: int) -> None:
        """See `Draft`."""
        data = self._words[token]
        self._matcher.consume_tokens(list(data))
        self._shape = self._shape and self._shape.after(data)
        if self._known and self._known.tokens and self._known.tokens[0] == token:
            self._known = _Ending(self._known.data.removeprefix(data), self._known.tokens[1:])
        elif token not in self._words.end_tokens:
            self._known = self._after[token]
        self._after = {}
        self._failures = max(0.0, self._failures - 1 / FORGOTTEN_AFTER)

    def _tokens(self, ending: _Ending) -> list[int]:
        if not ending.tokens:
            ending.tokens = [*self._words.tokens_of(ending.data), min(self._words.end_tokens)]
        return ending.tokens

    def _adapted(self, data: bytes) -> bytes | None:
        """Gives an ending after more bytes, made of the one that is known: cheaper than to search."""
        if self._known is None:
            return None
        return next((found for found in _like(self._known.data, data) if _ends(self._matcher, data + found)), None)

    def _searched(self, data: bytes) -> bytes | None:
        matcher = self._matcher.deep_copy()
        if not matcher.consume_tokens(list(data)):
            return None
        shape = self._shape and self._shape.after(data)
        found = shortest_ending(matcher, likely_bytes, one_byte, shape, self._examples, straight=True)
        return None if found is None else bytes(found)


class WordDraft:
    """A draft of a tokenizer that cannot write every text: it is ended with the tokens that there are.

    Args:
        matcher: Of the tokenizer's tokens, at the beginning.
        words: The tokenizer.
    """

    def __init__(self, matcher: LLMatcher, words: TokenBytes) -> None:
        self._matcher = matcher
        self._words = words
        self._after: dict[int, list[int]] = {}
        self.ending = self._searched(matcher)

    def fits(self, token: int, room: int) -> bool:
        """See `Draft`."""
        if token in self._words.end_tokens or [token] == self.ending[:1]:
            return True
        matcher = self._matcher.deep_copy()
        if matcher.consume_token(token):
            self._after[token] = self._searched(matcher)
        return 0 < len(self._after.get(token, ())) <= room

    def take(self, token: int) -> None:
        """See `Draft`."""
        self._matcher.consume_token(token)
        self.ending = self.ending[1:] if [token] == self.ending[:1] else self._after.get(token, [])
        self._after = {}

    def _searched(self, matcher: LLMatcher) -> list[int]:
        found = shortest_ending(matcher, self._words.likely_first, self._words.__getitem__, None, straight=True)
        return [] if found is None else [*found, min(self._words.end_tokens)]


@dataclass(slots=True)
class _Ending:
    data: bytes
    tokens: list[int] = field(default_factory=list)
    """With the end of the turn; empty: nobody asked yet."""


def _like(ending: bytes, data: bytes) -> Iterator[bytes]:
    """Yields what may end a text after more bytes, if an ending was good before them.

    More of a string or a number changes nothing, blanks neither; what was opened is closed, what was written left out.
    """
    yield from dict.fromkeys((ending.removeprefix(data), ending.removeprefix(data.strip()), ending))
    yield from (closing + ending[skipped:] for skipped in range(2) for closing in _CLOSINGS)
    yield from (ending[skipped:] for skipped in range(1, min(len(ending), _MAX_SKIPPED)))


def _ends(matcher: LLMatcher, data: bytes) -> bool:
    """Whether a text may end after more bytes; leaves the matcher as it is."""
    return matcher.validate_tokens([*data, END]) == len(data) + 1
